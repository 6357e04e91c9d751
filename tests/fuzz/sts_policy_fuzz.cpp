// MTA-STS records and policies: what is taken is in bounds, and taken the same when it is written
// anew, with other line ends or unknown fields between; a policy covers the names it lists and,
// with a wildcard, one label more, and nothing else. The first byte chooses.
#include "dns/domain.h"
#include "smtpclient/sts_policy.h"
#include "tests/fuzz/input.h"

#include <cstdlib>

using namespace callforward;
using namespace callforward::smtpclient;

namespace {

std::string written(const sts_policy& p, std::string_view line_end) {
    constexpr const char* modes[] = {"none", "testing", "enforce"};
    std::string text = "version: STSv1";
    text += line_end;
    text += std::string("mode:") + modes[static_cast<int>(p.how)] + std::string(line_end);
    for (const auto& mx : p.patterns) text += "mx: \t" + mx + std::string(line_end);
    text += "field: of another version" + std::string(line_end);
    return text + "max_age : " + std::to_string(p.max_age.count());
}

void check_patterns(const sts_policy& p) {
    for (const auto& pattern : p.patterns) {
        const bool wildcard = pattern.starts_with("*.");
        const std::string name = pattern.substr(wildcard ? 2 : 0);
        const auto parsed = dns::domain::parse(name);
        if (!parsed || parsed->name() != name) std::abort();
        const sts_policy alone{p.how, {pattern}, p.max_age};
        if (alone.covers(name) == wildcard || alone.covers("a." + name) != wildcard) std::abort();
        if (alone.covers("b.a." + name) || alone.covers('.' + name) || alone.covers(""))
            std::abort();
        if (!p.covers(wildcard ? "a." + name : name)) std::abort();
    }
}

void check_policy(std::string_view text) {
    std::string why;
    const auto p = parse_sts_policy(text, why);
    if (p.has_value() != why.empty()) std::abort();
    if (!p) return;
    constexpr std::size_t most_patterns = 1000;
    constexpr std::chrono::seconds year{31557600};
    if (p->max_age < std::chrono::seconds(0) || p->max_age > year) std::abort();
    if (p->patterns.size() > most_patterns) std::abort();
    if (p->how != sts_policy::mode::none && p->patterns.empty()) std::abort();
    check_patterns(*p);
    for (const char* const end : {"\n", "\r\n", " \n\n"}) {
        if (parse_sts_policy(written(*p, end), why) != p) std::abort();
    }
}

void check_records(fuzz::input& from) {
    std::vector<std::string> records;
    while (!from.empty()) records.emplace_back(from.text());
    const auto id = sts_id(records);
    if (!id) return;
    constexpr std::size_t longest = 32;
    if (id->empty() || id->size() > longest) std::abort();
    for (const char c : *id) {
        const bool plain =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain) std::abort();
    }
    if (sts_id({"v=STSv1; id=" + *id + ";"}) != id) std::abort();
    records.emplace_back("v=spf1 -all");  // another's record beside it changes nothing
    if (sts_id(records) != id) std::abort();
    records.emplace_back("v=STSv1; id=1");  // a second one does
    if (sts_id(records)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::input from(data, size);
    if (from.flag()) {
        check_policy(from.rest());
    } else {
        check_records(from);
    }
    return 0;
}
