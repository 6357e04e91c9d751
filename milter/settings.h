// The whole configuration as values (INTERFACE section 2): defaults in the class, no TOML here.
//
// Made by milter/config.h, shared read-only by everything else; a reload makes a new one. Durations
// of 0 and counts of 0 mean none. Lists are already expanded: "@file" entries have been read.
#pragma once

#include "dns/ip.h"
#include "dns/trust_in_ad.h"
#include "milter/envelope.h"
#include "smtpclient/question.h"
#include "smtpclient/session_limits.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::milter {

using std::chrono::milliseconds;

// One entry of a list, with where it was written, for `explain` and log lines.
struct list_entry {
    std::string text;  // lower case where case does not matter
    std::string file;  // "" when written in the configuration itself
    int line = 0;
};

// A network of a list, with where it was written.
struct listed_network {
    dns::network network;
    std::string file;
    int line = 0;
};

struct milter_settings {
    std::string socket = "inet:8891@127.0.0.1";
    unsigned socket_mode = 0660;
    std::string socket_group;
    std::string user;
    std::optional<milliseconds> answer_within;  // nothing: auto
};

struct scope_settings {
    // "example.com", ".example.com", "*", each with "!" before it or not; names are A-labels.
    std::vector<list_entry> domains{{"*", "", 0}};
    std::vector<listed_network>
        exempt_clients;  // default 127.0.0.0/8 and ::1: see default_settings()
    bool exempt_authenticated = true;
    std::vector<list_entry> exempt_recipients{{"postmaster", "", 0}, {"abuse", "", 0}};
    std::vector<list_entry> exempt_senders;  // "user@domain", "domain", ".domain", "<>"
};

enum class policy_mode { enforce, monitor, off };
enum class action { accept, tempfail, reject };
enum class sender_choice { original, null, fixed };
enum class reply_text { upstream, neutral };
enum class route_choice { mta, mx, list };

[[nodiscard]] std::string_view to_string(policy_mode m);
[[nodiscard]] std::string_view to_string(action a);

struct policy_origin {                        // where a policy was written
    std::string table;                        // "[policy]", "[domain.\"example.com\"]"; "": nowhere
    std::map<std::string, std::string> keys;  // key -> "[policy], file:line"; the others: default
};
class policy_script;  // milter/script.h

struct policy {
    policy_mode mode = policy_mode::enforce;
    route_choice route = route_choice::mta;
    std::vector<smtpclient::next_hop> hops;  // when route is list
    sender_choice sender = sender_choice::original;
    std::string fixed_sender;
    // Shared with questions under way, which outlive a reload.
    std::shared_ptr<const smtpclient::transport> transport =
        std::make_shared<smtpclient::transport>();
    action on_undeliverable = action::reject;
    action on_sender_refused = action::reject;
    action on_deferred = action::tempfail;
    action on_refused = action::tempfail;
    action on_unreachable = action::tempfail;
    action on_insecure = action::tempfail;
    milter::reply_text reply_text = reply_text::upstream;
    std::shared_ptr<const policy_script> script;  // nothing: none; shared with RCPTs under way
    // What of this policy a verdict depends on, as text: part of the cache key.
    std::string fingerprint;
    // For `explain` only. Shared: a policy is copied with its table, and never changed after.
    std::shared_ptr<const policy_origin> origin;
};

struct mailer_rule {  // [routing] mailers: MTA mailer or transport name -> how to reach what it
                      // delivers to
    bool skip = false;
    smtpclient::protocol protocol = smtpclient::protocol::smtp;
    std::uint16_t port = 0;  // 0: the policy's port, 24 for lmtp
};

struct routing_settings {
    std::vector<std::string> my_names;
    std::vector<dns::ip_address> my_addresses;
    std::vector<dns::network> deny;              // default: see default_settings()
    std::map<std::string, mailer_rule> mailers;  // keys in lower case
    std::vector<list_entry> virtual_aliases;     // "user@domain" and "@domain", lower case
    std::string queue_directory = "/var/spool/postfix";
};

struct dns_settings {
    std::vector<std::string> servers;
    std::string resolv_conf = "/etc/resolv.conf";  // read where there are none; no key: for tests
    milliseconds timeout{5000};
    dns::trust_in_ad trust_ad = dns::trust_in_ad::automatic;
};

struct cache_settings {
    std::string store = "lmdb:/var/lib/callforward";
    std::string store_user;
    std::string store_password_file;
    std::string store_password;  // of the file; never shown
    milliseconds store_timeout{50};
    milliseconds store_trust{60000};
    std::chrono::seconds deliverable{24 * 3600};
    std::chrono::seconds stale{7 * 24 * 3600};
    std::chrono::seconds undeliverable{600};
    std::chrono::seconds undeliverable_max{7200};
    std::chrono::seconds undetermined{30};
    std::chrono::seconds catch_all{24 * 3600};
    std::size_t capacity = 1000000;
    std::size_t undeliverable_capacity = 250000;
};

struct limits_settings {
    smtpclient::session_limits sessions;
    std::size_t pending = 10000;
    unsigned pending_share = 25;  // percent
    std::size_t unknown_per_client = 20;
    milliseconds unknown_window{600000};
    std::size_t fleet_connections_per_host = 0;  // over all edges; 0: no limit
    unsigned shards = 0;                         // 0: one per processor; read at the start only
};

struct interlock_settings {
    std::vector<std::string> canaries;  // mailbox keys: "User@example.com", domain in A-labels
    std::size_t flip_limit = 20;
    milliseconds flip_window{300000};
};

struct control_settings {
    std::string socket = "/run/callforward/control.sock";  // "": none
};

struct metrics_settings {
    std::string listen;  // "127.0.0.1:9589"; "": nowhere
    bool show_addresses = false;
};

enum class log_target { automatic, syslog, standard_error };
enum class log_format { logfmt, json };
enum class log_level { error, warning, info, debug };

struct log_settings {
    log_target target = log_target::automatic;
    log_format format = log_format::logfmt;
    log_level level = log_level::info;

    bool operator==(const log_settings&) const = default;
};

struct settings {
    milter_settings milter;
    scope_settings scope;
    policy default_policy;
    std::map<std::string, policy, std::less<>>
        domain_policies;  // "example.com", ".example.com"; lower case A-labels
    routing_settings routing;
    dns_settings dns;
    cache_settings cache;
    limits_settings limits;
    interlock_settings interlock;
    control_settings control;
    metrics_settings metrics;
    log_settings log;
};

// The settings of an empty file.
[[nodiscard]] settings default_settings();

// What its policies need to hear from the MTA.
[[nodiscard]] wanted_words words_wanted(const settings& s);

// What policy::fingerprint holds: sender, how we show ourselves, port, how we are secured, local
// rules. Times are not part of it: they change when an answer comes, not what it is.
[[nodiscard]] std::string verdict_fingerprint(const policy& p);

}  // namespace callforward::milter
