#include "milter/envelope.h"

#include <doctest/doctest.h>

using namespace callforward;
using milter::envelope;

TEST_CASE("The client's address is read as both MTAs write it") {
    envelope e;
    e.client_address = "192.0.2.1";
    CHECK(e.client() == dns::ip_address::parse("192.0.2.1"));
    e.client_address = "IPv6:2001:db8::1";
    CHECK(e.client() == dns::ip_address::parse("2001:db8::1"));
    for (const char* const none : {"", "unknown", "local", "192.0.2.999", "IPv6:", "\r\n"}) {
        e.client_address = none;
        CHECK_MESSAGE(!e.client(), none);
    }
    e.client_address = "IPv6:2001:db8::1";
    CHECK(e.client() == dns::ip_address::parse("2001:db8::1"));
}

TEST_CASE("The sender is a mailbox, the null sender, or what the client says instead") {
    envelope e;
    CHECK(e.sender() == nullptr);
    CHECK(e.from() == "<>");
    e.mail = "<S@Example.test>";
    REQUIRE(e.sender() != nullptr);
    CHECK(e.sender()->key() == "S@example.test");
    CHECK(e.from() == "S@Example.test");
    e.mail = "<>";
    CHECK(e.sender() == nullptr);
    CHECK(e.from() == "<>");
    e.mail = "<no mailbox";
    CHECK(e.sender() == nullptr);
    CHECK(e.from() == "<no mailbox");
    e.mail = "<t@example.test>";
    REQUIRE(e.sender() != nullptr);
    CHECK(e.from() == "t@example.test");
}

TEST_CASE("A copy reads for itself") {
    envelope first;
    first.client_address = "192.0.2.1";
    first.mail = "<s@a.test>";
    CHECK(first.client());
    CHECK(first.sender() != nullptr);
    envelope second = first;
    second.client_address = "192.0.2.2";
    second.mail = "<>";
    CHECK(second.client() == dns::ip_address::parse("192.0.2.2"));
    CHECK(second.sender() == nullptr);
    CHECK(first.client() == dns::ip_address::parse("192.0.2.1"));
    CHECK(first.from() == "s@a.test");
}
