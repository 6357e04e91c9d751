#include "asking.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

namespace callforward::lua {

namespace {

std::chrono::milliseconds milliseconds_of(double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

std::vector<std::string> strings_of(const texts& all) {
    std::vector<std::string> strings;
    for (std::size_t i = 0; i < all.count; ++i) strings.emplace_back(all.values[i]);
    return strings;
}

query_options options_of(const question& q) {
    query_options options;
    options.rcptto = q.rcptto;
    options.mailfrom = q.mailfrom;
    options.host = q.host;
    options.port = static_cast<std::uint16_t>(q.port);
    // Less than a millisecond is a time, too.
    options.timeout = std::max(milliseconds_of(q.timeout), std::chrono::milliseconds{1});
    options.helo = q.helo;
    options.lmtp = q.lmtp;
    options.tls = q.tls;
    options.tls_match = strings_of(q.tls_match);
    options.tls_fingerprints = strings_of(q.tls_fingerprints);
    options.tls_ca_file = q.tls_ca_file;
    options.source_address = strings_of(q.source_address);
    return options;
}

std::vector<query_result> results_of(session* in, const std::vector<query_options>& asked) {
    if (in != nullptr) return in->query_many(asked);
    if (asked.size() == 1) return {query(asked.front())};
    session own;
    return own.query_many(asked);
}

query_result not_asked(const question& q, const std::string& why) {
    query_result result;
    result.rcptto = q.rcptto;
    if (q.mailfrom != "<>") result.mailfrom = q.mailfrom;
    result.reason = "overloaded";
    result.text = why;
    return result;
}

void add(answers& to, query_result result) {
    std::string words = describe(result);
    to.all.push_back({std::move(result), std::move(words)});
}

void ask(session* in, const question* questions, std::size_t count, answers& found) {
    try {
        std::vector<query_options> asked;
        for (std::size_t i = 0; i < count; ++i) asked.push_back(options_of(questions[i]));
        auto results = results_of(in, asked);
        for (auto& each : results) add(found, std::move(each));
    } catch (const std::invalid_argument& e) {
        found.error = e.what();
    } catch (const std::runtime_error& e) {
        for (std::size_t i = 0; i < count; ++i) add(found, not_asked(questions[i], e.what()));
    }
}

}  // namespace

answers* ask(session* in, const question* questions, std::size_t count) noexcept {
    auto* const found = new (std::nothrow) answers;
    if (found == nullptr) return nullptr;
    try {
        ask(in, questions, count, *found);
        return found;
    } catch (const std::exception&) {
        delete found;
        return nullptr;
    }
}

void discard(answers* a) noexcept {
    delete a;
}

session* open_session(const session_wishes& wishes, char* error, std::size_t size) noexcept {
    try {
        session_options options;
        options.connections_per_host = static_cast<std::size_t>(wishes.connections_per_host);
        options.idle = milliseconds_of(wishes.idle);
        options.recipients_per_connection =
            static_cast<std::size_t>(wishes.recipients_per_connection);
        options.host_penalty = milliseconds_of(wishes.host_penalty);
        options.dns_servers = strings_of(wishes.dns_servers);
        return new session(options);
    } catch (const std::exception& e) {
        std::snprintf(error, size, "%s", e.what());
        return nullptr;
    }
}

void close_session(session* s) noexcept {
    delete s;
}

}  // namespace callforward::lua
