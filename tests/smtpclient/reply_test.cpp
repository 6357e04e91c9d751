#include "smtpclient/reply.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {
namespace {

using progress = reply_parser::progress;

struct parsed {
    progress state = progress::needs_more;
    reply value;       // when complete
    std::string rest;  // what the parser left; of no meaning when malformed

    bool operator==(const parsed&) const = default;
};

parsed finish(reply_parser& parser, progress state, std::string_view rest) {
    parsed result{state, {}, {}};
    if (state != progress::malformed) result.rest = rest;
    if (state == progress::complete) result.value = parser.take();
    return result;
}

parsed parse(std::string_view input) {
    reply_parser parser;
    const progress state = parser.feed(input);
    return finish(parser, state, input);
}

parsed parse_in_two(std::string_view input, std::size_t at) {
    reply_parser parser;
    std::string_view part = input.substr(0, at);
    progress state = parser.feed(part);
    std::string rest = std::string(part) + std::string(input.substr(at));
    if (state != progress::needs_more) return finish(parser, state, rest);
    part = input.substr(at);
    state = parser.feed(part);
    return finish(parser, state, part);
}

parsed parse_byte_by_byte(std::string_view input) {
    reply_parser parser;
    for (std::size_t i = 0; i < input.size(); ++i) {
        std::string_view byte = input.substr(i, 1);
        const progress state = parser.feed(byte);
        if (state != progress::needs_more) return finish(parser, state, input.substr(i + 1));
    }
    return finish(parser, progress::needs_more, {});
}

reply complete(std::string_view input) {
    const parsed result = parse(input);
    REQUIRE(result.state == progress::complete);
    return result.value;
}

bool is_malformed(std::string_view input) {
    return parse(input).state == progress::malformed;
}

using lines = std::vector<std::string>;

std::string repeated(std::string_view text, std::size_t times) {
    std::string result;
    for (std::size_t i = 0; i < times; ++i) result += text;
    return result;
}

}  // namespace

TEST_CASE("a reply is a code and the text of its lines") {
    CHECK(complete("250 OK\r\n") == reply{250, {"OK"}});
    CHECK(complete("250-mx.example\r\n250-SIZE 1000\r\n250 DSN\r\n") ==
          reply{250, {"mx.example", "SIZE 1000", "DSN"}});
    CHECK(complete("250-\r\n250 \r\n") == reply{250, {"", ""}});
    CHECK(complete("550  two blanks\r\n").lines == lines{" two blanks"});
}

TEST_CASE("a code alone is a reply") {
    CHECK(complete("250\r\n") == reply{250, {""}});
    CHECK(complete("250\n") == reply{250, {""}});
    CHECK(complete("250-a\r\n250\r\n") == reply{250, {"a", ""}});
}

TEST_CASE("LF ends a line with or without one CR before it") {
    CHECK(complete("250-a\n250 b\n") == reply{250, {"a", "b"}});
    CHECK(complete("250 b\r\r\n").lines == lines{"b\r"});
}

TEST_CASE("CR or NUL inside a line never ends it and stays in the untrusted text") {
    CHECK(complete("550 no\r250 yes\r\n").lines == lines{"no\r250 yes"});
    CHECK(complete(std::string_view("550 a\0b\r\n", 9)).lines == lines{std::string("a\0b", 3)});
    CHECK(parse("250 OK\r").state == progress::needs_more);
    CHECK(parse("250 OK\r250 more\r").state == progress::needs_more);
    CHECK(complete("550 no\r250 yes\r\n").text() == "no 250 yes");
}

TEST_CASE("a reply that is not finished needs more") {
    for (const std::string input :
         {"", "2", "25", "250", "250 ", "250-", "250-a\r\n", "250-a\r\n25"}) {
        CAPTURE(input);
        CHECK(parse(input).state == progress::needs_more);
    }
}

