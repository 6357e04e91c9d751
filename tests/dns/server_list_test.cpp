#include "dns/server_list.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <fstream>
#include <stdexcept>

using callforward::dns::server_list;
using callforward::dns::system_servers;

TEST_CASE("servers are addresses, with or without a port") {
    CHECK(server_list({"127.0.0.1"}) == "127.0.0.1:53");
    CHECK(server_list({"127.0.0.1:5353", "[::1]:53", "::1", "[2001:db8::1]"}) ==
          "127.0.0.1:5353,[::1]:53,[::1]:53,[2001:db8::1]:53");
}

TEST_CASE("what is not understood is refused, with advice") {
    for (const char* wrong : {"",
                              "dns.example",
                              "127.0.0.1:",
                              "127.0.0.1:0",
                              "127.0.0.1:65536",
                              "127.0.0.1:53x",
                              "[::1",
                              "[::1]53",
                              "1.2.3.4,5.6.7.8",
                              "::1:53:x",
                              "[]:53"}) {
        CAPTURE(wrong);
        CHECK_THROWS_WITH_AS(static_cast<void>(server_list({"127.0.0.1", wrong})),
                             doctest::Contains("write an address"),
                             std::runtime_error);
    }
}

TEST_CASE("servers are on the loopback only when all of them are") {
    const auto local = [](const std::vector<std::string>& servers) {
        return callforward::dns::all_on_loopback(server_list(servers));
    };
    CHECK(local({"127.0.0.1", "127.9.9.9:5353", "::1", "[::1]:5353", "::ffff:127.0.0.1"}));
    CHECK_FALSE(local({"127.0.0.1", "192.0.2.1"}));
    CHECK_FALSE(local({"[2001:db8::1]:53"}));
}

TEST_CASE("the system's servers are those that the file names at each look") {
    const callforward::testing::temporary_folder folder;
    const std::string file = folder.file("resolv.conf");
    const auto servers_of = [&](const char* text) {
        std::ofstream(file) << text;
        return server_list(system_servers(file));
    };
    CHECK(servers_of("nameserver 192.0.2.1\n") == "192.0.2.1:53");
    CHECK(servers_of("# ours\nsearch a.test\nnameserver 192.0.2.2\nnameserver 2001:db8::1\n") ==
          "192.0.2.2:53,[2001:db8::1]:53");
    // As resolv.conf(5) says.
    CHECK(servers_of("options edns0\n") == "127.0.0.1:53");
    CHECK(server_list(system_servers(folder.file("missing"))) == "127.0.0.1:53");
}
