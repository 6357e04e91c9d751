#include "milter/fleet/redis_scripts.h"

namespace callforward::milter::fleet {

namespace {

constexpr std::string_view put_source = R"(
local holder = redis.call('GET', KEYS[2])
if ARGV[1] ~= '' and holder ~= ARGV[1] then
    if holder or redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if holder == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
)";

constexpr std::string_view release_source = R"(
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'none', 'PX', ARGV[2])
return 1
)";

constexpr std::string_view renew_source = R"(
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
)";

// By the store's clock alone: the edges' own may differ.
constexpr std::string_view take_connection_source = R"(
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and
   redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
)";

}  // namespace

std::string_view source_of(script s) {
    switch (s) {
        case script::put:
            return put_source;
        case script::release:
            return release_source;
        case script::renew:
            return renew_source;
        case script::take_connection:
            return take_connection_source;
    }
    return {};
}

}  // namespace callforward::milter::fleet
