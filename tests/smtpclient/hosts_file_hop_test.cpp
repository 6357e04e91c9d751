// Next hops that stand in hosts(5) only, where the MTA finds them.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/misbehaving_server.h"
#include "tests/support/script_server.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;

namespace {

const std::string accepted = "deliverable accepted rcpt";
const std::string not_usable = "undetermined no_usable_host route";

struct world_with_hosts_file {
    explicit world_with_hosts_file(const std::string& hosts) : calls(reaching(hosts)) {}

    [[nodiscard]] reach reaching(const std::string& hosts) {
        reach r;
        r.deny = {*dns::network::parse("127.0.0.9")};
        r.my_addresses = {*dns::ip_address::parse("127.0.0.5")};
        r.hosts_file = folder.file("hosts");
        std::ofstream(r.hosts_file) << hosts;
        return r;
    }
    [[nodiscard]] std::string answer(const std::string& hop) {
        question q = simple_question();
        q.trace = [this](char side, std::string_view line) {
            if (side == '*') told.emplace_back(line);
        };
        set_hop(q, hop);
        return calls.answer(std::move(q));
    }
    [[nodiscard]] bool was_told(const std::string& line) const {
        return std::find(told.begin(), told.end(), line) != told.end();
    }

    temporary_folder folder;
    std::vector<std::string> told;
    caller calls;
};

}  // namespace

TEST_CASE("a next hop that DNS does not know is found in the hosts file") {
    script_server server(host_saying("250 ok"), {});
    const std::string port = std::to_string(server.port());
    world_with_hosts_file world("::1 Hop.test\n127.0.0.1 relay hop.test\n");
    world.calls.resolver.no_such_name("hop.test");
    world.calls.resolver.address("relay", {});
    CHECK(world.answer("[hop.test]:" + port) == accepted);
    CHECK(
        world.was_told("address of hop.test in " + world.folder.file("hosts") + ": ::1 127.0.0.1"));
    server.stop();
    script_server again(host_saying("250 ok"), {});
    CHECK(world.answer("[relay]:" + std::to_string(again.port())) == accepted);
}

TEST_CASE("the hosts file of this host is where its MTA looks, too") {
    CHECK(this_host().hosts_file == "/etc/hosts");
}

TEST_CASE("the hosts file is read at each need") {
    script_server server(host_saying("250 ok"), {});
    const std::string hop = "[hop.test]:" + std::to_string(server.port());
    world_with_hosts_file world("127.0.0.1 other.test\n");
    world.calls.resolver.no_such_name("hop.test");
    CHECK(world.answer(hop) == not_usable);
    CHECK(world.was_told("hop.test has no address"));
    std::ofstream(world.folder.file("hosts")) << "127.0.0.1 hop.test\n";
    CHECK(world.answer(hop) == accepted);
}

TEST_CASE("an address in the hosts file is denied like one in DNS") {
    const misbehaving_server denied(hang_up, "127.0.0.9:0");
    const misbehaving_server loopback(hang_up, "127.0.0.1:0");
    world_with_hosts_file world("127.0.0.9 hop.test\n0.0.0.0 hop.test\n");
    world.calls.resolver.no_such_name("hop.test");
    CHECK(world.answer("[hop.test]:" + std::to_string(denied.port())) == not_usable);
    CHECK(world.answer("[hop.test]:" + std::to_string(loopback.port())) == not_usable);
    CHECK(denied.connections() + loopback.connections() == 0);
}

TEST_CASE("what DNS answers, and what it does not, is not looked up in the hosts file") {
    const misbehaving_server server(hang_up, "127.0.0.1:0");
    const std::string hop = "[hop.test]:" + std::to_string(server.port());
    world_with_hosts_file world("127.0.0.1 hop.test mx.next.test next.test\n");
    world.calls.resolver.unavailable("hop.test");
    CHECK(world.answer(hop) == "undetermined dns_unavailable route");
    world.calls.resolver.address("hop.test", {"127.0.0.9"});
    CHECK(world.answer(hop) == not_usable);
    // Nor are mail exchangers, implicit ones included.
    world.calls.resolver.mx("next.test", {{10, "mx.next.test"}});
    world.calls.resolver.no_such_name("mx.next.test");
    CHECK(world.calls.answer(question_to_mx(server.port())) == not_usable);
    world.calls.resolver.mx("next.test", {});
    world.calls.resolver.address("next.test", {});
    CHECK(world.calls.answer(question_to_mx(server.port())) ==
          "undeliverable no_such_domain route");
    CHECK(server.connections() == 0);
}
