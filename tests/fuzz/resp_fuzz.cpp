// Replies of a shared store as they come: the same whole and byte by byte, bounded, and nothing
// after what is none. And our own commands: read back they are the words that they were made of.
#include "milter/fleet/resp.h"
#include "tests/fuzz/input.h"

#include <cstdlib>
#include <vector>

using namespace callforward;
using namespace callforward::milter::fleet;

namespace {

using progress = resp_reader::progress;

void check(const resp_value& v, int depth) {
    constexpr int deepest = 5;
    if (depth > deepest || v.elements.size() > resp_reader::most_elements) std::abort();
    if (v.is != resp_value::type::array && !v.elements.empty()) std::abort();
    if (v.is_error() == v.error_code().empty() && v.is_error() && !v.text.empty() &&
        v.text.front() != ' ')
        std::abort();
    if (v.error_code().find(' ') != std::string_view::npos) std::abort();
    for (const auto& each : v.elements) check(each, depth + 1);
}

bool equal(const resp_value& a, const resp_value& b) {
    if (a.is != b.is || a.text != b.text || a.number != b.number) return false;
    if (a.elements.size() != b.elements.size()) return false;
    for (std::size_t i = 0; i < a.elements.size(); ++i) {
        if (!equal(a.elements[i], b.elements[i])) return false;
    }
    return true;
}

progress drain(resp_reader& from, replies& into) {
    for (;;) {
        resp_value next;
        const progress p = from.next(next);
        if (p != progress::complete) return p;
        check(next, 1);
        into.push_back(std::move(next));
    }
}

void read_back(std::string_view input) {
    std::vector<std::string_view> words;
    fuzz::input from(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    do words.push_back(from.text());
    while (!from.empty() && words.size() < resp_reader::most_elements);
    resp_reader reader;
    reader.feed(resp_command(words));
    replies got;
    if (drain(reader, got) != progress::incomplete || got.size() != 1) std::abort();
    if (got.front().elements.size() != words.size()) std::abort();
    for (std::size_t i = 0; i < words.size(); ++i) {
        const resp_value& word = got.front().elements[i];
        if (!word.is_text() || word.text != words[i]) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    resp_reader whole;
    whole.feed(all);
    replies at_once;
    const progress end = drain(whole, at_once);
    resp_reader piecewise;
    replies by_bytes;
    progress slow = progress::incomplete;
    for (std::size_t i = 0; i < size && slow == progress::incomplete; ++i) {
        piecewise.feed(all.substr(i, 1));
        slow = drain(piecewise, by_bytes);
    }
    if (end != slow || at_once.size() != by_bytes.size()) std::abort();
    for (std::size_t i = 0; i < at_once.size(); ++i) {
        if (!equal(at_once[i], by_bytes[i])) std::abort();
    }
    if (end == progress::malformed) {
        if (whole.why().empty() || !fuzz::is_printable_line(whole.why())) std::abort();
        resp_value more;
        whole.feed("+OK\r\n");
        if (whole.next(more) != progress::malformed) std::abort();
    }
    read_back(all);
    return 0;
}
