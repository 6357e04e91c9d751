#include "milter/fleet/resp.h"

#include <doctest/doctest.h>

#include <string>

using namespace callforward::milter::fleet;
using progress = resp_reader::progress;
using type = resp_value::type;

namespace {

// Fed in pieces of that size: the first reply, or how the reading ended.
progress read_in_pieces(std::string_view bytes, std::size_t size, resp_value& into) {
    resp_reader reader;
    for (std::size_t i = 0; i < bytes.size(); i += size) {
        reader.feed(bytes.substr(i, size));
        const auto p = reader.next(into);
        if (p != progress::incomplete) return p;
    }
    return progress::incomplete;
}

}  // namespace

TEST_CASE("a command is its words, whatever bytes they hold") {
    CHECK(resp_command({"GET", std::string_view("a\r\n\0", 4)}) ==
          std::string("*2\r\n$3\r\nGET\r\n$4\r\na\r\n\0\r\n", 23));
    CHECK(resp_command({"SET", ""}) == "*2\r\n$3\r\nSET\r\n$0\r\n\r\n");
}

TEST_CASE("a reply is the same however it is cut") {
    const std::string bytes =
        "*5\r\n$3\r\na\r\n\r\n$-1\r\n:-7\r\n+OK\r\n*2\r\n-WRONGTYPE no\r\n*-1\r\n";
    for (std::size_t size = 1; size <= bytes.size(); ++size) {
        resp_value v;
        REQUIRE(read_in_pieces(bytes, size, v) == progress::complete);
        REQUIRE(v.elements.size() == 5);
        CHECK(v.elements[0].text == "a\r\n");
        CHECK(v.elements[1].is == type::nil);
        CHECK(v.elements[2].number == -7);
        CHECK(v.elements[3].is == type::status);
        REQUIRE(v.elements[4].elements.size() == 2);
        CHECK(v.elements[4].elements[0].error_code() == "WRONGTYPE");
        CHECK(v.elements[4].elements[1].is == type::nil);
    }
}

TEST_CASE("replies come one after another") {
    resp_reader reader;
    reader.feed("+a\r\n:1\r\n$1\r\nb\r\n+");
    resp_value v;
    CHECK(reader.next(v) == progress::complete);
    CHECK(v.text == "a");
    CHECK(reader.next(v) == progress::complete);
    CHECK(v.number == 1);
    CHECK(reader.next(v) == progress::complete);
    CHECK(v.text == "b");
    CHECK(reader.next(v) == progress::incomplete);
}

TEST_CASE("what is no reply of Redis is malformed, at any size of its pieces") {
    for (const std::string bytes :
         {"HTTP/1.1 400 Bad Request\r\n\r\n",
          "220 mx.example ESMTP\r\n",
          "*1000000000\r\n",
          "*65\r\n",
          "$-5\r\n",
          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"}) {
        for (const std::size_t size : {std::size_t{1}, std::size_t{3}, bytes.size()}) {
            resp_value v;
            CHECK_MESSAGE(read_in_pieces(bytes, size, v) == progress::malformed, bytes);
        }
    }
}

TEST_CASE("a reply without end is given up after a megabyte") {
    for (const std::string beginning : {"+", "$2000000000\r\n", "*2\r\n$2000000000\r\n"}) {
        resp_reader reader;
        reader.feed(beginning);
        const std::string piece(65536, 'x');
        resp_value v;
        std::size_t fed = 0;
        progress p = reader.next(v);
        while (p == progress::incomplete && fed < 4 * resp_reader::largest_reply) {
            reader.feed(piece);
            fed += piece.size();
            p = reader.next(v);
        }
        CHECK(p == progress::malformed);
        CHECK(fed <= 2 * resp_reader::largest_reply);
    }
}

TEST_CASE("any beginning of a reply is only incomplete, and any changed byte is no crash") {
    const std::string bytes = "*3\r\n$5\r\nhello\r\n:12\r\n-ERR no\r\n";
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        resp_value v;
        CHECK(read_in_pieces(bytes.substr(0, i), 1, v) == progress::incomplete);
        for (const char changed : {'\0', '*', '9', '\r', '\n', '\xff', '-'}) {
            std::string other = bytes;
            other[i] = changed;
            static_cast<void>(read_in_pieces(other, 7, v));
        }
    }
}
