// One section of the configuration read by a table of its keys: everything that is said about
// types, ranges and names is said here, once.
//
// A reader takes what is good and adds a finding for what is not; it never throws. Only when all
// sections are read does milter/config.cpp look whether there were findings.
#pragma once

#include "milter/config_tree.h"
#include "milter/list_file.h"
#include "milter/settings_names.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::milter {

struct reading {  // what all sections share
    findings& found;
    std::string directory;  // that a relative "@file" is looked up in
};

struct section_name {
    std::string shown;  // "[policy]", "[domain.\"example.com\"]"
};

// Makes an entry canonical, or empty to leave it out; returns what is wrong with it, "" when
// nothing is.
using entry_check = std::function<std::string(list_entry&)>;

class setting {  // the value of one key
public:
    setting(const config_node& value, std::string_view key, std::string_view section, reading& in)
        : value_(value), key_(key), section_(section), in_(in) {}

    [[nodiscard]] const config_node& value() const { return value_; }
    [[nodiscard]] reading& shared() const { return in_; }
    void fail(
        std::string_view what) const;  // continues the sentence: "must be ...", "names no ..."
    void fail_at(const place& where, std::string_view what) const;

    // Nothing, and a finding, when the value is something else.
    [[nodiscard]] std::optional<std::string> text() const;
    [[nodiscard]] std::optional<bool> flag() const;
    [[nodiscard]] std::optional<std::int64_t> integer(std::int64_t least, std::int64_t most) const;
    [[nodiscard]] std::optional<milliseconds> duration(milliseconds least, milliseconds most) const;
    // A time limit, where "0s" means none: as good as a day, and still bounded.
    [[nodiscard]] std::optional<milliseconds> time_limit() const;
    // How long something is kept, in whole seconds; a part of one counts as one.
    [[nodiscard]] std::optional<std::chrono::seconds> lifetime() const;
    [[nodiscard]] std::optional<std::string_view> one_of(
        std::span<const std::string_view> names) const;
    template <class Names>
    [[nodiscard]] auto one_of_named(const Names& table) const {
        std::vector<std::string_view> names;
        for (const auto& row : table) names.push_back(row.second);
        std::optional<typename Names::value_type::first_type> chosen;
        if (const auto name = one_of(names)) {
            for (const auto& row : table) {
                if (row.second == *name) chosen = row.first;
            }
        }
        return chosen;
    }
    // Text that `check` may make canonical.
    [[nodiscard]] std::optional<std::string> checked_text(
        const std::function<std::string(std::string&)>& check) const;
    // A list of strings, "@file" entries expanded; nothing when it is no list.
    [[nodiscard]] std::optional<std::vector<list_entry>> entries(
        const entry_check& check, indented_line meaning = indented_line::is_entry) const;

private:
    void expand(const config_node& item,
                const entry_check& check,
                indented_line meaning,
                std::vector<list_entry>& into) const;
    void wrong_type(std::string_view wanted) const;

    const config_node& value_;
    std::string_view key_;
    std::string_view section_;
    reading& in_;
};

template <class Settings>
struct config_key {
    std::string_view name;
    void (*read)(const setting& from, Settings& into);
};

// A finding with the one of `names` that was meant, or the section that the key belongs to.
void unknown_name(const place& where,
                  std::string_view kind,
                  std::string_view name,
                  std::string_view section,
                  std::span<const std::string_view> names,
                  reading& in);
[[nodiscard]] bool is_table(const config_node& node, std::string_view section, reading& in);

template <class Settings, std::size_t Count>
void read_section(const config_node& table,
                  const section_name& section,
                  const std::array<config_key<Settings>, Count>& keys,
                  Settings& into,
                  reading& in) {
    if (!is_table(table, section.shown, in)) return;
    for (const config_member& member : table.members) {
        const setting from(member.value, member.name, section.shown, in);
        const auto key = std::find_if(
            keys.begin(), keys.end(), [&](const auto& k) { return k.name == member.name; });
        if (key != keys.end()) {
            key->read(from, into);
        } else {
            std::vector<std::string_view> names;
            for (const auto& k : keys) names.push_back(k.name);
            unknown_name(member.where, "key", member.name, section.shown, names, in);
        }
    }
}

}  // namespace callforward::milter
