// One Lua state in which an operator's policy script runs, with nothing in it that could stall a
// RCPT or reach outside.
//
// Bounds on one call: instructions, processor time, steps of pattern matching, and bytes of the
// whole state. What goes beyond raises a Lua error, and keeps raising it, so that a script's own
// pcall does not help. There are no metatables, coroutines, load, io, or programs to run: the list
// of what there is stands in callforward.toml(5). Debian's Lua that is compiled as C++ is used: its
// errors are C++ exceptions, so that destructors run. Lua's calls throw them: outside of this class
// they are made within run() only. Owner and thread: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct lua_State;

namespace callforward::milter {

struct script_bounds {
    std::size_t bytes = std::size_t{4} * 1024 * 1024;
    std::int64_t instructions = 1000000;
    std::int64_t processor_milliseconds = 50;
    double pattern_steps = 1e7;
};

struct script_budget;

class script_state {
public:
    explicit script_state(const script_bounds& bounds);
    ~script_state();
    script_state(const script_state&) = delete;
    script_state& operator=(const script_state&) = delete;

    // Calls f within the bounds. Returns what went wrong, printable; the state is then of no more
    // use.
    [[nodiscard]] std::optional<std::string> run(const std::function<void(lua_State*)>& f);
    // Compiles and runs the script, so that its functions are there. Errors begin with
    // "policy:LINE: ".
    [[nodiscard]] std::optional<std::string> load(std::string_view text);

private:
    std::unique_ptr<script_budget> budget_;
    lua_State* lua_;
};

}  // namespace callforward::milter
