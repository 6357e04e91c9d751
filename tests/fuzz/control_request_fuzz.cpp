// Requests at the control socket, from the first byte: one well-formed response, or none, whatever
// was sent; the responder sees bounded requests of two methods; and what it reads from them is an
// address, a domain or a list that could have been written, or a problem in one printable line.
#include "milter/control/http_conversation.h"
#include "milter/control/requests.h"
#include "tests/fuzz/input.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

using namespace callforward;
using namespace callforward::milter;
using namespace callforward::milter::control;

namespace {

constexpr std::size_t largest_body = 2000;

// UTF-8 passes: addresses may have it.
void check_line(const std::string& text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') std::abort();
    }
}

void check_forgetting(std::string_view body) {
    std::string problem;
    const auto f = read_forgetting(body, problem);
    if (f.has_value() != problem.empty()) std::abort();
    check_line(problem);
    if (f && f->recipient.has_value() != f->domain.empty()) std::abort();
    if (f && f->recipient && smtpclient::mailbox::parse(f->text) != f->recipient) std::abort();
}

void check_list(std::string_view body) {
    std::string problem;
    const auto list = read_address_list(body, problem);
    if (list.has_value() != problem.empty()) std::abort();
    check_line(problem);
    if (!list) return;
    std::size_t after = 0;
    for (const auto& bad : list->bad) {
        if (bad.index < after || bad.index >= list->addresses.size() + list->bad.size())
            std::abort();
        after = bad.index + 1;
        check_line(bad.text);
    }
    for (const auto& address : list->addresses) {
        if (address.address().size() > smtpclient::mailbox::longest) std::abort();
    }
}

void check_explanation(std::string_view body) {
    std::string problem;
    const auto wanted = read_explanation_wanted(body, problem);
    check_line(problem);
    if (!wanted) return;
    const auto e = envelope_of(wanted->about, problem);
    if (e.has_value() != problem.empty()) std::abort();
    check_line(problem);
    if (!e) return;
    const bool is_mailbox = smtpclient::mailbox::parse(wanted->about.rcpt).has_value();
    const bool has_route = is_mailbox || !wanted->about.mta_route.empty();
    if (!e->rcpt.starts_with('<') || e->rcpt_mailer.empty() == has_route) std::abort();
}

void check_parameters(const http_request& r) {
    for (const auto& [name, value] : r.parameters) {
        const auto bytes = from_hex(value);
        if (bytes && from_hex(to_hex(*bytes)) != bytes) std::abort();
        if (number_or(value, 7) == number_or(value, 8) && value.empty()) std::abort();
    }
}

std::string response_to(std::string_view request, const http_conversation& conversation) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    const auto sent = ::send(ends[0], request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != static_cast<ssize_t>(request.size())) std::abort();
    ::shutdown(ends[0], SHUT_WR);
    conversation.have(ends[1]);
    std::string response;
    std::array<char, 4096> bytes{};
    for (ssize_t got = 0; (got = ::recv(ends[0], bytes.data(), bytes.size(), 0)) > 0;)
        response.append(bytes.data(), static_cast<std::size_t>(got));
    ::close(ends[0]);
    return response;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t longest = 16384;
    if (size > longest) return 0;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    static unsigned asked = 0;
    static const http_conversation conversation({.body = largest_body}, [](const http_request& r) {
        ++asked;
        if (r.method != "GET" && r.method != "POST") std::abort();
        if (r.body.size() > largest_body || (r.method == "GET" && !r.body.empty())) std::abort();
        if (r.from.user != ::getuid()) std::abort();
        check_parameters(r);
        check_forgetting(r.body);
        check_list(r.body);
        check_explanation(r.body);
        return http_response{.status = 200, .body = "{\"seen\":true}"};
    });
    asked = 0;
    const std::string response = response_to(all, conversation);
    if (asked > 1) std::abort();
    if (!response.empty() && !response.starts_with("HTTP/1.1 ")) std::abort();
    if (asked == 1 && response.find("\r\n\r\n") == std::string::npos) std::abort();
    // Bodies as they are, too: most inputs are no HTTP.
    check_forgetting(all);
    check_list(all);
    check_explanation(all);
    return 0;
}
