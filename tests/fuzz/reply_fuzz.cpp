// Replies as they come from a peer: the same whole and byte by byte, bounded, and printable.
#include "smtpclient/reply.h"

#include <cstdint>
#include <cstdlib>
using callforward::smtpclient::reply_parser;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    std::string_view rest = all;
    reply_parser whole;
    const auto state = whole.feed(rest);
    reply_parser piecewise;
    auto slow = reply_parser::progress::needs_more;
    std::size_t used = 0;
    while (used < size && slow == reply_parser::progress::needs_more) {
        std::string_view byte = all.substr(used++, 1);
        slow = piecewise.feed(byte);
    }
    if (slow != state) std::abort();
    if (state != reply_parser::progress::complete) return 0;
    const auto made = whole.take();
    if (made != piecewise.take() || used != size - rest.size()) std::abort();
    if (made.lines.size() > reply_parser::lines_limit) std::abort();
    for (const char c : made.text()) {
        if (c < ' ' || c > '~') std::abort();
    }
    return 0;
}
