#include "milter/control/http_conversation.h"

#include "milter/control/connection_stream.h"
#include "milter/log.h"

#include <exception>
#include <string_view>
#include <utility>

namespace callforward::milter::control {

namespace {

constexpr int method_not_allowed = 405;
constexpr int length_required = 411;
constexpr int payload_too_large = 413;
constexpr int unsupported_media_type = 415;
constexpr int internal_error = 500;

http_response refused(int status, const std::string& why) {
    return {.status = status, .body = R"({"error":")" + why + R"("})", .type = "application/json"};
}

// The library bounds a body by its Content-Length only: in chunks, or unpacked it would be read
// into memory without an end. Nothing: it may be read.
std::optional<http_response> objection_to_body(const httplib::Request& in) {
    if (in.has_header("Transfer-Encoding")) {
        return refused(length_required, "say the length of the body, in Content-Length");
    }
    if (in.has_header("Content-Encoding")) {
        return refused(unsupported_media_type, "send the body as it is, without Content-Encoding");
    }
    if (in.is_multipart_form_data()) {
        return refused(unsupported_media_type,
                       "send the body as it is, not as multipart/form-data");
    }
    return std::nullopt;
}

std::string words_of(int status, std::size_t longest_body) {
    switch (status) {
        case method_not_allowed:
            return "this method is not allowed here";
        case payload_too_large:
            return "the body is too long; at most " + std::to_string(longest_body) +
                   " bytes are taken";
        case internal_error:
            return "something failed in the daemon; its log says what";
        default:
            return "HTTP status " + std::to_string(status);
    }
}

peer peer_of(const httplib::Request& from) {
    peer p;
    constexpr std::string_view by_uid = "uid ";
    if (from.remote_addr.starts_with(by_uid)) {
        p.user = static_cast<uid_t>(std::stoul(from.remote_addr.substr(by_uid.size())));
        p.process = from.remote_port;
    } else {
        p.address = from.remote_addr;
    }
    return p;
}

}  // namespace

// The library's parser and writer, on connections of our own.
class http_conversation::parser final : public httplib::Server {
public:
    parser(const http_limits& limits, responder respond) : respond_(std::move(respond)) {
        set_payload_max_length(limits.body);
        set_keep_alive_max_count(1);
        set_exception_handler([](const auto&, auto& out, std::exception_ptr thrown) {
            std::string what = "unknown";
            try {
                std::rethrow_exception(std::move(thrown));
            } catch (const std::exception& e) {
                what = e.what();
            } catch (...) {
            }
            log::say(log_level::error, "internal error in an HTTP request", {{"what", what}});
            out.status = internal_error;
        });
        // Before a body is read, so that no pattern has to be matched with what a client wrote.
        set_pre_routing_handler([this, limits](const auto& in, auto& out) {
            if (in.method == "GET" || in.method == "HEAD") {
                answer(in, "GET", {}, out);
                return HandlerResponse::Handled;
            }
            if (in.method != "POST" || limits.body == 0) {
                out.status = method_not_allowed;
                return HandlerResponse::Handled;
            }
            if (const auto objection = objection_to_body(in)) {
                fill(out, *objection);
                return HandlerResponse::Handled;
            }
            if (in.has_header("Content-Length")) return HandlerResponse::Unhandled;
            // RFC 9112 section 6.3: then there is none. The library would read to the end.
            answer(in, "POST", {}, out);
            return HandlerResponse::Handled;
        });
        // Read by us: the library takes no more than 8 KiB of what `curl -d` calls a form.
        Post("/v1/[a-z]{1,20}", [this](const auto& in, auto& out, const auto& content) {
            std::string body;
            const bool whole = content([&body](const char* bytes, std::size_t count) {
                body.append(bytes, count);
                return true;
            });
            if (whole) answer(in, "POST", std::move(body), out);
        });
        const Handler explain = [limits](const auto& /*in*/, auto& out) {
            if (out.body.empty()) fill(out, refused(out.status, words_of(out.status, limits.body)));
        };
        set_error_handler(explain);
    }

    void serve(connection_stream& stream) {
        bool closed = false;
        process_request(stream, true, closed, nullptr);
    }

private:
    void answer(const httplib::Request& in,
                const char* method,
                std::string body,
                httplib::Response& out) const {
        http_request request;
        request.method = method;
        request.path = in.path;
        for (const auto& [name, value] : in.params) request.parameters.emplace(name, value);
        request.body = std::move(body);
        request.from = peer_of(in);
        fill(out, respond_(request));
    }

    static void fill(httplib::Response& out, const http_response& response) {
        out.status = response.status;
        out.set_content(response.body, response.type);
        out.set_header("Cache-Control", "no-store");
        out.set_header("X-Content-Type-Options", "nosniff");
    }

    responder respond_;
};

http_conversation::http_conversation(const http_limits& limits, responder respond)
    : parser_(std::make_unique<parser>(limits, std::move(respond))), patience_(limits.patience) {}

http_conversation::~http_conversation() = default;

void http_conversation::have(int descriptor) const noexcept {
    try {
        connection_stream stream(descriptor, patience_);
        const int wrong = stream.read_head();
        if (wrong > 0) stream.say(wrong);
        if (wrong != 0) return;
        parser_->serve(stream);
    } catch (...) {  // without memory there is nothing to say
    }
}

}  // namespace callforward::milter::control
