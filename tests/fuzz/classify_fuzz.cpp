// The law: only a 5xx to RCPT or DATA makes a recipient undeliverable, whatever text or rule.
#include "smtpclient/classify.h"

#include <cstdint>
#include <cstdlib>

using namespace callforward::smtpclient;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const auto at = static_cast<stage>(data[0] % (static_cast<int>(stage::data) + 1));
    classify_rule rule;
    rule.as = static_cast<reason>(data[1] % (static_cast<int>(reason::off) + 1));
    std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
    reply_parser parser;
    if (parser.feed(input) != reply_parser::progress::complete) return 0;
    const reply r = parser.take();
    const bool may = (at == stage::rcpt || at == stage::data) && r.status_class() == 5;
    const bool syntax = (r.code >= 500 && r.code <= 504) || r.code == 555;
    const reply_context context{at, data[1] % 2 == 0, input};
    const auto found = classify(r, context);
    const auto ruled = classify(r, context, {rule});
    if (found.verdict_class == verdict_class::undeliverable) {
        if (!may || (syntax && (!r.enhanced() || r.enhanced()->subject != 1))) std::abort();
    }
    if (ruled.verdict_class == verdict_class::undeliverable && !may) std::abort();
    return 0;
}
