#include "tests/support/mta.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace callforward::testing {

namespace {

constexpr std::uint32_t protocol_version = 6;
constexpr std::uint32_t offered_actions = 0x1ff;
constexpr std::uint32_t offered_protocol = 0x1fffff;
constexpr std::size_t largest_packet = 1024 * 1024;

// In the order of libmilter's SMFIM_ numbers, which symbol lists use.
constexpr std::array symbol_stages{
    milter_stage::connect,
    milter_stage::helo,
    milter_stage::mail,
    milter_stage::rcpt,
    milter_stage::data,
    milter_stage::end_of_message,
    milter_stage::end_of_headers,
};

struct stage_description {
    milter_stage stage;
    std::string_view name;
    std::uint32_t off;       // SMFIP_NO*; 0: can not be switched off
    std::uint32_t no_reply;  // SMFIP_NR_*
};
constexpr std::array stages{
    stage_description{milter_stage::connect, "the client's connection", 0x1, 0x1000},
    stage_description{milter_stage::helo, "HELO", 0x2, 0x2000},
    stage_description{milter_stage::mail, "MAIL", 0x4, 0x4000},
    stage_description{milter_stage::rcpt, "RCPT", 0x8, 0x8000},
    stage_description{milter_stage::data, "DATA", 0x200, 0x10000},
    stage_description{milter_stage::end_of_headers, "end of headers", 0x40, 0x40000},
    stage_description{milter_stage::end_of_message, "end of message", 0, 0},
};
const stage_description& describe(milter_stage stage) {
    return *std::find_if(stages.begin(), stages.end(), [&](const stage_description& each) {
        return each.stage == stage;
    });
}

std::string big_endian(std::uint32_t number) {
    const std::uint32_t wire = htonl(number);
    std::string bytes(sizeof wire, '\0');
    std::memcpy(bytes.data(), &wire, sizeof wire);
    return bytes;
}

std::uint32_t take_number(std::string_view& data) {
    if (data.size() < 4) throw mta_error("the filter's negotiation is cut short");
    std::uint32_t wire = 0;
    std::memcpy(&wire, data.data(), sizeof wire);
    data.remove_prefix(sizeof wire);
    return ntohl(wire);
}

void add_string(std::string& data, std::string_view text) {
    data += text;
    data += '\0';
}

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> found;
    while (!text.empty()) {
        const auto end = std::min(text.find_first_of(" ,"), text.size());
        if (end > 0) found.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return found;
}

std::string stream_address(const std::string& filter) {
    if (filter.starts_with('/')) return "unix:" + filter;
    for (const std::string_view prefix : {"inet:", "inet6:"}) {
        if (!filter.starts_with(prefix)) continue;
        const std::string rest = filter.substr(prefix.size());
        const auto at = rest.find('@');
        if (at == std::string::npos) return rest;
        const std::string host = rest.substr(at + 1);
        const bool bare_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
        return (bare_v6 ? "[" + host + "]" : host) + ":" + rest.substr(0, at);
    }
    return filter;
}

}  // namespace

mta::mta(mta_kind kind) : kind_(kind), patience_(kind == mta_kind::postfix ? 30000 : 10000) {}

stream& mta::connection() {
    if (!connection_) throw mta_error("not connected to a filter");
    return *connection_;
}

void mta::connect(const std::string& filter) {
    connection_.emplace(connect_to(stream_address(filter), patience_));
    accepted_ = transaction_accepted_ = false;
}

void mta::send(char command, std::string_view data) {
    std::string bytes = big_endian(static_cast<std::uint32_t>(data.size() + 1));
    bytes += command;
    bytes += data;
    connection().expires_after(patience_);
    const auto status = connection().write(bytes);
    if (status != stream_status::ok) {
        throw mta_error("can not send to the filter: " + std::string(to_string(status)));
    }
}

mta::packet mta::receive(std::string_view waiting_for) {
    const auto check = [&](stream_status status) {
        if (status == stream_status::ok) return;
        throw mta_error("waiting for the filter's reply to " + std::string(waiting_for) + ": " +
                        std::string(to_string(status)));
    };
    connection().expires_after(patience_);
    std::string length_bytes;
    check(connection().read(4, length_bytes));
    std::string_view rest = length_bytes;
    const std::uint32_t length = take_number(rest);
    if (length == 0 || length > largest_packet) throw mta_error("the filter sent a bad length");
    packet got;
    check(connection().read(length, got.data));
    got.command = got.data.front();
    got.data.erase(0, 1);
    return got;
}

const milter_negotiation& mta::negotiate() {
    send('O',
         big_endian(protocol_version) + big_endian(offered_actions) + big_endian(offered_protocol));
    const packet answer = receive("the negotiation");
    if (answer.command != 'O') throw mta_error("the filter does not negotiate");
    read_negotiation(answer);
    return negotiated_;
}

