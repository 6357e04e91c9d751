// What [metrics] listen serves: /metrics, /healthz, the status page and its data. Only ever reads.
//
// Without show_addresses no mail address and no client's is told: of a recipient only the domain,
// and no reply text, which may repeat it. Nor are the configuration's name and the errors in it.
// Thread: any.
#pragma once

#include "milter/control/http_server.h"
#include "milter/control/status.h"

#include <string>

namespace callforward::milter::control {

class public_pages {
public:
    public_pages(const watched& w, bool show_addresses) : watched_(w), shows_(show_addresses) {}

    [[nodiscard]] http_response answer(const http_request& r) const;

private:
    [[nodiscard]] std::string data() const;

    watched watched_;
    bool shows_;
};

}  // namespace callforward::milter::control
