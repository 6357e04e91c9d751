#include "milter/list_file.h"

#include "tests/milter/scratch_folder.h"

#include <doctest/doctest.h>

using namespace callforward::milter;

namespace {

struct listed {
    std::vector<list_entry> entries;
    std::optional<list_problem> problem;

    [[nodiscard]] std::string text() const {
        std::string all;
        for (const auto& e : entries) all += e.text + '@' + std::to_string(e.line) + ' ';
        return all;
    }
};

listed parse(std::string_view text, indented_line meaning = indented_line::is_entry) {
    listed result;
    result.problem = parse_list(text, "list", meaning, result.entries);
    return result;
}

}  // namespace

TEST_CASE("a list has one entry a line, and the first word counts") {
    const auto list = parse("one\ntwo OK\n\tthree\n");
    CHECK(!list.problem);
    CHECK(list.text() == "one@1 two@2 three@3 ");
    CHECK(list.entries[1].file == "list");
}

TEST_CASE("comments and empty lines are no entries but count as lines") {
    CHECK(parse("# head\n\n  \t\n  # indented\nx # no part of it\n").text() == "x@5 ");
}

TEST_CASE("CR before LF, a byte order mark and a missing last line end are tolerated") {
    CHECK(parse("\xef\xbb\xbfone\r\n\r\ntwo\r").text() == "one@1 two@3 ");
    CHECK(parse("").entries.empty());
}

TEST_CASE("an indented line continues the one before in the manner of Postfix, where asked for") {
    CHECK(parse("a@x b@y,\n c@z\nd@x e\n", indented_line::continues).text() == "a@x@1 d@x@3 ");
}

TEST_CASE("a NUL or an over-long line is a problem with its line") {
    using namespace std::string_view_literals;
    const auto nul = parse("one\ntwo\0three\n"sv);
    REQUIRE(nul.problem);
    CHECK(nul.problem->line == 2);
    const auto at_limit = parse(std::string(list_line_limit, 'x'));
    CHECK(!at_limit.problem);
    const auto longer = parse("one\n\n" + std::string(list_line_limit + 1, 'x'));
    REQUIRE(longer.problem);
    CHECK(longer.problem->line == 3);
}

TEST_CASE("a file that is missing, a folder or too large is a problem of the whole file") {
    const callforward::tests::scratch_folder folder;
    std::vector<list_entry> entries;
    const auto read = [&](const std::string& file) {
        return read_list_file(file, indented_line::is_entry, entries);
    };
    const auto missing = read(folder.path() + "/none");
    REQUIRE(missing);
    CHECK(missing->line == 0);
    CHECK(missing->text == "No such file or directory");
    CHECK(read(folder.path())->text == "Is a directory");
    const std::string large = folder.write("large", "");
    std::filesystem::resize_file(large, list_file_limit + 1);
    CHECK(read(large)->line == 0);
    CHECK(entries.empty());
    CHECK(!read(folder.write("good", "one\n")));
    CHECK(entries.size() == 1);
}