void mta::read_negotiation(const packet& answer) {
    std::string_view data = answer.data;
    negotiated_ = {};
    negotiated_.version = take_number(data);
    negotiated_.actions = take_number(data);
    negotiated_.protocol = take_number(data);
    if ((negotiated_.actions & ~offered_actions) != 0 ||
        (negotiated_.protocol & ~offered_protocol) != 0) {
        throw mta_error("the filter asks for what was not offered");
    }
    while (!data.empty()) {
        const std::uint32_t stage = take_number(data);
        const auto end = data.find('\0');
        if (stage >= symbol_stages.size() || end == std::string_view::npos) {
            throw mta_error("the filter sent a bad list of macros");
        }
        negotiated_.symbols[symbol_stages.at(stage)] = words(data.substr(0, end));
        data.remove_prefix(end + 1);
    }
}

void mta::macros(milter_stage stage, const macro_map& macros) {
    std::string data(1, static_cast<char>(stage));
    for (const auto& [name, value] : macros) {
        add_string(data, name);
        add_string(data, value);
    }
    send('D', data);
}

milter_reply mta::ask(milter_stage stage, std::string_view data) {
    const stage_description& flags = describe(stage);
    milter_reply unasked;
    unasked.stage = stage;
    unasked.sent = false;
    if (accepted_ || transaction_accepted_) {
        unasked.action = 'a';
        return unasked;
    }
    if ((negotiated_.protocol & flags.off) != 0) return unasked;
    send(static_cast<char>(stage), data);
    if ((negotiated_.protocol & flags.no_reply) != 0) {
        unasked.sent = true;
        return unasked;
    }
    return await_reply(stage);
}

milter_reply mta::await_reply(milter_stage stage) {
    milter_reply reply;
    reply.stage = stage;
    for (;;) {
        const packet got = receive(describe(stage).name);
        reply.action = got.command;
        const bool end_of_message = stage == milter_stage::end_of_message;
        if (got.command == 'p' && (kind_ == mta_kind::postfix || end_of_message)) {
            ++reply.progress;
            continue;
        }
        // Changes to the message: only at its end, and more follows.
        if (end_of_message &&
            std::string_view("+-2behimq").find(got.command) != std::string_view::npos)
            continue;
        if (std::string_view("acdrstyp").find(got.command) == std::string_view::npos) {
            throw mta_error(std::string("the filter answered with an unknown action to ") +
                            std::string(describe(stage).name));
        }
        if (got.command == 'y') {
            if (got.data.empty() || got.data.back() != '\0')
                throw mta_error("reply code without its end");
            reply.text = got.data.substr(0, got.data.size() - 1);
        }
        if (got.command == 'a') {
            const bool early = stage == milter_stage::connect || stage == milter_stage::helo;
            (early ? accepted_ : transaction_accepted_) = true;
        }
        return reply;
    }
}

milter_reply mta::connect_info(const std::string& name,
                               const std::string& address,
                               std::uint16_t port) {
    std::string data;
    add_string(data, name);
    char family = '4';
    if (address.empty())
        family = 'U';
    else if (address.starts_with("unix:"))
        family = 'L';
    else if (address.find(':') != std::string::npos)
        family = '6';
    data += family;
    if (family != 'U') {
        const std::uint16_t wire = htons(port);
        std::array<char, sizeof wire> bytes{};
        std::memcpy(bytes.data(), &wire, sizeof wire);
        data.append(bytes.data(), bytes.size());
        add_string(data, family == 'L' ? address.substr(5) : address);
    }
    return ask(milter_stage::connect, data);
}

milter_reply mta::helo(const std::string& name) {
    return ask(milter_stage::helo, name + '\0');
}

milter_reply mta::mail(const std::vector<std::string>& argv) {
    transaction_accepted_ = false;
    std::string data;
    for (const auto& argument : argv) add_string(data, argument);
    return ask(milter_stage::mail, data);
}

milter_reply mta::rcpt(const std::vector<std::string>& argv) {
    std::string data;
    for (const auto& argument : argv) add_string(data, argument);
    return ask(milter_stage::rcpt, data);
}

milter_reply mta::data() {
    return ask(milter_stage::data, {});
}

milter_reply mta::end_of_message() {
    auto reply = ask(milter_stage::end_of_message, {});
    transaction_accepted_ = false;
    return reply;
}

void mta::abort() {
    send('A', {});
    transaction_accepted_ = false;
}

void mta::quit() {
    send('Q', {});
    connection_.reset();
}

}  // namespace callforward::testing
