#include "smtpclient/api/callforward.h"

#include "smtpclient/printable.h"
#include "smtpclient/query.h"
#include "smtpclient/query_loop.h"
#include "smtpclient/tls_words.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stdexcept>

namespace callforward {

namespace {

namespace inside = smtpclient;

// A time point so far from now is still one.
constexpr std::chrono::hours longest_time{24};

// authorities: of a question before that names the same file; null where there is none.
inside::query_options to_inside(const query_options& options,
                                const inside::pem_file* authorities = nullptr) {
    inside::query_options to;
    to.rcptto = options.rcptto;
    to.mailfrom = options.mailfrom;
    to.host = options.host;
    to.port = options.port;
    to.timeout = options.timeout;
    to.helo = options.helo;
    to.lmtp = options.lmtp;
    inside::tls_words words{options.tls, options.tls_match, options.tls_fingerprints, {}};
    if (authorities != nullptr) {
        to.tls.authorities = *authorities;
    } else {
        words.ca_file = options.tls_ca_file;
    }
    const std::string wrong = inside::read_tls(words, {}, to.tls);
    if (!wrong.empty()) throw std::invalid_argument(wrong);
    to.source_address = options.source_address;
    if (options.timeout.count() <= 0 || options.timeout > longest_time) {
        throw std::invalid_argument("timeout: must be more than nothing, and at most a day");
    }
    to.trace = options.trace;
    return to;
}

outcome to_outside(inside::outcome o) {
    switch (o) {
        case inside::outcome::deliverable:
            return outcome::deliverable;
        case inside::outcome::undeliverable:
            return outcome::undeliverable;
        case inside::outcome::undetermined:
            return outcome::undetermined;
    }
    return outcome::undetermined;
}

// A result that has its question only.
query_result about(const query_options& asked) {
    query_result to;
    to.rcptto = inside::printable_utf8(asked.rcptto);
    if (asked.mailfrom != "<>") to.mailfrom = inside::printable_utf8(asked.mailfrom);
    return to;
}

query_result to_outside(query_result to, const inside::query_result& found) {
    const inside::verdict& v = found.verdict;
    to.outcome = to_outside(v.outcome());
    to.reason = inside::to_string(v.finding.reason);
    if (v.stage != inside::stage::none) to.stage = inside::to_string(v.stage);
    if (v.reply) {
        to.code = v.reply->code;
        if (const auto enhanced = v.reply->enhanced()) to.enhanced = inside::to_string(*enhanced);
        to.text = inside::printable_utf8(v.reply->text());
    }
    if (to.text.empty()) to.text = inside::printable_utf8(v.detail);
    to.host = inside::printable_utf8(v.host);
    to.address = inside::printable_utf8(v.address);
    to.port = v.port;
    if (v.tls) {
        to.tls = tls_session{
            v.tls->version, v.tls->cipher, v.tls->verified, inside::printable_utf8(v.tls->by)};
    }
    for (const auto& name : v.mx) to.mx.push_back(inside::printable_utf8(name));
    to.elapsed = found.elapsed;
    return to;
}

std::chrono::milliseconds bounded(std::chrono::milliseconds time) {
    return std::clamp(time, std::chrono::milliseconds{0}, std::chrono::milliseconds{longest_time});
}

inside::query_loop_options to_inside(const session_options& options) {
    inside::query_loop_options to;
    to.limits.connections = 0;  // the program knows how many it starts, and what descriptors it has
    to.limits.connections_per_host = options.connections_per_host;
    to.limits.idle_session = bounded(options.idle);
    to.limits.recipients_per_session = options.recipients_per_connection;
    to.limits.host_penalty = bounded(options.host_penalty);
    to.dns_servers = options.dns_servers;
    to.dns_timeout = std::max(bounded(options.dns_timeout), std::chrono::milliseconds{1});
    return to;
}

// Results of calls that run side by side, for the thread that waits for all of them.
class gathering {
public:
    explicit gathering(std::size_t calls) : results_(calls), missing_(calls) {}

