#include "milter/config_names.h"
#include "milter/config_policy.h"
#include "milter/config_values.h"

namespace callforward::milter {

namespace {

using smtpclient::classify_rule;
using smtpclient::stage;
using smtpclient::verdict_class;

constexpr std::size_t longest_pattern = 4096;

// Stages without a reply would never match.
bool has_reply(stage s) {
    switch (s) {
        case stage::none:
        case stage::route:
        case stage::connect:
        case stage::handshake:
            return false;
        case stage::greeting:
        case stage::ehlo:
        case stage::helo:
        case stage::starttls:
        case stage::auth:
        case stage::xclient:
        case stage::mail:
        case stage::rcpt:
        case stage::data:
            return true;
    }
    return false;
}

void read_stage(const setting& from, classify_rule& rule) {
    std::vector<std::string_view> names;
    for (const std::string_view name : smtpclient::stage_names()) {
        const auto s = smtpclient::parse_stage(name);
        if (s && has_reply(*s)) names.push_back(name);
    }
    if (const auto name = from.one_of(names)) rule.stage = smtpclient::parse_stage(*name);
}

void read_code(const setting& from, classify_rule& rule) {
    if (const auto code = from.integer(200, 599)) rule.code = static_cast<int>(*code);
}

void read_enhanced(const setting& from, classify_rule& rule) {
    const auto text = from.text();
    if (!text) return;
    std::string_view rest = *text;
    rule.enhanced = smtpclient::take_enhanced_code(rest);
    if (!rule.enhanced || to_string(*rule.enhanced) != *text) {
        from.fail("must be an enhanced code, as in \"5.7.1\", not " + quoted(*text));
    }
}

void read_text(const setting& from, classify_rule& rule) {
    const auto pattern = from.text();
    if (!pattern) return;
    std::string error;
    if (pattern->size() > longest_pattern) {
        from.fail("has more than " + std::to_string(longest_pattern) + " bytes");
        return;
    }
    rule.text = smtpclient::compile_pattern(*pattern, error);
    if (!rule.text) from.fail("is not a regular expression (RE2): " + error);
}

void read_as(const setting& from, classify_rule& rule) {
    std::vector<std::string_view> names;
    for (const std::string_view name : smtpclient::reason_names()) {
        const auto r = smtpclient::parse_reason(name);
        if (r && usual_class(*r) != verdict_class::skipped) names.push_back(name);
    }
    const auto name = from.text();
    if (!name) return;
    const auto chosen = smtpclient::parse_reason(*name);
    if (!chosen) {
        from.fail("is not a reason: " + quoted(*name) + "; " + advice_about_name(*name, names));
    } else if (usual_class(*chosen) == verdict_class::skipped) {
        from.fail("can not be " + quoted(*name) + ": a reply that came was not skipped");
    } else {
        rule.as = *chosen;
    }
}

using key = config_key<classify_rule>;
const std::array classify_keys{
    key{"stage", read_stage},
    key{"code", read_code},
    key{"enhanced", read_enhanced},
    key{"text", read_text},
    key{"as", read_as},
};

// Only a reply to RCPT or DATA speaks of the recipient.
bool speaks_of_recipient(const classify_rule& rule) {
    const verdict_class usual = usual_class(rule.as);
    return usual == verdict_class::deliverable || usual == verdict_class::undeliverable;
}

// What the rule's code says already; nothing when it may be. As classify.cpp would have it: what
// never could come true is no rule.
std::optional<std::string> objection_to_code(const classify_rule& rule) {
    const verdict_class usual = usual_class(rule.as);
    const bool refuses =
        usual == verdict_class::undeliverable || usual == verdict_class::sender_refused;
    if (!rule.code || !refuses) return std::nullopt;
    const int least = rule.as == smtpclient::reason::mailbox_full ? 400 : 500;
    if (*rule.code >= least) return std::nullopt;
    return "only for a code from " + std::to_string(least) + " to 599, not for " +
           std::to_string(*rule.code) + ": a reply that " +
           (*rule.code < 400 ? "accepts" : "puts off") + " never becomes a refusal";
}

}  // namespace

std::vector<classify_rule> read_classify(const config_node& rules, reading& in) {
    std::vector<classify_rule> all;
    if (rules.is != config_node::type::array) {
        in.found.add(rules.where, "classify is an array of tables: write [[classify]]");
        return all;
    }
    const section_name section{"[[classify]]"};
    for (const config_node& item : rules.items) {
        classify_rule rule;
        read_section(item, section, classify_keys, rule, in);
        if (item.is != config_node::type::table) continue;
        const config_member* as = item.find("as");
        if (as == nullptr) {
            in.found.add(item.where, "\"as\" in [[classify]] is missing: it names the reason");
        } else if (speaks_of_recipient(rule) && rule.stage && *rule.stage != stage::rcpt &&
                   *rule.stage != stage::data) {
            in.found.add(as->value.where,
                         "\"as\" in [[classify]] can be " + quoted(to_string(rule.as)) +
                             " only for stage \"rcpt\" or \"data\": an earlier reply says "
                             "nothing about the recipient");
        } else if (usual_class(rule.as) == verdict_class::sender_refused && rule.stage &&
                   *rule.stage < stage::mail) {
            in.found.add(as->value.where,
                         "\"as\" in [[classify]] can be " + quoted(to_string(rule.as)) +
                             " only for stage \"mail\" or later: nobody has named a sender "
                             "before");
        } else if (const auto objection = objection_to_code(rule)) {
            in.found.add(
                as->value.where,
                "\"as\" in [[classify]] can be " + quoted(to_string(rule.as)) + ' ' + *objection);
        }
        all.push_back(std::move(rule));
    }
    return all;
}

}  // namespace callforward::milter
