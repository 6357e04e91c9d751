#include "smtpclient/extensions.h"

#include "smtpclient/printable.h"

#include <algorithm>
#include <charconv>

namespace callforward::smtpclient {

namespace {

std::uint64_t parse_size(std::string_view argument) {
    std::uint64_t size = 0;
    const auto [end, error] =
        std::from_chars(argument.data(), argument.data() + argument.size(), size);
    return error == std::errc{} && end == argument.data() + argument.size() ? size : 0;
}

// The words of a list, separated by blanks.
template <class Take>
void for_each_word(std::string_view list, Take take) {
    while (!list.empty()) {
        const auto end = std::min(list.find(' '), list.size());
        if (end > 0) take(list.substr(0, end));
        list.remove_prefix(std::min(end + 1, list.size()));
    }
}

void note_mechanisms(std::string_view list, extensions& offered) {
    for_each_word(list, [&](std::string_view word) {
        if (equal_ignoring_case(word, "PLAIN")) offered.auth_plain = true;
        if (equal_ignoring_case(word, "LOGIN")) offered.auth_login = true;
    });
}

}  // namespace

extensions parse_extensions(const reply& to_ehlo) {
    extensions offered;
    // The first line is the host's name and greeting, whatever it says.
    for (std::size_t i = 1; i < to_ehlo.lines.size(); ++i) {
        const std::string_view line = to_ehlo.lines[i];
        const auto blank = line.find(' ');
        const std::string_view keyword = line.substr(0, blank);
        const auto is = [&](std::string_view name) { return equal_ignoring_case(keyword, name); };
        if (is("PIPELINING")) offered.pipelining = true;
        if (is("STARTTLS")) offered.starttls = true;
        if (is("8BITMIME")) offered.eight_bit_mime = true;
        if (is("BINARYMIME")) offered.binary_mime = true;
        if (is("SMTPUTF8")) offered.smtputf8 = true;
        const std::string_view arguments =
            blank == std::string_view::npos ? std::string_view{} : line.substr(blank + 1);
        if (is("AUTH")) note_mechanisms(arguments, offered);
        if (is("XCLIENT")) offered.xclient = parse_xclient(arguments);
        // As servers wrote it before RFC 2554, and some still do for the clients of that time.
        if (equal_ignoring_case(keyword.substr(0, 5), "AUTH=")) {
            note_mechanisms(line.substr(5), offered);
        }
        if (is("SIZE") && !offered.size) {
            offered.size = arguments.empty() ? 0 : parse_size(arguments);
        }
    }
    return offered;
}

}  // namespace callforward::smtpclient
