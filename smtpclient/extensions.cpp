#include "smtpclient/extensions.h"

#include "smtpclient/printable.h"

#include <charconv>

namespace callforward::smtpclient {

namespace {

std::uint64_t parse_size(std::string_view argument) {
    std::uint64_t size = 0;
    const auto [end, error] =
        std::from_chars(argument.data(), argument.data() + argument.size(), size);
    return error == std::errc{} && end == argument.data() + argument.size() ? size : 0;
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
        if (is("SIZE") && !offered.size) {
            offered.size = blank == std::string_view::npos ? 0 : parse_size(line.substr(blank + 1));
        }
    }
    return offered;
}

}  // namespace callforward::smtpclient
