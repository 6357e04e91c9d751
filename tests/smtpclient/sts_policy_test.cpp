#include "smtpclient/sts_policy.h"

#include <doctest/doctest.h>

using namespace callforward::smtpclient;
using namespace std::chrono_literals;

namespace {

std::string error_of(const std::string& text) {
    std::string why;
    return parse_sts_policy(text, why) ? "no error" : why;
}

}  // namespace

TEST_CASE("an MTA-STS policy is read: RFC 8461's own example") {
    std::string why;
    const auto policy = parse_sts_policy(
        "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n"
        "mx: backupmx.example.com\nmax_age: 604800\n",
        why);
    REQUIRE(policy);
    CHECK(policy->how == sts_policy::mode::enforce);
    CHECK(policy->max_age == 604800s);
    CHECK(policy->covers("mail.example.com"));
    CHECK(policy->covers("a.example.net"));
    CHECK_FALSE(policy->covers("a.b.example.net"));
    CHECK_FALSE(policy->covers("example.net"));
    CHECK_FALSE(policy->covers("other.example.com"));
}

TEST_CASE("line ends, blanks, unknown fields and their order do not matter") {
    std::string why;
    const auto policy = parse_sts_policy(
        "mode:testing\r\nfoo: bar\r\n\r\n max_age :\t10\r\nmx:MX.Example.Com.\r\nversion:STSv1",
        why);
    REQUIRE(policy);
    CHECK(policy->how == sts_policy::mode::testing);
    CHECK(policy->patterns == std::vector<std::string>{"mx.example.com"});
    const auto none = parse_sts_policy("version: STSv1\nmode: none\nmax_age: 0", why);
    REQUIRE(none);
    CHECK(none->how == sts_policy::mode::none);
}

TEST_CASE("what is no policy is none, and a lifetime is a year at most") {
    const std::string end = "mx: a.test\nmax_age: 5";
    CHECK(error_of("") == "it lacks version, mode or max_age");
    CHECK(error_of("<html>404</html>") == "it lacks version, mode or max_age");
    CHECK(error_of("mode: enforce\n" + end) == "it lacks version, mode or max_age");
    CHECK(error_of("version: STSv2\nmode: enforce\n" + end) == "it has another version than STSv1");
    CHECK(error_of("version: STSv1\nmode: strict\n" + end) == "it has an unknown mode");
    CHECK(error_of("version: STSv1\nmode: enforce\nmax_age: 5") == "it lists no mx");
    CHECK(error_of("version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -5") ==
          "its max_age is no number");
    CHECK(error_of("version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmax_age: 5") ==
          "an mx of it is no host name");
    for (const char* age : {"99999999", "99999999999999999999999999"}) {
        std::string why;
        const auto policy =
            parse_sts_policy("version: STSv1\nmode: none\nmax_age: " + std::string(age), why);
        REQUIRE(policy);
        CHECK(policy->max_age == 31557600s);
    }
}

TEST_CASE("one record announces a policy, by an id") {
    CHECK(sts_id({"v=STSv1; id=20160831085700Z;"}) == "20160831085700Z");
    CHECK(sts_id({"other", "v=STSv1;id=1; more=x"}) == "1");
    CHECK_FALSE(sts_id({}));
    CHECK_FALSE(sts_id({"v=STSv1; id=1", "v=STSv1; id=2"}));
    CHECK_FALSE(sts_id({"v=STSv1"}));
    CHECK_FALSE(sts_id({"v=STSv1; id="}));
    CHECK_FALSE(sts_id({"v=STSv1; id=a b"}));
    CHECK_FALSE(sts_id({"v=STSv1; id=" + std::string(33, '1')}));
    CHECK_FALSE(sts_id({"v=STSv11; id=1"}));
}