TEST_CASE("what follows a reply is left in the input") {
    std::string_view input = "250-a\r\n250 b\r\n550 c\r\n354";
    reply_parser parser;
    REQUIRE(parser.feed(input) == progress::complete);
    CHECK(parser.take() == reply{250, {"a", "b"}});
    CHECK(input == "550 c\r\n354");
    REQUIRE(parser.feed(input) == progress::complete);
    CHECK(parser.take() == reply{550, {"c"}});
    CHECK(parser.feed(input) == progress::needs_more);
    CHECK(input.empty());
    std::string_view rest = " go on\r\n";
    REQUIRE(parser.feed(rest) == progress::complete);
    CHECK(parser.take() == reply{354, {"go on"}});
}

TEST_CASE("codes are 200 to 559 with a second digit of 0 to 5") {
    for (int code = 0; code <= 999; ++code) {
        std::string text = std::to_string(code);
        text.insert(0, 3 - text.size(), '0');
        const bool good = code >= 200 && code <= 599 && code / 10 % 10 <= 5;
        CAPTURE(text);
        CHECK(parse(text + " x\r\n").state == (good ? progress::complete : progress::malformed));
    }
}

TEST_CASE("different codes in one reply are malformed") {
    CHECK(is_malformed("250-a\r\n251 b\r\n"));
    CHECK(is_malformed("550-no\r\n250 yes\r\n"));
    CHECK(is_malformed("250-yes\r\n550-no\r\n"));
    CHECK(is_malformed("250-a\r\nb\r\n250 c\r\n"));
}

TEST_CASE("what is no reply is malformed") {
    const std::vector<std::string> garbage = {
        "\r\n",
        "\n",
        "2\r\n",
        "25\r\n",
        "25O OK\r\n",
        "2500 OK\r\n",
        "250_OK\r\n",
        "250\tOK\r\n",
        " 250 OK\r\n",
        "+250 OK\r\n",
        "-50 OK\r\n",
        "2.0 OK\r\n",
        "OK\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "<html>\r\n",
        "* OK IMAP4rev1 ready\r\n",
        "+OK POP3 ready\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        std::string("\0\0\0\0\n", 5),
        std::string("2\0"
                    "50 OK\r\n",
                    9),
        "\xff\xfe\xfd\n",
        "\xef\xbb\xbf"
        "250 OK\r\n",                       // a byte order mark
        "\xd9\xa2\xd9\xa5\xd9\xa0 OK\r\n",  // Arabic-Indic digits
    };
    for (const auto& input : garbage) {
        CAPTURE(input);
        CHECK(is_malformed(input));
    }
}

TEST_CASE("bytes that can not become a code are refused without waiting for a line end") {
    CHECK(is_malformed(std::string_view("\x16\x03\x01\x02\x00", 5)));  // TLS handshake record
    CHECK(is_malformed(std::string_view("\x15\x03\x03\x00\x02\x02\x28", 7)));  // TLS alert
    CHECK(is_malformed("HTTP/1.1 "));
    CHECK(is_malformed("25x"));
}

TEST_CASE("after malformed nothing is believed any more") {
    reply_parser parser;
    std::string_view input = "nonsense\r\n250 OK\r\n";
    REQUIRE(parser.feed(input) == progress::malformed);
    CHECK_FALSE(parser.why().empty());
    std::string_view more = "250 OK\r\n";
    CHECK(parser.feed(more) == progress::malformed);
}

TEST_CASE("why a reply is malformed is printable and short") {
    reply_parser parser;
    const std::string input = "\x1b[2J\r\r" + std::string(5000, '\x07') + "\r\n";
    std::string_view view = input;
    REQUIRE(parser.feed(view) == progress::malformed);
    CHECK(parser.why().size() < 200);
    for (const char c : parser.why()) CHECK((c >= ' ' && c <= '~'));
}

TEST_CASE("a line is kept up to its limit and the rest of it is dropped") {
    constexpr std::size_t room = reply_parser::line_limit - 4;
    const std::string fits(room, 'x');
    CHECK(complete("250 " + fits + "\n").lines == lines{fits});
    CHECK(complete("250 " + fits + "y\n").lines == lines{fits});
    CHECK(complete("250-" + fits + std::string(20000, 'y') + "\r\n250 end\r\n").lines ==
          lines{fits, "end"});
}

