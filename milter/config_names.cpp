#include "milter/config_names.h"

#include "milter/config.h"
#include "milter/config_tree.h"
#include "milter/config_values.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

namespace callforward::milter {

namespace {

// Words of MTAs, of syslog, and of everyday life.
constexpr auto synonyms = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"defer", "tempfail"},
    {"deferred", "tempfail"},
    {"later", "tempfail"},
    {"pass", "accept"},
    {"ok", "accept"},
    {"permit", "accept"},
    {"allow", "accept"},
    {"continue", "accept"},
    {"deny", "reject"},
    {"refuse", "reject"},
    {"bounce", "reject"},
    {"notice", "info"},
    {"err", "error"},
    {"crit", "error"},
    {"dry-run", "monitor"},
    {"watch", "monitor"},
    {"disabled", "off"},
    {"on", "enforce"},
});

// Levenshtein's, with exchanged neighbours ("tiemout") counted once.
std::size_t distance(std::string_view written, std::string_view name) {
    std::vector<std::size_t> before_last(name.size() + 1);
    std::vector<std::size_t> last(name.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= written.size(); ++i) {
        std::vector<std::size_t> row(name.size() + 1, i);
        for (std::size_t j = 1; j <= name.size(); ++j) {
            const std::size_t change = written[i - 1] == name[j - 1] ? 0 : 1;
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
            if (i > 1 && j > 1 && written[i - 1] == name[j - 2] && written[i - 2] == name[j - 1]) {
                row[j] = std::min(row[j], before_last[j - 2] + 1);
            }
        }
        before_last = std::exchange(last, std::move(row));
    }
    return last.back();
}

bool is_among(std::string_view name, std::span<const std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// The only name that begins so.
std::string_view cut_short(std::string_view written, std::span<const std::string_view> names) {
    constexpr std::size_t fewest = 3;
    if (written.size() < fewest) return {};
    std::string_view found;
    for (const std::string_view name : names) {
        if (!name.starts_with(written)) continue;
        if (!found.empty()) return {};
        found = name;
    }
    return found;
}

std::string in_a_row(std::span<const std::string_view> names) {
    std::string all;
    for (const std::string_view name : names) all.append(all.empty() ? "" : ", ").append(name);
    return all;
}

// All that there are: what is printed of the configuration in force has every key.
const config_node& all_keys() {
    static const config_node document = [] {
        findings none;
        return parse_toml(to_toml(default_settings()), "", none);
    }();
    return document;
}

}  // namespace

std::string_view name_meant(std::string_view written, std::span<const std::string_view> names) {
    constexpr std::size_t longest = 100;  // of any name; more of a hostile word is not looked at
    written = written.substr(0, longest);
    for (const auto& [word, name] : synonyms) {
        if (word == written && is_among(name, names)) return name;
    }
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(1, written.size() / 3) + 1;
    for (const std::string_view name : names) {
        const std::size_t d = distance(written, name);
        // Of a name of one or two letters nothing is left when one of them is another.
        if (d < best_distance && d < std::min(written.size(), name.size())) {
            best_distance = d;
            best = name;
        }
    }
    return best.empty() ? cut_short(written, names) : best;
}

std::string advice_about_name(std::string_view written, std::span<const std::string_view> names) {
    const std::string_view meant = name_meant(written, names);
    return meant.empty() ? "it is one of: " + in_a_row(names)
                         : "did you mean " + quoted(meant) + '?';
}

std::string advice_with_all_names(std::string_view written,
                                  std::span<const std::string_view> names) {
    const std::string advice = advice_about_name(written, names);
    return name_meant(written, names).empty() ? advice : advice + " (" + in_a_row(names) + ')';
}

std::string sections_with_key(std::string_view key) {
    std::string found;
    for (const config_member& section : all_keys().members) {
        if (section.value.find(key) == nullptr) continue;
        found.append(found.empty() ? "[" : " or [").append(section.name) += ']';
    }
    return found;
}

}  // namespace callforward::milter
