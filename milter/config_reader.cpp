#include "milter/config_reader.h"

#include "milter/config_names.h"
#include "milter/config_values.h"

namespace callforward::milter {

namespace {

using type = config_node::type;

constexpr milliseconds no_limit = std::chrono::hours(24);

// The file that "@..." names; "" for an entry that is none: in a list of aliases "@example.com" is
// a domain.
std::string named_file(std::string_view entry, indented_line meaning, const std::string& base) {
    if (!entry.starts_with('@')) return {};
    const std::string path(entry.substr(1));
    if (path.starts_with('/')) return path;
    const bool may_be_domain = meaning == indented_line::continues;
    if (path.empty() || (may_be_domain && path.find('/') == std::string::npos)) return {};
    return base.empty() ? path : base + '/' + path;
}

place place_of(const list_entry& entry, const config_node& item) {
    if (entry.file.empty()) return item.where;
    return {entry.file, static_cast<unsigned>(entry.line), 0};
}

}  // namespace

void setting::fail(std::string_view what) const {
    fail_at(value_.where, what);
}

void setting::fail_at(const place& where, std::string_view what) const {
    std::string sentence = quoted(key_) + " in ";
    sentence += section_;
    sentence += ' ';
    in_.found.add(where, sentence.append(what));
}

void setting::wrong_type(std::string_view wanted) const {
    fail("must be " + std::string(wanted) + ", not " + std::string(to_string(value_.is)));
}

std::optional<std::string> setting::text() const {
    if (value_.is != type::text) {
        wrong_type("a string");
        return std::nullopt;
    }
    if (value_.text.find('\0') != std::string::npos) {
        fail("must not hold a NUL");
        return std::nullopt;
    }
    return value_.text;
}

std::optional<bool> setting::flag() const {
    if (value_.is == type::flag) return value_.flag;
    wrong_type("true or false");
    return std::nullopt;
}

std::optional<std::int64_t> setting::integer(std::int64_t least, std::int64_t most) const {
    if (value_.is != type::integer) {
        wrong_type("an integer");
        return std::nullopt;
    }
    if (value_.number < least || value_.number > most) {
        fail("must be from " + std::to_string(least) + " to " + std::to_string(most) + ", not " +
             std::to_string(value_.number));
        return std::nullopt;
    }
    return value_.number;
}

std::optional<milliseconds> setting::duration(milliseconds least, milliseconds most) const {
    if (value_.is == type::integer) {
        fail("needs a unit: write \"" + std::to_string(value_.number) +
             "s\" for seconds, with quotes (units are ms, s, m, h, d)");
        return std::nullopt;
    }
    if (value_.is != type::text) {
        wrong_type("a duration, as in \"8s\"");
        return std::nullopt;
    }
    const auto duration = parse_duration(value_.text);
    if (!duration) {
        fail("must be one number with a unit (ms, s, m, h, d), as in \"8s\", not " +
             quoted(value_.text));
        return std::nullopt;
    }
    if (*duration < least || *duration > most) {
        fail("must be from " + format_duration(least) + " to " + format_duration(most) + ", not " +
             quoted(value_.text));
        return std::nullopt;
    }
    return duration;
}

std::optional<milliseconds> setting::time_limit() const {
    const auto limit = duration(milliseconds(0), no_limit);
    return limit == milliseconds(0) ? no_limit : limit;
}

std::optional<std::chrono::seconds> setting::lifetime() const {
    const auto kept = duration(milliseconds(0), std::chrono::hours(24 * 3650));
    if (!kept) return std::nullopt;
    return std::chrono::ceil<std::chrono::seconds>(*kept);
}

std::optional<std::string_view> setting::one_of(std::span<const std::string_view> names) const {
    const auto word = text();
    if (!word) return std::nullopt;
    const auto found = std::find(names.begin(), names.end(), *word);
    if (found != names.end()) return *found;
    fail("can not be " + quoted(*word) + "; " + advice_with_all_names(*word, names));
    return std::nullopt;
}

std::optional<std::string> setting::checked_text(
    const std::function<std::string(std::string&)>& check) const {
    auto word = text();
    if (!word) return std::nullopt;
    if (const std::string wrong = check(*word); !wrong.empty()) {
        fail(wrong.starts_with('"') ? "is wrong: " + wrong : wrong);
        return std::nullopt;
    }
    return word;
}

void setting::expand(const config_node& item,
                     const entry_check& check,
                     indented_line meaning,
                     std::vector<list_entry>& into) const {
    if (item.is != type::text) {
        fail_at(item.where, "is a list of strings, not of " + std::string(to_string(item.is)));
        return;
    }
    std::vector<list_entry> written;
    const std::string file = named_file(item.text, meaning, in_.directory);
    if (file.empty()) {
        written.push_back({item.text, "", 0});
    } else if (const auto problem = read_list_file(file, meaning, written)) {
        // A file that is not there is a mistake of this line, a bad line one of that file.
        if (problem->line == 0) {
            fail_at(item.where, "names the file " + quoted(file) + ": " + problem->text);
        } else {
            fail_at({file, static_cast<unsigned>(problem->line), 0},
                    "has a bad list: " + problem->text);
        }
        return;
    }
    for (list_entry& entry : written) {
        const std::string wrong = entry.text.find('\0') != std::string::npos
                                      ? "an entry must not hold a NUL"
                                      : check(entry);
        if (wrong.empty() && !entry.text.empty()) {
            into.push_back(std::move(entry));
        } else if (!wrong.empty()) {
            fail_at(place_of(entry, item), "has a bad entry: " + wrong);
        }
    }
}

std::optional<std::vector<list_entry>> setting::entries(const entry_check& check,
                                                        indented_line meaning) const {
    if (value_.is != type::array) {
        wrong_type("an array of strings");
        return std::nullopt;
    }
    std::vector<list_entry> all;
    for (const config_node& item : value_.items) expand(item, check, meaning, all);
    return all;
}

void unknown_name(const place& where,
                  std::string_view kind,
                  std::string_view name,
                  std::string_view section,
                  std::span<const std::string_view> names,
                  reading& in) {
    std::string what = "unknown " + std::string(kind) + ' ' + quoted(name);
    if (!section.empty()) what += " in " + std::string(section);
    // What is no misspelling at all, but stands in the wrong place.
    if (const std::string there = sections_with_key(name); !there.empty()) {
        what += "; " + quoted(name) + " belongs below " + there;
    } else {
        what += "; " + advice_about_name(name, names);
    }
    in.found.add(where, what);
}

bool is_table(const config_node& node, std::string_view section, reading& in) {
    if (node.is == type::table) return true;
    in.found.add(node.where,
                 std::string(section) + " must be a table, not " + std::string(to_string(node.is)));
    return false;
}

}  // namespace callforward::milter
