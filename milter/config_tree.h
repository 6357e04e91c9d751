// A TOML document as plain values that remember where they were written. config_tree.cpp is the
// only file that includes a TOML library.
//
// Limits: nesting of 16 levels. Dates and floating point numbers are kept as type `other`: no key
// wants one. What is wrong with a document is collected, not thrown, so that an operator sees all
// of it at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::milter {

struct place {
    std::string file;
    unsigned line = 0;  // 0: the whole file, or a "--set" of the command line
    unsigned column = 0;

    [[nodiscard]] std::string text() const;
};

// What is wrong with a configuration, one line each, the first hundred in full.
class findings {
public:
    static constexpr std::size_t limit = 100;

    void add(const place& where, std::string_view what);  // `what` may hold text of the file
    [[nodiscard]] bool empty() const { return found_.empty(); }
    [[nodiscard]] std::string text() const;  // in the order of lines in each file

private:
    struct finding {
        std::size_t file;
        place where;
        std::string what;
    };
    std::vector<std::string> files_;  // as they came up
    std::vector<finding> found_;
    std::size_t more_ = 0;
};

struct config_member;

struct config_node {
    enum class type { text, flag, integer, array, table, other };

    type is = type::other;
    std::string text;
    bool flag = false;
    std::int64_t number = 0;
    std::vector<config_node> items;      // of an array
    std::vector<config_member> members;  // of a table, sorted by name
    place where;

    [[nodiscard]] const config_member* find(std::string_view name) const;
};

struct config_member {
    std::string name;
    place where;
    config_node value;
};

[[nodiscard]] std::string_view to_string(config_node::type t);  // "a string", "an array"

// Always a table; empty after a syntax error.
[[nodiscard]] config_node parse_toml(std::string_view text,
                                     const std::string& file,
                                     findings& found);

// "SECTION.KEY=TOMLVALUE"; its place is "--set " and the argument.
[[nodiscard]] config_node parse_override(const std::string& argument, findings& found);

// Lays `over` on `base`: tables are merged, anything else is replaced.
void overlay(config_node& base, config_node&& over);

}  // namespace callforward::milter
