// The programs that the store runs for us, in its Lua: each a look and a change in one step, on
// keys of one hash slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace callforward::milter::fleet {

enum class script : std::uint8_t {
    // KEYS record, lease; ARGV token ("" for none), record, milliseconds to live. Writes, unless
    // the
    // token has lost its lease and somebody knows better or is about to; gives the lease back.
    put,
    // KEYS lease; ARGV token, milliseconds. The holder has no answer: for so long others ask at
    // once, and not one after another.
    release,
    // KEYS lease; ARGV token, milliseconds. 0: it is somebody else's by now.
    renew,
    // KEYS connections to a host; ARGV name of the connection, limit, milliseconds. 0: no more.
    take_connection,
};
constexpr std::size_t scripts = 4;
constexpr std::string_view no_answer = "none";  // in place of a token

[[nodiscard]] std::string_view source_of(script s);

}  // namespace callforward::milter::fleet