TEST_CASE("a reply of exactly the size limit passes and one byte more does not") {
    const auto of_size = [](std::size_t size) {
        std::string text;
        while (size - text.size() > 2048) text += "250-" + std::string(1000, 'x') + "\r\n";
        return text + "250 " + std::string(size - text.size() - 6, 'y') + "\r\n";
    };
    CHECK(of_size(reply_parser::size_limit).size() == reply_parser::size_limit);
    CHECK(parse(of_size(reply_parser::size_limit)).state == progress::complete);
    CHECK(parse_byte_by_byte(of_size(reply_parser::size_limit)).state == progress::complete);
    CHECK(is_malformed(of_size(reply_parser::size_limit + 1)));
    CHECK(parse_byte_by_byte(of_size(reply_parser::size_limit + 1)).state == progress::malformed);
}

TEST_CASE("the size limit is one of each reply, not of a session") {
    reply_parser parser;
    const std::string one = "250 " + std::string(60000, 'x') + "\r\n";
    for (int i = 0; i < 3; ++i) {
        std::string_view input = one;
        REQUIRE(parser.feed(input) == progress::complete);
        static_cast<void>(parser.take());
    }
}

TEST_CASE("a reply of 128 lines passes and one of 129 does not") {
    const auto last = reply_parser::lines_limit - 1;
    CHECK(complete(repeated("250-x\r\n", last) + "250 end\r\n").lines.size() ==
          reply_parser::lines_limit);
    CHECK(is_malformed(repeated("250-x\r\n", last + 1) + "250 end\r\n"));
    CHECK(is_malformed(repeated("250-x\r\n", 5000)));
}

TEST_CASE("endless input is refused once it is too much, at whatever step it comes") {
    const std::string line = "250 " + std::string(1024 * 1024, 'x') + "\r\n";
    CHECK(is_malformed(line));
    reply_parser parser;
    std::size_t fed = 0;
    progress state = progress::needs_more;
    while (state == progress::needs_more && fed < line.size()) {
        std::string_view part = std::string_view(line).substr(fed, 1000);
        fed += part.size();
        state = parser.feed(part);
    }
    CHECK(state == progress::malformed);
    CHECK(fed <= reply_parser::size_limit + 1000);
}

TEST_CASE("a reply split at any byte is the same reply") {
    const std::vector<std::string> inputs = {
        "250 OK\r\n",
        "250\r\n",
        "250-a\r\n250-\r\n250 b\r\n550 next\r\n",
        "550-5.1.1 no such\r\n550 5.1.1 user\n",
        "250 a\rb\r\r\n",
        "250-a\r\n251 b\r\n",
        "25\r\n",
        "2500\r\n",
        "599 x\r\n",
        std::string("550 \0\x1b\xff\r\n", 9),
        "250-" + std::string(reply_parser::line_limit - 5, 'x') + "\r\r\r\n250 y\r\n",
    };
    for (const auto& input : inputs) {
        CAPTURE(input);
        const parsed whole = parse(input);
        for (std::size_t at = 0; at <= input.size(); ++at) {
            CAPTURE(at);
            CHECK(parse_in_two(input, at) == whole);
        }
        CHECK(parse_byte_by_byte(input) == whole);
    }
}

TEST_CASE("a reply cut short is never a reply") {
    const std::string whole = "250-first\r\n250-second\r\n250 third\r\n";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        CHECK(parse(std::string_view(whole).substr(0, size)).state == progress::needs_more);
    }
}

