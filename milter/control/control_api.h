// The control socket's requests: what the operator's tool and a provisioning system may ask, and
// change. callforward-milter(8), CONTROL SOCKET, has every path with its fields.
//
// A request is answered with JSON; one that is wrong gets a 4xx and {"error"} that says what to do.
// Who changes something is logged, with uid and process. Who may connect is the socket file's
// matter. Thread: any.
#pragma once

#include "milter/control/http_server.h"
#include "milter/control/status.h"
#include "milter/control/values.h"
#include "milter/recipient_check.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace callforward::milter::control {

class control_api {
public:
    // Reads the configuration again: nothing, or why it stays as it is.
    using reloader = std::function<std::optional<std::string>()>;

    control_api(const watched& w, recipient_check& checking, reloader reload);

    [[nodiscard]] http_response answer(const http_request& r);

private:
    struct endpoint;
    [[nodiscard]] http_response status(const http_request& r);
    [[nodiscard]] http_response hosts(const http_request& r);
    [[nodiscard]] http_response cache(const http_request& r);
    [[nodiscard]] http_response exported(const http_request& r);
    [[nodiscard]] http_response decisions(const http_request& r);
    [[nodiscard]] http_response report(const http_request& r);
    [[nodiscard]] http_response explain(const http_request& r);
    [[nodiscard]] http_response explain_id(const std::string& id);
    [[nodiscard]] http_response forget(const http_request& r);
    [[nodiscard]] http_response known(const http_request& r);
    [[nodiscard]] http_response flush(const http_request& r);
    [[nodiscard]] http_response reload(const http_request& r);
    [[nodiscard]] http_response changed(std::uint64_t after, json about) const;
    [[nodiscard]] std::uint64_t newest_change() const;

    watched watched_;
    recipient_check& checking_;
    reloader reload_;
};

}  // namespace callforward::milter::control
