#include "dns/hosts_file.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

using namespace callforward::dns;
using namespace callforward::testing;

namespace {

// The addresses of hop.test in a file of this text, joined by blanks.
std::string addresses_in(const std::string& text) {
    const temporary_folder folder;
    const std::string path = folder.file("hosts");
    std::ofstream(path, std::ios::binary) << text;
    std::string found;
    for (const auto& each : addresses_in_hosts_file(path, *domain::parse("hop.test"))) {
        found += (found.empty() ? "" : " ") + each.text();
    }
    return found;
}

// What a host that calls itself gw is called in full by a file of this text; "": nothing.
std::string full_name_in(const std::string& text) {
    const temporary_folder folder;
    const std::string path = folder.file("hosts");
    std::ofstream(path, std::ios::binary) << text;
    const auto found = full_name_in_hosts_file(path, *domain::parse("gw"));
    return found ? found->name() : "";
}

}  // namespace

TEST_CASE("a name is found in the hosts file, as first name and as alias") {
    CHECK(addresses_in("192.0.2.1 hop.test\n") == "192.0.2.1");
    CHECK(addresses_in("192.0.2.1 other.test hop hop.test hop.example\n") == "192.0.2.1");
    CHECK(addresses_in("192.0.2.1\t hop.test \t\n") == "192.0.2.1");
    CHECK(addresses_in("  192.0.2.1 hop.test\r\n") == "192.0.2.1");
    CHECK(addresses_in("192.0.2.1 Hop.TEST") == "192.0.2.1");
}

TEST_CASE("all addresses of a name are found, of both families, in the order of the file") {
    CHECK(addresses_in("127.0.0.1 localhost\n2001:db8::1 hop.test\n192.0.2.9 other.test\n"
                       "192.0.2.1 a.test hop.test\n192.0.2.2 hop.test\n") ==
          "2001:db8::1 192.0.2.1 192.0.2.2");
}

TEST_CASE("an address that stands twice is one address") {
    CHECK(addresses_in("192.0.2.1 hop.test\n::ffff:192.0.2.1 hop.test\n") == "192.0.2.1");
}

TEST_CASE("comments and lines that say nothing are no hosts") {
    CHECK(addresses_in("#192.0.2.1 hop.test\n192.0.2.2 other.test # hop.test\n"
                       "192.0.2.3 other.test#hop.test\n192.0.2.4 hop.test# and more\n") ==
          "192.0.2.4");
    for (const char* const nothing : {"",
                                      "\n\n",
                                      "hop.test",
                                      "hop.test 192.0.2.1\n",
                                      "192.0.2.1\nhop.test\n",
                                      "192.0.2.1 hop.test.\n",
                                      "192.0.2.1 xhop.test hop.testx hop.tes\n",
                                      "192.0.2.256 hop.test\n",
                                      "192.0.2 hop.test\n",
                                      "[192.0.2.1] hop.test\n",
                                      "fe80::1%eth0 hop.test\n"}) {
        CAPTURE(nothing);
        CHECK(addresses_in(nothing) == "");
    }
    CHECK(addresses_in(std::string("192.0.2.1\0 hop.test\n192.0.2.2 \0hop.test\n", 41)) == "");
    CHECK(addresses_in("\xff\xfe \xff\n192.0.2.1 hop.test\n") == "192.0.2.1");
}

TEST_CASE("of a hosts file without bounds only the beginning is read") {
    constexpr std::size_t mebibyte = 1024 * 1024;
    const std::string first = "192.0.2.1 hop.test\n";
    const std::string filling = first + std::string(mebibyte - first.size(), '\n');
    CHECK(addresses_in(filling + "192.0.2.2 hop.test\n") == "192.0.2.1");
    // A name that is cut there would be another one.
    const std::string line = "192.0.2.2 hop.test";
    std::string cut = filling.substr(0, mebibyte - line.size()) + line + ".example\n";
    CHECK(addresses_in(cut) == "192.0.2.1");
    CHECK(addresses_in(std::string(2 * mebibyte, 'a')) == "");
    std::string many;
    for (int i = 0; i < 1000; ++i) {
        many += "10.0." + std::to_string(i / 250) + '.' + std::to_string(i % 250) + " hop.test\n";
    }
    const std::string found = addresses_in(many);
    CHECK(std::count(found.begin(), found.end(), ' ') == 31);
}

TEST_CASE("a hosts file that can not be read has no hosts") {
    const temporary_folder folder;
    const auto name = *domain::parse("hop.test");
    CHECK(addresses_in_hosts_file(folder.file("missing"), name).empty());
    CHECK(addresses_in_hosts_file(folder.path().string(), name).empty());
    CHECK(addresses_in_hosts_file("", name).empty());
}

TEST_CASE("the full name of a host is the first name of a line that has its short one") {
    CHECK(full_name_in("127.0.0.1 localhost\n127.0.1.1 gw.example.test gw\n") == "gw.example.test");
    CHECK(full_name_in("192.0.2.1 Mail.Example.TEST www GW # the gateway\n") ==
          "mail.example.test");
    CHECK(full_name_in("127.0.1.1 gw\n192.0.2.1 gw.example.test gw\n") == "gw.example.test");
    CHECK(full_name_in("192.0.2.1 gw.example.test gw\n192.0.2.2 gw.other.test gw\n") ==
          "gw.example.test");
}

TEST_CASE("a host without a full name in the hosts file has none") {
    for (const char* const nothing : {"",
                                      "127.0.1.1 gw\n",
                                      "127.0.1.1 gw gw.example.test\n",
                                      "127.0.0.1 localhost.localdomain localhost gw\n",
                                      "192.0.2.1 gw.example.test gw2\n",
                                      "192.0.2.1 gw.example.test #gw\n",
                                      "192.0.2.1 -gw-.example..test gw\n",
                                      "no address gw.example.test gw\n"}) {
        CAPTURE(nothing);
        CHECK(full_name_in(nothing) == "");
    }
    CHECK_FALSE(full_name_in_hosts_file("", *domain::parse("gw")));
}
