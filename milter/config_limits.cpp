#include "milter/config_limits.h"

#include "milter/config_values.h"
#include "smtpclient/mailbox.h"

namespace callforward::milter {

namespace {

constexpr std::int64_t most_connections = 10'000;
constexpr std::int64_t most_connections_in_all = 100'000;
constexpr std::int64_t most_fleet_connections = 100'000;
constexpr std::int64_t most_recipients = 1'000'000;
constexpr std::int64_t most_flips = 1'000;  // each is remembered
constexpr std::int64_t most_shards = 256;
constexpr std::size_t most_canaries = 1'000;  // each is asked about every minute
constexpr std::chrono::hours longest{24};

template <auto Field, std::int64_t Most, class Settings>
void count(const setting& from, Settings& into) {
    using number = std::remove_reference_t<decltype(into.*Field)>;
    if (const auto read = from.integer(0, Most)) into.*Field = static_cast<number>(*read);
}

template <auto Field, class Settings>
void time(const setting& from, Settings& into) {
    if (const auto read = from.duration(milliseconds(0), longest)) into.*Field = *read;
}

template <auto Field, std::int64_t Most>
void session_count(const setting& from, limits_settings& into) {
    count<Field, Most>(from, into.sessions);
}

template <auto Field>
void session_time(const setting& from, limits_settings& into) {
    time<Field>(from, into.sessions);
}

using per_session = smtpclient::session_limits;
using limits = limits_settings;
using limits_key = config_key<limits>;
const std::array limits_keys{
    limits_key{"connections_per_host",
               session_count<&per_session::connections_per_host, most_connections>},
    limits_key{"connections", session_count<&per_session::connections, most_connections_in_all>},
    limits_key{"fleet_connections_per_host",
               count<&limits::fleet_connections_per_host, most_fleet_connections>},
    limits_key{"idle_session", session_time<&per_session::idle_session>},
    limits_key{"recipients_per_session",
               session_count<&per_session::recipients_per_session, most_recipients>},
    limits_key{"recipients_refused_per_session",
               session_count<&per_session::recipients_refused_per_session, most_recipients>},
    limits_key{"pending", count<&limits::pending, most_recipients>},
    limits_key{"pending_share", count<&limits::pending_share, 100>},
    limits_key{"unknown_per_client", count<&limits::unknown_per_client, most_recipients>},
    limits_key{"unknown_window", time<&limits::unknown_window>},
    limits_key{"host_penalty", session_time<&per_session::host_penalty>},
    limits_key{"shards", count<&limits::shards, most_shards>},
};

void read_canaries(const setting& from, interlock_settings& into) {
    std::vector<std::string> canaries;
    const auto read = from.entries([&](list_entry& entry) {
        const auto mailbox = smtpclient::mailbox::parse(entry.text);
        if (!mailbox || !mailbox->domain()) {
            return quoted(entry.text) + " is not an address, as in \"info@example.com\"";
        }
        if (canaries.size() >= most_canaries) return std::string("more than 1000 canaries");
        canaries.push_back(mailbox->key());
        return std::string();
    });
    if (read) into.canaries = std::move(canaries);
}

using interlock_key = config_key<interlock_settings>;
const std::array interlock_keys{
    interlock_key{"canaries", read_canaries},
    interlock_key{"flip_limit", count<&interlock_settings::flip_limit, most_flips>},
    interlock_key{"flip_window", time<&interlock_settings::flip_window>},
};

}  // namespace

void read_limits(const config_node& table,
                 const section_name& section,
                 limits_settings& into,
                 reading& in) {
    read_section(table, section, limits_keys, into, in);
}

void read_interlock(const config_node& table,
                    const section_name& section,
                    interlock_settings& into,
                    reading& in) {
    read_section(table, section, interlock_keys, into, in);
}

}  // namespace callforward::milter
