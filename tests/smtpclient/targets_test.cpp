// Which addresses a name leads to, and which of them are never contacted, or are this host.
#include "smtpclient/targets.h"

#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/misbehaving_server.h"
#include "tests/support/script_server.h"

#include <doctest/doctest.h>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;

namespace {

const std::string accepted = "deliverable accepted rcpt";
const std::string not_usable = "undetermined no_usable_host route";

question to_hop(const std::string& hop) {
    question q = simple_question();
    set_hop(q, hop);
    return q;
}

}  // namespace

// Connecting to it reaches the loopback, which [routing] deny keeps out by other networks.
TEST_CASE("a name that leads to the unspecified address leads nowhere, whatever is denied") {
    const misbehaving_server four(hang_up);
    const misbehaving_server six(hang_up, "[::1]:0");
    caller calls;
    calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    for (const auto& [address, port] : {std::pair{"0.0.0.0", four.port()},
                                        std::pair{"::ffff:0.0.0.0", four.port()},
                                        std::pair{"::", six.port()}}) {
        CAPTURE(address);
        calls.resolver.address("mx.next.test", {address});
        CHECK(calls.answer(question_to_mx(port)) == not_usable);
        CHECK(calls.answer(to_hop("[mx.next.test]:" + std::to_string(port))) == not_usable);
    }
    CHECK(calls.answer(question_to_mx(four.port(), "bob@[0.0.0.0]")) == not_usable);
    CHECK(calls.answer(question_to_mx(six.port(), "bob@[IPv6:::]")) == not_usable);
    CHECK(four.connections() == 0);
    CHECK(six.connections() == 0);
}

TEST_CASE("the unspecified address as a literal of a configured route is contacted") {
    script_server server(host_saying("250 ok"));
    caller calls;
    CHECK(calls.answer(to_hop("[0.0.0.0]:" + std::to_string(server.port()))) == accepted);
}
