// What an EHLO reply offers: only what one of its lines behind the first says, as a whole word.
#include "smtpclient/extensions.h"
#include "smtpclient/printable.h"

#include <cstdlib>

using namespace callforward::smtpclient;

namespace {

bool says(const reply& r, std::string_view keyword) {
    for (std::size_t i = 1; i < r.lines.size(); ++i) {
        const std::string_view line = r.lines[i];
        if (equal_ignoring_case(line.substr(0, line.find(' ')), keyword)) return true;
    }
    return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    reply_parser parser;
    if (parser.feed(input) != reply_parser::progress::complete) return 0;
    const reply r = parser.take();
    const extensions offered = parse_extensions(r);
    if (offered.pipelining != says(r, "PIPELINING")) std::abort();
    if (offered.starttls != says(r, "STARTTLS")) std::abort();
    if (offered.eight_bit_mime != says(r, "8BITMIME")) std::abort();
    if (offered.binary_mime != says(r, "BINARYMIME")) std::abort();
    if (offered.smtputf8 != says(r, "SMTPUTF8")) std::abort();
    if (offered.size.has_value() != says(r, "SIZE")) std::abort();
    return 0;
}
