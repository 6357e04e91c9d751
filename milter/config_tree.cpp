#include "milter/config_tree.h"

#include "smtpclient/printable.h"

#include <toml++/toml.h>

#include <algorithm>
#include <optional>

namespace callforward::milter {

namespace {

constexpr int deepest = 16;

using type = config_node::type;

struct conversion {
    const std::string& file;
    findings& found;
    bool has_lines;  // a command line argument has none

    [[nodiscard]] place at(const toml::source_region& region) const {
        if (!has_lines) return {file, 0, 0};
        return {file, region.begin.line, region.begin.column};
    }
    [[nodiscard]] config_node convert(const toml::node& from, int depth) const;
};

config_node conversion::convert(const toml::node& from, int depth) const {
    config_node to;
    to.where = at(from.source());
    if (depth > deepest) {
        found.add(to.where, "values are nested too deeply");
        return to;
    }
    if (const auto* text = from.as_string()) {
        to.is = type::text;
        to.text = text->get();
    } else if (const auto* flag = from.as_boolean()) {
        to.is = type::flag;
        to.flag = flag->get();
    } else if (const auto* number = from.as_integer()) {
        to.is = type::integer;
        to.number = number->get();
    } else if (const auto* array = from.as_array()) {
        to.is = type::array;
        for (const toml::node& item : *array) to.items.push_back(convert(item, depth + 1));
    } else if (const auto* table = from.as_table()) {
        to.is = type::table;
        for (const auto& [key, value] : *table) {
            to.members.push_back(
                {std::string(key.str()), at(key.source()), convert(value, depth + 1)});
        }
        std::sort(to.members.begin(), to.members.end(), [](const auto& a, const auto& b) {
            return a.name < b.name;
        });
    }
    return to;
}

struct syntax_error {
    std::string what;
    place where;
};

// Follows TOML's quotes and comments, byte by byte, to tell what stands outside of them.
class quote_scanner {
public:
    explicit quote_scanner(std::string_view text) : text_(text) {}

    // True when the byte at `i` is outside; moves `i` to the last byte that was looked at.
    bool outside(std::size_t& i) {
        const char c = text_[i];
        if (quote_ == '\0') {
            if (c != '"' && c != '\'' && c != '#') return true;
            quote_ = c;
            long_ = c != '#' && repeated(i) >= 3;
            if (long_) i += 2;
        } else if (c == '\n') {
            if (!long_) quote_ = '\0';
        } else if (c == '\\' && quote_ == '"') {
            if (i + 1 < text_.size() && text_[i + 1] != '\n') ++i;
        } else if (c == quote_ && c != '#') {
            // A long string may end with one or two quotes of its own before its three.
            if (!long_ || repeated(i) >= 3) {
                i += long_ ? repeated(i) - 1 : 0;
                quote_ = '\0';
            }
        }
        return false;
    }

private:
    [[nodiscard]] std::size_t repeated(std::size_t from) const {
        const std::string_view run = text_.substr(from, 5);  // no more than five belong together
        return std::min(run.find_first_not_of(run.front()), run.size());
    }

    std::string_view text_;
    char quote_ = '\0';  // '#' in a comment
    bool long_ = false;
};

// A dotted key makes a table for each dot, and the TOML library walks through tables by recursion:
// a long enough key would end the process. No key of ours needs more than two.
std::optional<syntax_error> find_too_many_dots(std::string_view text, const conversion& by) {
    toml::source_position at{1, 0};
    int dots = 0;
    quote_scanner quotes(text);
    for (std::size_t i = 0; i < text.size(); ++i) {
        const std::size_t begin = i;
        const bool outside = quotes.outside(i);
        at.column += static_cast<toml::source_index>(i - begin + 1);
        if (text[i] == '\n') {
            ++at.line;
            at.column = 0;
            dots = 0;
        } else if (outside && text[i] == '.' && ++dots > deepest) {
            return syntax_error{"too many dots outside of quotes: a string needs its quotes",
                                by.at({at, at, {}})};
        }
    }
    return std::nullopt;
}

// The table of the last header in `table`, which is where a key at the end of the text belongs.
const toml::table* last_table(const toml::table& table) {
    const toml::table* last = &table;
    const auto consider = [&](const toml::node& node) {
        const auto* const within = node.is_table() ? last_table(*node.as_table()) : nullptr;
        if (within == nullptr || node.as_table()->is_inline()) return;
        if (within->source().begin.line >= last->source().begin.line) last = within;
    };
    for (const auto& [key, value] : table) {
        consider(value);
        if (!value.is_array_of_tables()) continue;
        for (const toml::node& item : *value.as_array()) consider(item);
    }
    return last;
}

// "[table]", or "key", at the beginning of a line; "" for what is neither.
std::string_view defined_by(std::string_view line) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const bool header = line.starts_with('[') && !line.starts_with("[[");
    quote_scanner quotes(line);
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (!quotes.outside(i) || line[i] != (header ? ']' : '=')) continue;
        line = line.substr(0, header ? i + 1 : i);
        return line.substr(0, line.find_last_not_of(" \t") + 1);
    }
    return {};
}

