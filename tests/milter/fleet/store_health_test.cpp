// What several connections say of one store, as one word.
#include "milter/fleet/store_options.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace callforward::milter;
using namespace callforward::milter::fleet;

namespace {

struct watched {
    explicit watched(std::size_t connections) : health(options(), connections) {}
    store_options options() {
        store_options o;
        o.say = [this](log_level, std::string_view line, log_fields) { said.emplace_back(line); };
        return o;
    }

    std::vector<std::string> said;
    store_health health;
};

}  // namespace

TEST_CASE("a store is used when all connections have said so, whoever is first") {
    watched w(3);
    for (const std::size_t connection : {2, 0}) {
        w.health.report(connection, trouble::none, "");
        CHECK(w.health.now().what == trouble::unreachable);
        CHECK(w.said.empty());
    }
    w.health.report(1, trouble::none, "");
    CHECK(w.health.now().what == trouble::none);
    CHECK(w.said == std::vector<std::string>{"the shared store is used"});
}

TEST_CASE("the worst word counts, and each change is said once") {
    watched w(2);
    w.health.report(0, trouble::none, "");
    w.health.report(1, trouble::full, "no room");
    CHECK(w.health.now().what == trouble::full);
    w.health.report(0, trouble::full, "no room");
    CHECK(w.said.size() == 1);
    w.health.report(0, trouble::unreachable, "it is away");
    CHECK(w.health.now().why == "it is away");
    w.health.report(0, trouble::none, "");
    w.health.report(1, trouble::none, "");
    CHECK(w.health.now().what == trouble::none);
    CHECK(w.said.size() == 4);
    CHECK(w.said.back() == "the shared store is used");
}
