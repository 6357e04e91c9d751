#include "milter/config.h"

#include "milter/bounded_file.h"
#include "milter/config_policy.h"
#include "milter/config_sections.h"

#include <memory>

namespace callforward::milter {

namespace {

constexpr std::size_t largest_file = std::size_t{4} * 1024 * 1024;

std::string directory_of(const std::string& file) {
    const auto slash = file.rfind('/');
    if (slash == std::string::npos) return {};
    return slash == 0 ? "/" : file.substr(0, slash);
}

settings read_document(const config_node& document, reading& in) {
    settings s = default_settings();
    read_plain_sections(document, s, in);
    if (const config_member* rules = document.find("classify")) {
        auto by = std::make_shared<smtpclient::transport>(*s.default_policy.transport);
        by->rules = read_classify(rules->value, in);
        s.default_policy.transport = std::move(by);
        s.default_policy.fingerprint = verdict_fingerprint(s.default_policy);
    }
    if (const config_member* table = document.find("policy")) {
        const section_name section{"[policy]"};
        s.default_policy = read_policy(table->value, section, s.default_policy, in);
    }
    if (const config_member* domains = document.find("domain")) {
        read_domain_policies(domains->value, s, in);
    }
    return s;
}

}  // namespace

settings parse_settings(std::string_view text,
                        const std::string& file,
                        const std::vector<std::string>& overrides) {
    findings found;
    config_node document = parse_toml(text, file, found);
    for (const std::string& argument : overrides) {
        overlay(document, parse_override(argument, found));
    }
    reading in{found, directory_of(file)};
    settings s = read_document(document, in);
    if (!found.empty()) throw config_error(found.text());
    return s;
}

settings load_settings(const std::string& file,
                       const std::vector<std::string>& overrides,
                       bool file_may_be_missing) {
    return settings_file(file, overrides, file_may_be_missing).load();
}

settings settings_file::load() {
    const file_text contents = read_bounded(path_, largest_file);
    const bool was_there = !path_read_.empty();
    if (!contents.error.empty() && !(contents.missing && may_be_missing_ && !was_there)) {
        findings found;
        const bool gone = contents.missing && was_there;
        found.add({path_, 0, 0},
                  gone ? contents.error +
                             "; it was there when it was last read, and an empty file "
                             "would mean the built-in defaults"
                       : contents.error);
        throw config_error(found.text());
    }
    settings s = parse_settings(contents.text, path_, overrides_);
    if (contents.missing) {
        path_read_.clear();
    } else {
        path_read_ = path_;
    }
    return s;
}

}  // namespace callforward::milter
