// callforward-milter: the daemon.
#include "milter/config.h"
#include "milter/control/desk.h"
#include "milter/control/listener.h"
#include "milter/control/run_state.h"
#include "milter/door.h"
#include "milter/engine.h"
#include "milter/heartbeat.h"
#include "milter/listening_socket.h"
#include "milter/log.h"
#include "milter/recipient_check.h"
#include "milter/root_folder.h"
#include "milter/sandbox.h"
#include "milter/scheduling.h"
#include "milter/signals.h"
#include "milter/standard_files.h"
#include "milter/version.h"
#include "smtpclient/tls_start.h"

#include <CLI/CLI.hpp>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace {

using namespace callforward;
using namespace callforward::milter;

constexpr std::chrono::seconds longest_save{2};

struct arguments {
    std::string file = default_file;
    bool file_was_named = false;
    std::vector<std::string> overrides;
    bool check_only = false;
};

settings_file file_of(const arguments& a) {
    return {a.file, a.overrides, !a.file_was_named};
}

void say_where_none(const settings_file& from) {
    if (!from.path_read().empty()) return;
    log::say(log_level::info, "no configuration file; the built-in defaults are in force");
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

// libmilter starts threads and ends them all the time, one for each RCPT that waits. The C library
// keeps the stacks of those that have ended for the next ones, up to 40 MiB of them: five of the
// usual 8 MiB, forty of these. All other threads have the same; what goes deepest is the reader of
// the configuration, with 256 levels at most.
void bound_thread_stacks() {
    constexpr std::size_t size = std::size_t{1024} * 1024;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    if (pthread_attr_setstacksize(&attributes, size) == 0) {
        pthread_setattr_default_np(&attributes);
    }
    pthread_attr_destroy(&attributes);
}

// Where an exception cannot be caught: asio ends a coroutine by a post(), in a destructor, and that
// takes memory. Ends as what the service manager starts anew, and says why; the cache on disk loses
// its last write group.
[[noreturn]] void end_without_memory() {
    try {
        if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
        constexpr std::string_view why =
            "callforward-milter: no memory is left; it ends, to be started anew\n";
        static_cast<void>(!::write(STDERR_FILENO, why.data(), why.size()));
        syslog(LOG_CRIT, "no memory is left; it ends, to be started anew");
        _exit(EX_UNAVAILABLE);
    } catch (...) {  // what no memory is not to blame for leaves a core
    }
    std::abort();
}

// Whom to become; nothing when [milter] user is "".
std::optional<account> account_named(const std::string& user) {
    if (user.empty()) return std::nullopt;
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

// Beats for as long as it exists, where the service manager wants that.
std::optional<heartbeat> beat_while_alive(const engine& e) {
    std::uint64_t microseconds = 0;
    if (sd_watchdog_enabled(0, &microseconds) <= 0) return std::nullopt;
    return std::optional<heartbeat>(
        std::in_place,
        std::chrono::microseconds(microseconds),
        [&e](std::chrono::milliseconds at_most) { return e.is_alive(at_most); },
        [] { sd_notify(0, "WATCHDOG=1"); });
}

void warn_about_no_memory(const settings& s) {
    if (s.cache.capacity != 0 || s.cache.undeliverable_capacity != 0) return;
    log::say(
        log_level::warning,
        "nothing is remembered, on disk either: capacity and undeliverable_capacity in [cache] "
        "are 0");
}

void warn_about_unused_socket(const settings& s) {
    if (s.milter.socket.starts_with("fd:") || sd_listen_fds(0) <= 0) return;
    log::say(log_level::warning,
             "the service manager has handed over a socket that is not used: set [milter] socket "
             "to \"fd:3\", or disable callforward-milter.socket",
             {{"socket", s.milter.socket}});
}

// What a reload can not change: the keys that are others now.
std::vector<std::string> warn_about_fixed(const settings& at_start, const settings& fresh) {
    std::vector<std::string> changed;
    const auto warn = [&](std::string_view key, bool differs) {
        if (!differs) return;
        changed.emplace_back(key);
        log::say(
            log_level::warning, "a changed key takes effect at the next start", {{"key", key}});
    };
    const auto& a = at_start.milter;
    const auto& b = fresh.milter;
    warn("milter.socket", a.socket != b.socket);
    warn("milter.socket_mode", a.socket_mode != b.socket_mode);
    warn("milter.socket_group", a.socket_group != b.socket_group);
    warn("milter.user", a.user != b.user);
    warn("cache.store", at_start.cache.store != fresh.cache.store);
    warn("cache.store_user", at_start.cache.store_user != fresh.cache.store_user);
    warn("cache.store_password_file", at_start.cache.store_password != fresh.cache.store_password);
    warn("cache.store_timeout", at_start.cache.store_timeout != fresh.cache.store_timeout);
    warn("cache.capacity", at_start.cache.capacity != fresh.cache.capacity);
    warn("cache.undeliverable_capacity",
         at_start.cache.undeliverable_capacity != fresh.cache.undeliverable_capacity);
    warn("limits.shards", at_start.limits.shards != fresh.limits.shards);
    warn("control.socket", at_start.control.socket != fresh.control.socket);
    warn("metrics.listen", at_start.metrics.listen != fresh.metrics.listen);
    warn("metrics.show_addresses", at_start.metrics.show_addresses != fresh.metrics.show_addresses);
    return changed;
}

// One at a time: signals and the control socket ask for it. Nothing, or why all stays as it is.
std::optional<std::string> reload(settings_file& from,
                                  const settings& at_start,
                                  door& entrance,
                                  engine& e,
                                  recipient_check& check,
                                  control::run_state& run) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    std::optional<std::string> failure;
    sd_notify(0, "RELOADING=1");
    try {
        const auto fresh = std::make_shared<const settings>(from.load());
        log::open(fresh->log);
        e.use(*fresh);
        check.use(fresh);
        entrance.ask_for(words_wanted(*fresh));
        warn_about_no_memory(*fresh);
        run.reloaded(from.path_read(), fresh, warn_about_fixed(at_start, *fresh));
        log::say(log_level::info, "configuration reloaded", {{"file", from.path_read()}});
        say_where_none(from);
    } catch (const std::exception& error) {
        failure = error.what();
        run.reload_failed(*failure);
        log::say(log_level::error,
                 "reload failed; the running configuration stays",
                 {{"why", error.what()}});
    }
    e.seen().counts.count_reload(!failure);
    sd_notify(0, "READY=1");
    return failure;
}

// What only root can make. Where it can not be, that is told by whoever does without.
void make_folders(const settings& s, const account& whom) {
    const std::string directory = verdicts::directory_of(s.cache);
    if (!directory.empty()) make_folder_for(directory, whom.user, whom.group);
    const std::string folder = s.control.socket.substr(0, s.control.socket.rfind('/') + 1);
    // Where the MTA has to come in, too, root has to say who may.
    const bool is_mtas = unix_socket_path(s.milter.socket).starts_with(folder);
    if (!folder.empty() && !is_mtas) make_folder_for(folder, whom.user, whom.group);
}

// The milter serves without it: who cannot be watched can still answer.
std::optional<control::listener> open_control(const std::string& path,
                                              const std::optional<account>& whom) {
    if (path.empty()) return std::nullopt;
    std::optional<control::listener::account> owner;
    if (whom) owner = {whom->user, whom->group};
    try {
        return control::listener::at_path(path, owner);
    } catch (const std::exception& e) {
        log::say(log_level::warning,
                 "no control socket: callforward(1) cannot reach this daemon; make its folder, or "
                 "choose another path in [control] socket",
                 {{"why", e.what()}});
        return std::nullopt;
    }
}

std::optional<control::listener> open_metrics(const std::string& listen) {
    if (listen.empty()) return std::nullopt;
    try {
        return control::listener::at_address(listen);
    } catch (const std::exception& e) {
        log::say(log_level::warning,
                 "no metrics and no status page; the daemon serves without them",
                 {{"why", e.what()}});
        return std::nullopt;
    }
}

// Not by exit handlers: they would tear down what libmilter's threads still use. Under the address
// sanitizer one of them would have told of leaks.
[[noreturn]] void leave(int code) {
#ifdef __SANITIZE_ADDRESS__
    if (__lsan_do_recoverable_leak_check() != 0) code = EX_SOFTWARE;
#endif
    _exit(code);
}

// Answers what is being asked, and leaves at once.
[[noreturn]] void stop(
    door& d, engine& e, control::desk& desk, std::chrono::milliseconds at_most, int code) {
    sd_notify(0, "STOPPING=1");
    d.refuse_new();
    log::say(log_level::info, "stopping; RCPTs under way are answered first");
    d.wait_until_idle(at_most);
    d.remove_socket();
    desk.remove_socket();
    desk.save_report();
    e.save(longest_save);
    log::say(log_level::info, "stopped");
    log::close();
    leave(code);
}

[[noreturn]] void serve(const arguments& a) {
    std::set_terminate(end_without_memory);
    block_signals();
    raise_descriptor_limit();
    bound_thread_stacks();
    work_in_batches();
    settings_file from = file_of(a);
    const auto now = std::make_shared<const settings>(from.load());
    openlog("callforward-milter", LOG_PID, LOG_MAIL);  // libmilter's own lines go there, too
    log::open(now->log);
    say_where_none(from);

    const auto whom = geteuid() == 0 ? account_named(now->milter.user) : std::nullopt;
    std::unique_ptr<engine> asking;
    std::unique_ptr<recipient_check> check;
    door entrance(
        [&check](const envelope& e, const keep_waiting& wait) { return check->check(e, wait); });
    entrance.ask_for(words_wanted(*now));
    if (whom) make_folders(*now, *whom);
    entrance.open(now->milter);
    control::desk::doors doors;
    doors.control = open_control(now->control.socket, whom);
    doors.metrics = open_metrics(now->metrics.listen);
    doors.show_addresses = now->metrics.show_addresses;
    if (whom) become(*whom);
    smtpclient::load_tls();
    enter_sandbox();
    asking = std::make_unique<engine>(*now, now->limits.shards);
    asking->tell_of_waits([&entrance] { entrance.about_to_wait(); });
    check = std::make_unique<recipient_check>(*asking, now);
    control::run_state run(version, from.path_read(), now);
    const auto again = [&] { return reload(from, *now, entrance, *asking, *check, run); };
    const auto tell = [](const std::string& line) { sd_notify(0, ("STATUS=" + line).c_str()); };
    control::desk desk({*asking, *check, run, again, tell}, std::move(doors));
    act_on_signals(
        {[&] { again(); }, [&] { stop(entrance, *asking, desk, check->longest_wait(), EX_OK); }});
    warn_about_unused_socket(*now);
    warn_about_no_memory(*now);
    log::say(log_level::info, "ready", {{"socket", now->milter.socket}, {"version", version}});
    sd_notify(0, "READY=1");
    const auto beating = beat_while_alive(*asking);
    entrance.run();  // its signals are ours, so that it ends only when it has failed
    log::say(log_level::error, "libmilter has ended; its reason is in the system log");
    stop(entrance, *asking, desk, check->longest_wait(), EX_UNAVAILABLE);
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
    if (!a.check_only) serve(a);
    const settings checked = file_of(a).load();
    static_cast<void>(account_named(checked.milter.user));
    static_cast<void>(group_named(checked.milter.socket_group));
    std::cout << to_toml(checked);
    return EX_OK;
}

}  // namespace

int main(int argc, char** argv) {
    keep_standard_files();
    try {
        const int code = run(argc, argv);
        const std::string wrong = flush_output();
        if (wrong.empty()) return code;
        std::cerr << "callforward-milter: " << wrong << '\n';
        return EX_IOERR;
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
