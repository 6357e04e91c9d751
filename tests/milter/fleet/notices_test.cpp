#include "milter/fleet/notices.h"

#include <doctest/doctest.h>

#include <string>

using namespace callforward::milter::fleet;

TEST_CASE("a notice is read as it was written") {
    const notice n{notice::kind::closed, "edge1", 30, "example.com"};
    const auto read = parse_notice(to_text(n));
    REQUIRE(read);
    CHECK(read->what == n.what);
    CHECK(read->edge == n.edge);
    CHECK(read->seconds == 30);
    CHECK(read->name == n.name);
    const auto quoted = parse_notice(to_text({notice::kind::forget, "e", 0, "\"a b\"@x.test"}));
    REQUIRE(quoted);
    CHECK(quoted->name == "\"a b\"@x.test");
}

TEST_CASE("what is no notice is passed over") {
    for (const std::string& text : {std::string(),
                                    std::string("1"),
                                    std::string("1 e"),
                                    std::string("1 e forget"),
                                    std::string("1 e forget x a@b.test"),
                                    std::string("1 e forget -1 a@b.test"),
                                    std::string("1 e forget 99999999999 a@b.test"),
                                    std::string("1 e unheard_of 0 a@b.test"),
                                    std::string("2 e forget 0 a@b.test"),
                                    std::string("1  forget 0 a@b.test"),
                                    "1 " + std::string(100, 'e') + " forget 0 a@b.test",
                                    "1 e forget 0 " + std::string(5000, 'x')}) {
        CHECK_MESSAGE(!parse_notice(text), text);
    }
}