TEST_CASE("an enhanced code is taken from the beginning of a text") {
    struct row {
        std::string_view text;
        std::optional<enhanced_code> code;
        std::string_view rest;
    };
    const std::vector<row> rows = {
        {"5.1.1 no such user", enhanced_code{5, 1, 1}, "no such user"},
        {"2.1.5 OK", enhanced_code{2, 1, 5}, "OK"},
        {"4.7.0", enhanced_code{4, 7, 0}, ""},
        {"5.7.606 banned", enhanced_code{5, 7, 606}, "banned"},
        {"5.999.999 x", enhanced_code{5, 999, 999}, "x"},
        {"5.1.1: x", enhanced_code{5, 1, 1}, "x"},
        {"5.1.1, x", enhanced_code{5, 1, 1}, "x"},
        {"5.1.1\t x", enhanced_code{5, 1, 1}, "x"},
        {"5.1.1 <a@b>... x", enhanced_code{5, 1, 1}, "<a@b>... x"},
        {"5.7.1[BL21] x", enhanced_code{5, 7, 1}, "[BL21] x"},
        {"  5.7.1 x", enhanced_code{5, 7, 1}, "x"},
        {"", std::nullopt, ""},
        {"   ", std::nullopt, "   "},
        {"5", std::nullopt, "5"},
        {"5.", std::nullopt, "5."},
        {"5.1", std::nullopt, "5.1"},
        {"5.1.", std::nullopt, "5.1."},
        {"5.1. 1", std::nullopt, "5.1. 1"},
        {"5..1 x", std::nullopt, "5..1 x"},
        {"3.1.1 x", std::nullopt, "3.1.1 x"},
        {"1.1.1 x", std::nullopt, "1.1.1 x"},
        {"6.1.1 x", std::nullopt, "6.1.1 x"},
        {"55.1.1 x", std::nullopt, "55.1.1 x"},
        {"5.1000.1 x", std::nullopt, "5.1000.1 x"},
        {"5.1.1000 x", std::nullopt, "5.1.1000 x"},
        {"5.1.99999999999999999999 x", std::nullopt, "5.1.99999999999999999999 x"},
        {"5.1.1.2 x", std::nullopt, "5.1.1.2 x"},
        {"5.1.1.example x", std::nullopt, "5.1.1.example x"},
        {"5.1.1x", std::nullopt, "5.1.1x"},
        {"5.1.1@example", std::nullopt, "5.1.1@example"},
        {"5.-1.1 x", std::nullopt, "5.-1.1 x"},
        {"#5.1.1 x", std::nullopt, "#5.1.1 x"},
    };
    for (const auto& [text, code, rest] : rows) {
        CAPTURE(text);
        std::string_view left = text;
        CHECK(take_enhanced_code(left) == code);
        CHECK(left == rest);
        if (code) CHECK(text.find(to_string(*code)) != std::string_view::npos);
    }
}

TEST_CASE("the enhanced code of a reply is that of its first line") {
    CHECK(complete("550-5.1.1 a\r\n550 5.7.1 b\r\n").enhanced() == enhanced_code{5, 1, 1});
    CHECK_FALSE(complete("550-a\r\n550 5.7.1 b\r\n").enhanced());
    CHECK_FALSE(reply{}.enhanced());
}

TEST_CASE("the text of a reply is one printable line without the repeated code") {
    CHECK(complete("550-5.1.1 no such\r\n550 5.1.1  user \r\n").text() == "no such user");
    CHECK(complete("550-\r\n550  \r\n").text().empty());
    CHECK(complete("550 \x1b[31mred\x07\xff\r\n").text() == "?[31mred??");
    CHECK(complete("550 a\tb\r\n").text() == "a b");
    CHECK(reply{}.text().empty());
    for (int byte = 0; byte < 256; ++byte) {
        if (byte == '\n') continue;
        const std::string input = std::string("550 x") + static_cast<char>(byte) + "y\n";
        for (const char c : complete(input).text()) CHECK((c >= ' ' && c <= '~'));
    }
}

TEST_CASE("the class of a code is its first digit") {
    CHECK(reply{250, {}}.status_class() == 2);
    CHECK(reply{354, {}}.status_class() == 3);
    CHECK(reply{450, {}}.status_class() == 4);
    CHECK(reply{559, {}}.status_class() == 5);
}

}  // namespace callforward::smtpclient
