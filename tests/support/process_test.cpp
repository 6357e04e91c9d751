#include "tests/support/process.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <system_error>

using namespace callforward::testing;
using namespace std::chrono_literals;

TEST_CASE("output of both kinds is captured, and the exit code told") {
    process child({"sh", "-c", "echo one; echo \"$GREETING two\" >&2; exit 3"},
                  {{"GREETING", "hello"}});
    CHECK(child.wait_for_exit() == 3);
    CHECK(child.wait_for("two") == "hello two");
    CHECK(child.output() == "one\nhello two\n");
}

TEST_CASE("waiting for a line ends when the output ends without it") {
    const process child({"sh", "-c", "echo one"});
    CHECK(child.wait_for("one") == "one");
    CHECK_FALSE(child.wait_for("two"));
}

TEST_CASE("waiting for a line is bounded, and may begin at a later place") {
    process child(
        {"sh", "-c", "trap 'echo caught' USR1; echo ready; while :; do read x < /dev/zero; done"});
    REQUIRE(child.wait_for("ready"));
    CHECK_FALSE(child.wait_for("caught", 20ms));
}

TEST_CASE("a signal ends the program, as shells count it") {
    process child({"sleep", "60"});
    CHECK_FALSE(child.wait_for_exit(10ms));
    child.send_signal(SIGTERM);
    CHECK(child.wait_for_exit() == 128 + SIGTERM);
}

TEST_CASE("the whole group is killed at the end, and its output does not hold us up") {
    const auto begin = std::chrono::steady_clock::now();
    {
        const process child({"sh", "-c", "sleep 60 & setsid sleep 20 & echo ready; wait"});
        CHECK(child.wait_for("ready"));
    }
    CHECK(std::chrono::steady_clock::now() - begin < 10s);
}

TEST_CASE("a program that does not exist is an error") {
    CHECK_THROWS_AS(process({"/nonexistent/program"}), std::system_error);
}
