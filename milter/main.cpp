// callforward-milter: the daemon.
#include "milter/config.h"
#include "milter/door.h"
#include "milter/engine.h"
#include "milter/log.h"
#include "milter/recipient_check.h"
#include "milter/signals.h"
#include "milter/version.h"

#include <CLI/CLI.hpp>
#include <grp.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace {

using namespace callforward;
using namespace callforward::milter;

constexpr const char* default_file = "/etc/callforward/callforward.toml";

struct arguments {
    std::string file = default_file;
    bool file_was_named = false;
    std::vector<std::string> overrides;
    bool check_only = false;
};

std::shared_ptr<const settings> load(const arguments& a) {
    return std::make_shared<const settings>(load_settings(a.file, a.overrides, !a.file_was_named));
}

// libmilter spins when it runs out of descriptors: have as many as the system gives.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

struct account {
    std::string name;
    uid_t user = 0;
    gid_t group = 0;
};

// Whom to become; nothing when [milter] user is "", or we are not root.
std::optional<account> account_named(const std::string& user) {
    if (user.empty() || geteuid() != 0) return std::nullopt;
    const passwd* const entry = getpwnam(user.c_str());  // start-up: one thread
    if (entry == nullptr) throw config_error("[milter] user: there is no user \"" + user + '"');
    return account{user, entry->pw_uid, entry->pw_gid};
}

void become(const account& whom) {
    if (initgroups(whom.name.c_str(), whom.group) != 0 || setgid(whom.group) != 0 ||
        setuid(whom.user) != 0) {
        throw std::runtime_error("cannot become user " + whom.name + ": " +
                                 std::generic_category().message(errno));
    }
}

// What a reload can not change.
void warn_about_fixed(const settings& at_start, const settings& fresh) {
    const auto warn = [](std::string_view key, bool differs) {
        if (!differs) return;
        log::say(
            log_level::warning, "a changed key takes effect at the next start", {{"key", key}});
    };
    const auto& a = at_start.milter;
    const auto& b = fresh.milter;
    warn("milter.socket", a.socket != b.socket);
    warn("milter.socket_mode", a.socket_mode != b.socket_mode);
    warn("milter.socket_group", a.socket_group != b.socket_group);
    warn("milter.user", a.user != b.user);
    warn("cache.capacity", at_start.cache.capacity != fresh.cache.capacity);
    warn("cache.undeliverable_capacity",
         at_start.cache.undeliverable_capacity != fresh.cache.undeliverable_capacity);
}

void reload(const arguments& a, const settings& at_start, engine& e, recipient_check& check) {
    sd_notify(0, "RELOADING=1");
    try {
        const auto fresh = load(a);
        log::open(fresh->log);
        e.use(*fresh);
        check.use(fresh);
        warn_about_fixed(at_start, *fresh);
        log::say(log_level::info, "configuration reloaded", {{"file", a.file}});
    } catch (const std::exception& error) {
        log::say(log_level::error,
                 "reload failed; the running configuration stays",
                 {{"why", error.what()}});
    }
    sd_notify(0, "READY=1");
}

// Answers what is being asked, and leaves at once: exit handlers would tear down what libmilter's
// threads still use.
[[noreturn]] void stop(door& d, std::chrono::milliseconds at_most) {
    sd_notify(0, "STOPPING=1");
    d.refuse_new();
    log::say(log_level::info, "stopping; RCPTs under way are answered first");
    d.wait_until_idle(at_most);
    d.remove_socket();
    log::say(log_level::info, "stopped");
    log::close();
    _exit(EX_OK);
}

int serve(const arguments& a) {
    block_signals();
    raise_descriptor_limit();
    const auto now = load(a);
    openlog("callforward-milter", LOG_PID, LOG_MAIL);  // libmilter's own lines go there, too
    log::open(now->log);

    const auto whom = account_named(now->milter.user);
    std::unique_ptr<engine> asking;
    std::unique_ptr<recipient_check> check;
    door entrance(
        [&check](const envelope& e, const keep_waiting& wait) { return check->check(e, wait); });
    entrance.open(now->milter);
    if (whom) become(*whom);
    asking = std::make_unique<engine>(*now);
    check = std::make_unique<recipient_check>(*asking, now);
    act_on_signals({[&] { reload(a, *now, *asking, *check); },
                    [&] { stop(entrance, check->longest_wait()); }});
    if (now->cache.store != "memory") {
        log::say(log_level::warning,
                 "this release keeps verdicts in memory only; they are forgotten at a restart",
                 {{"store", now->cache.store}});
    }
    log::say(log_level::info, "ready", {{"socket", now->milter.socket}, {"version", version}});
    sd_notify(0, "READY=1");
    entrance.run();  // its signals are ours, so that it ends only when it has failed
    log::say(log_level::error, "libmilter has ended; its reason is in the system log");
    entrance.wait_until_idle(check->longest_wait());
    entrance.remove_socket();
    log::close();
    _exit(EX_UNAVAILABLE);
}

int run(int argc, char** argv) {
    CLI::App app("Verify mail recipients at the server that would get the mail, as a milter.");
    arguments a;
    app.set_version_flag("--version", std::string("callforward-milter ") + version);
    auto* const file = app.add_option("-c,--config", a.file, "Configuration file")
                           ->type_name("FILE")
                           ->capture_default_str();
    app.add_option("--set", a.overrides, "One setting that wins over the file; repeatable")
        ->type_name("SECTION.KEY=TOMLVALUE")
        ->allow_extra_args(false);
    app.add_flag(
        "--check", a.check_only, "Check the configuration, print it as it would be used, and exit");
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return EX_USAGE;
    }
    a.file_was_named = file->count() > 0;
    if (!a.check_only) return serve(a);
    std::cout << to_toml(*load(a));
    return EX_OK;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const config_error& e) {
        std::cerr << e.what() << '\n';
        return EX_CONFIG;
    } catch (const std::system_error& e) {  // no thread, no descriptor
        std::cerr << "callforward-milter: " << e.what() << '\n';
        return EX_TEMPFAIL;
    } catch (const std::exception& e) {
        std::cerr << "callforward-milter: " << e.what() << '\n';
        return EX_UNAVAILABLE;
    }
}