    void put(std::size_t place, std::exception_ptr thrown, query_result result) {
        const std::lock_guard lock(mutex_);
        if (thrown && !thrown_) thrown_ = std::move(thrown);
        results_[place] = std::move(result);
        if (--missing_ == 0) complete_.notify_all();
    }

    std::vector<query_result> take() {
        std::unique_lock lock(mutex_);
        complete_.wait(lock, [this] { return missing_ == 0; });
        if (thrown_) std::rethrow_exception(thrown_);
        return std::move(results_);
    }

private:
    std::mutex mutex_;
    std::condition_variable complete_;
    std::vector<query_result> results_;
    std::size_t missing_;
    std::exception_ptr thrown_;
};

}  // namespace

std::string_view to_string(outcome o) noexcept {
    switch (o) {
        case outcome::deliverable:
            return "deliverable";
        case outcome::undeliverable:
            return "undeliverable";
        case outcome::undetermined:
            return "undetermined";
    }
    return "undetermined";
}

query_result query(const query_options& options) {
    return to_outside(about(options), inside::query(to_inside(options)));
}

std::string describe(const query_result& result) {
    std::string words;
    if (result.code) words += ' ' + std::to_string(*result.code);
    if (!result.enhanced.empty()) words += ' ' + result.enhanced;
    if (!result.text.empty()) words += ' ' + result.text;
    return words.empty() ? result.reason : result.reason + ':' + words;
}

struct session::implementation {
    explicit implementation(const session_options& options) : loop(to_inside(options)) {}

    inside::query_loop loop;
};

session::session(const session_options& options)
    : implementation_(std::make_unique<implementation>(options)) {}

session::~session() = default;

namespace {

inside::prepared_query prepare(inside::query_options& options) {
    options.trace = nullptr;  // see callforward.h: it would be called on another thread
    return inside::prepare(options);
}

void start_in(inside::query_loop& loop,
              const query_options& options,
              inside::prepared_query prepared,
              session::completion done) {
    loop.start(std::move(prepared),
               [asked = about(options), done = std::move(done)](std::exception_ptr thrown,
                                                                const inside::query_result& found) {
                   query_result result;
                   try {
                       if (!thrown) result = to_outside(asked, found);
                   } catch (...) {
                       thrown = std::current_exception();
                   }
                   done(std::move(thrown), std::move(result));
               });
}

}  // namespace

void session::start(const query_options& options, completion done) {
    auto to = to_inside(options);
    start_in(implementation_->loop, options, prepare(to), std::move(done));
}

query_result session::query(const query_options& options) {
    return query_many({options}).front();
}

std::vector<query_result> session::query_many(const std::vector<query_options>& options) {
    if (options.empty()) return {};
    std::vector<inside::prepared_query> prepared;
    prepared.reserve(options.size());
    inside::query_options to;
    for (const auto& each : options) {
        const bool again =
            !prepared.empty() && each.tls_ca_file == options[prepared.size() - 1].tls_ca_file;
        to = to_inside(each, again ? &to.tls.authorities : nullptr);
        prepared.push_back(prepare(to));
    }
    // Shared with completions, which outlive this frame when starting one of them throws.
    const auto all = std::make_shared<gathering>(options.size());
    for (std::size_t i = 0; i < options.size(); ++i) {
        start_in(implementation_->loop,
                 options[i],
                 std::move(prepared[i]),
                 [all, i](std::exception_ptr thrown, query_result result) {
                     all->put(i, std::move(thrown), std::move(result));
                 });
    }
    return all->take();
}

session& shared_session() {
    // Never destroyed: what its completions belong to may be gone by then. Its thread is ended
    // before OpenSSL's tables are, which it uses.
    struct until_exit {
        session* const of = new session;

        until_exit() = default;
        until_exit(const until_exit&) = delete;
        until_exit& operator=(const until_exit&) = delete;
        ~until_exit() { of->implementation_->loop.stop(); }
    };
    static until_exit shared;
    return *shared.of;
}

const char* library_version() noexcept {
    return CALLFORWARD_VERSION;
}

}  // namespace callforward
