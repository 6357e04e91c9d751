#include "milter/fleet/redis_opening.h"

#include "smtpclient/printable.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;

namespace {

// "" and the master's address, or why it is not known.
std::string read_master(const std::optional<replies>& got, store_host& into) {
    if (!got) return "no answer in time";
    const resp_value& answer = got->front();
    if (answer.is_error()) return shown_error(answer);
    if (answer.elements.size() != 2) return "it knows no master of that name";
    const std::string& port = answer.elements[1].text;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), into.port);
    into.name = smtpclient::printable(answer.elements[0].text, 253);
    const bool good = error == std::errc{} && into.port != 0 && !into.name.empty();
    return good ? std::string() : "its answer names no address";
}

asio::awaitable<std::string> find_master(asio::any_io_executor executor,
                                         std::shared_ptr<const store_options> options,
                                         tls_files* tls,
                                         std::size_t& which,
                                         std::shared_ptr<redis_connection>& slot,
                                         store_host& into) {
    const auto& sentinels = options->at.hosts;
    std::string why;
    for (std::size_t i = 0; i < sentinels.size(); ++i) {
        const store_host& sentinel = sentinels[which % sentinels.size()];
        const auto connection = std::make_shared<redis_connection>(executor, tls);
        slot = connection;
        const auto deadline = clock::now() + options->connect_within;
        why = co_await connection->open(sentinel, std::string(), deadline);
        if (why.empty()) {
            std::string question =
                resp_command({"SENTINEL", "get-master-addr-by-name", options->at.master});
            const auto got = co_await connection->request(std::move(question), 1, deadline);
            connection->close("asked");
            why = read_master(got, into);
            if (why.empty()) co_return why;
        }
        why = "sentinel " + sentinel.text() + ": " + why;
        ++which;
    }
    co_return why;
}

struct log_in {
    std::string commands;
    std::size_t count = 0;

    void add(const std::vector<std::string_view>& words) {
        commands += resp_command(words);
        ++count;
    }
};

log_in log_in_of(const store_options& o) {
    log_in in;
    if (!o.user.empty()) {
        in.add({"AUTH", o.user, o.password});
    } else if (!o.password.empty()) {
        in.add({"AUTH", o.password});
    }
    // Also where it is the one there is: a server that wants a password says so here.
    in.add({"SELECT", std::to_string(o.at.database)});
    if (!o.at.master.empty()) in.add({"ROLE"});
    return in;
}

void check_log_in(const replies& got, opened& result) {
    for (const resp_value& reply : got) {
        if (reply.is_error()) {
            result.what = trouble_of(reply);
            result.why = shown_error(reply);
            return;
        }
        const bool role = reply.is == resp_value::type::array;
        if (role && (reply.elements.empty() || reply.elements.front().text != "master")) {
            result.why = "it is no master";
            return;
        }
    }
}

}  // namespace

trouble trouble_of(const resp_value& error) {
    const std::string_view code = error.error_code();
    if (code == "NOAUTH" || code == "WRONGPASS" || code == "NOPERM") return trouble::refused;
    if (error.text.starts_with("ERR AUTH") || error.text.starts_with("ERR invalid password")) {
        return trouble::refused;
    }
    if (code == "WRONGTYPE") return trouble::foreign;
    if (code == "READONLY") return trouble::read_only;
    if (code == "OOM" || code == "MISCONF" || code == "NOREPLICAS") return trouble::full;
    return trouble::unreachable;
}

asio::awaitable<opened> open_redis(asio::any_io_executor executor,
                                   std::shared_ptr<const store_options> options,
                                   tls_files* tls,
                                   std::size_t& sentinel,
                                   std::shared_ptr<redis_connection>& into) {
    opened result;
    store_host host;
    if (!options->at.hosts.empty()) host = options->at.hosts.front();
    if (!options->at.master.empty()) {
        result.why = co_await find_master(executor, options, tls, sentinel, into, host);
        if (!result.why.empty()) co_return result;
    }
    const std::string& path = options->at.socket_path;
    result.where = path.empty() ? host.text() : path;
    const auto connection = std::make_shared<redis_connection>(executor, tls);
    into = connection;
    const auto deadline = clock::now() + options->connect_within;
    result.why = co_await connection->open(host, path, deadline);
    if (result.why.empty()) {
        log_in in = log_in_of(*options);
        const auto got = co_await connection->request(std::move(in.commands), in.count, deadline);
        if (got) {
            check_log_in(*got, result);
        } else {
            if (connection->was_foreign()) result.what = trouble::foreign;
            result.why = connection->is_open() ? "no answer in time" : connection->why();
        }
    }
    if (!result.why.empty()) {
        connection->close(result.why);
        result.why = result.where + ": " + result.why;
    }
    co_return result;
}

// All edges lose a server at the same moment, and must not come back at the same moment.
std::chrono::milliseconds pause_after(unsigned failures,
                                      const store_options& options,
                                      std::minstd_rand& random) {
    const auto whole =
        std::min(options.longest_pause, options.first_pause * (1U << std::min(failures, 10U)));
    std::uniform_int_distribution<std::chrono::milliseconds::rep> part(whole.count() / 2,
                                                                       whole.count());
    return std::chrono::milliseconds(part(random));
}

}  // namespace callforward::milter::fleet