// What stands twice, and where it stands already: those who add a table to the sample did not look
// for it further up. The text before that line has no error. Throws what the TOML library throws.
std::optional<std::string> twice(std::string_view text, toml::source_index line) {
    std::size_t begin = 0;
    for (; line > 1; --line) begin = text.find('\n', begin) + 1;
    const std::string_view name = defined_by(text.substr(begin, text.find('\n', begin) - begin));
    if (name.empty()) return std::nullopt;
    const bool header = name.starts_with('[');
    const toml::table before = toml::parse(text.substr(0, begin));
    const toml::table alone = toml::parse(std::string(name) + (header ? "" : " = 0"));
    const toml::node* old = header ? &before : last_table(before);
    for (const toml::table* path = &alone; path != nullptr && !path->empty();) {
        const auto only = path->begin();  // holds what it points to
        old = old->is_table() ? old->as_table()->get(only->first.str()) : nullptr;
        if (old == nullptr) return std::nullopt;
        path = only->second.as_table();
    }
    if (header && !old->is_table()) return std::nullopt;
    const std::string where = " is already at line " + std::to_string(old->source().begin.line);
    return header ? "the table " + smtpclient::printable(name) + where + ": put the keys there"
                  : "the key " + smtpclient::printable(name) + where + ": leave one of them";
}

std::string description_of(const toml::parse_error& error, std::string_view text) {
    std::string description(error.description());
    if (description.find("cannot redefine") == std::string::npos) return description;
    try {
        if (auto better = twice(text, error.source().begin.line)) return *better;
    } catch (const toml::parse_error&) {
        // Unusual text: the library's own words will do.
    }
    return description;
}

std::optional<syntax_error> parse(std::string_view text, const conversion& by, config_node& to) {
    to.is = type::table;
    if (auto error = find_too_many_dots(text, by)) return error;
    try {
        const toml::table document = toml::parse(text, by.file);
        to = by.convert(document, 0);
    } catch (const toml::parse_error& error) {
        return syntax_error{description_of(error, text), by.at(error.source())};
    }
    return std::nullopt;
}

}  // namespace

std::string place::text() const {
    std::string shown = smtpclient::printable_utf8(file, 1000);
    if (line != 0) shown += ':' + std::to_string(line);
    if (line != 0 && column != 0) shown += ':' + std::to_string(column);
    return shown;
}

void findings::add(const place& where, std::string_view what) {
    if (found_.size() == limit) {
        ++more_;
        return;
    }
    auto file = std::find(files_.begin(), files_.end(), where.file);
    if (file == files_.end()) file = files_.insert(files_.end(), where.file);
    const auto index = static_cast<std::size_t>(file - files_.begin());
    found_.push_back({index, where, smtpclient::printable_utf8(what, 1000)});
}

std::string findings::text() const {
    std::vector<const finding*> sorted;
    for (const finding& f : found_) sorted.push_back(&f);
    std::stable_sort(sorted.begin(), sorted.end(), [](const finding* a, const finding* b) {
        return std::tie(a->file, a->where.line, a->where.column) <
               std::tie(b->file, b->where.line, b->where.column);
    });
    std::string lines;
    for (const finding* f : sorted) {
        if (!lines.empty()) lines += '\n';
        lines += f->where.text() + ": " + f->what;
    }
    if (more_ != 0) lines += "\nand " + std::to_string(more_) + " more";
    return lines;
}

const config_member* config_node::find(std::string_view name) const {
    const auto found = std::lower_bound(
        members.begin(), members.end(), name, [](const config_member& m, std::string_view n) {
            return m.name < n;
        });
    return found != members.end() && found->name == name ? &*found : nullptr;
}

std::string_view to_string(config_node::type t) {
    switch (t) {
        case type::text:
            return "a string";
        case type::flag:
            return "a boolean";
        case type::integer:
            return "an integer";
        case type::array:
            return "an array";
        case type::table:
            return "a table";
        case type::other:
            return "a date or a number with a fraction";
    }
    return "?";
}

config_node parse_toml(std::string_view text, const std::string& file, findings& found) {
    config_node document;
    if (auto error = parse(text, {file, found, true}, document)) {
        found.add(error->where, error->what);
    }
    return document;
}

config_node parse_override(const std::string& argument, findings& found) {
    const std::string file = "--set " + smtpclient::printable_utf8(argument, 200);
    const place where{file, 0, 0};
    config_node document;
    document.is = type::table;
    const auto equals = argument.find('=');
    if (equals == std::string::npos || argument.find_first_of("\r\n") != std::string::npos) {
        found.add(where, "write SECTION.KEY=VALUE, in one line");
        return document;
    }
    if (const auto error = parse(argument, {file, found, false}, document)) {
        // The shell has eaten the quotes, or they were forgotten: by far the likeliest mistake.
        const std::string key = argument.substr(0, equals);
        const std::string value = argument.substr(equals + 1);
        std::string advice;
        if (value.find_first_of("\"'[{") == std::string::npos) {
            advice = "; a string needs its quotes: '" + key + "=\"" + value + "\"'";
        }
        found.add(where, error->what + advice);
    }
    return document;
}

void overlay(config_node& base, config_node&& over) {
    if (base.is != type::table || over.is != type::table) {
        base = std::move(over);
        return;
    }
    for (config_member& member : over.members) {
        const auto spot = std::lower_bound(
            base.members.begin(), base.members.end(), member, [](const auto& a, const auto& b) {
                return a.name < b.name;
            });
        if (spot != base.members.end() && spot->name == member.name) {
            spot->where = member.where;
            overlay(spot->value, std::move(member.value));
        } else {
            base.members.insert(spot, std::move(member));
        }
    }
}

}  // namespace callforward::milter
