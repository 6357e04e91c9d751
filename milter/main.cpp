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
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iostream>
#include <memory>
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

void become(const std::string& user) {
    if (user.empty() || geteuid() != 0) return;
    const passwd* const entry = getpwnam(user.c_str());  // start-up: one thread
    if (entry == nullptr)
        throw std::runtime_error("[milter] user: there is no user \"" + user + '"');
    if (initgroups(user.c_str(), entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 ||
        setuid(entry->pw_uid) != 0) {
        throw std::runtime_error("cannot become user " + user + ": " +
                                 std::generic_category().message(errno));
    }
}

void reload(const arguments& a, engine& e, recipient_check& check) {
    sd_notify(0, "RELOADING=1");
    try {
        const auto fresh = load(a);
        log::open(fresh->log);
        e.use(*fresh);
        check.use(fresh);
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
[[noreturn]] void stop(const door& d, std::chrono::milliseconds at_most) {
    sd_notify(0, "STOPPING=1");
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
    log::open(now->log);

    std::unique_ptr<engine> asking;
    std::unique_ptr<recipient_check> check;
    door entrance(
        [&check](const envelope& e, const keep_waiting& wait) { return check->check(e, wait); });
    entrance.open(now->milter);
    become(now->milter.user);
    asking = std::make_unique<engine>(*now, now->limits.shards);
    check = std::make_unique<recipient_check>(*asking, now);
    const auto longest = std::max(recipient_check::answer_within(*now, {"Postfix", {}}),
                                  recipient_check::answer_within(*now, {}));
    act_on_signals({[&] { reload(a, *asking, *check); }, [&] { stop(entrance, longest); }});
    if (now->cache.store != "memory") {
        log::say(log_level::warning,
                 "this release keeps verdicts in memory only; they are forgotten at a restart",
                 {{"store", now->cache.store}});
    }
    log::say(log_level::info, "ready", {{"socket", now->milter.socket}, {"version", version}});
    sd_notify(0, "READY=1");
    const bool in_order = entrance.run();
    log::say(log_level::error, "libmilter has ended; its reason is in the system log");
    log::close();
    _exit(in_order ? EX_OK : EX_UNAVAILABLE);
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
    } catch (const std::exception& e) {
        std::cerr << "callforward-milter: " << e.what() << '\n';
        return EX_UNAVAILABLE;
    }
}
