#include "dns/answer_cache.h"

#include <doctest/doctest.h>

using namespace callforward::dns;
using namespace std::chrono_literals;

namespace {

using cache = answer_cache<mx>;
const cache::time_point start{1000h};

answer<mx> an_answer(status s, std::chrono::seconds ttl, std::size_t records = 1) {
    answer<mx> out;
    out.status = s;
    out.ttl = ttl;
    if (s == status::found) out.records.resize(records);
    return out;
}

}  // namespace

TEST_CASE("an answer is kept for its TTL, and comes back with what is left of it") {
    cache kept(10);
    kept.keep("a.test", an_answer(status::found, 100s), start);
    REQUIRE(kept.find("a.test", start + 30s));
    CHECK(kept.find("a.test", start + 30s)->ttl == 70s);
    CHECK(kept.find("a.test", start + 99s + 1ms)->ttl == 1s);
    CHECK_FALSE(kept.find("a.test", start + 100s));
    CHECK(kept.size() == 0);
    CHECK_FALSE(kept.find("b.test", start));
}

TEST_CASE("what was found is kept for at most a day, an absence for at most an hour") {
    cache kept(10);
    kept.keep("found", an_answer(status::found, 10000000s), start);
    kept.keep("nodata", an_answer(status::no_data, 10000000s), start);
    kept.keep("none", an_answer(status::no_such_name, 10000000s), start);
    CHECK(kept.find("found", start)->ttl == 24h);
    CHECK(kept.find("nodata", start)->ttl == 1h);
    CHECK(kept.find("none", start)->ttl == 1h);
}

TEST_CASE("what was not answered, and what has no TTL, is never kept") {
    cache kept(10);
    kept.keep("a", an_answer(status::unavailable, 100s), start);
    kept.keep("b", an_answer(status::found, 0s), start);
    kept.keep("c", an_answer(status::no_such_name, 0s), start);
    kept.keep("d", an_answer(status::found, -5s), start);
    CHECK(kept.size() == 0);
}

TEST_CASE("a newer answer takes the place of the older one") {
    cache kept(10);
    kept.keep("a", an_answer(status::found, 100s), start);
    kept.keep("a", an_answer(status::no_data, 200s), start);
    CHECK(kept.find("a", start)->status == status::no_data);
    kept.keep("a", an_answer(status::unavailable, 0s), start);
    CHECK_FALSE(kept.find("a", start));
}

TEST_CASE("a full cache drops what was not used for longest") {
    cache kept(3);
    for (const char* name : {"a", "b", "c"}) kept.keep(name, an_answer(status::found, 100s), start);
    REQUIRE(kept.find("a", start));
    kept.keep("d", an_answer(status::found, 100s), start);
    CHECK(kept.size() == 3);
    CHECK(kept.find("a", start));
    CHECK_FALSE(kept.find("b", start));
    CHECK(kept.find("d", start));
}

TEST_CASE("an answer with many records counts for several") {
    cache kept(10);
    for (int i = 0; i < 5; ++i) kept.keep(std::to_string(i), an_answer(status::found, 100s), start);
    kept.keep("many", an_answer(status::found, 100s, 64), start);
    CHECK(kept.size() == 2);
    kept.keep("more than fits", an_answer(status::found, 100s, 500), start);
    CHECK(kept.size() == 2);
    cache none(0);
    none.keep("a", an_answer(status::found, 100s), start);
    CHECK(none.size() == 0);
}

TEST_CASE("an answer with long records counts for several, too") {
    answer_cache<std::string> texts(10);
    answer<std::string> one = {status::found, {"v=STSv1; id=1"}, 100s, false, {}, {}};
    for (int i = 0; i < 10; ++i) texts.keep(std::to_string(i), one, start);
    CHECK(texts.size() == 10);
    one.records = {std::string(4000, 'x')};
    texts.keep("long", one, start);
    CHECK(texts.find("long", start));
    CHECK(texts.size() == 3);
    one.records = {std::string(65000, 'x')};
    texts.keep("longer than all", one, start);
    CHECK_FALSE(texts.find("longer than all", start));

    answer_cache<tlsa> certificates(10);
    answer<tlsa> whole = {
        status::found, {{3, 0, 0, std::vector<std::uint8_t>(6000)}}, 100s, true, {}, {}};
    certificates.keep("whole", whole, start);
    CHECK(certificates.size() == 0);
}
