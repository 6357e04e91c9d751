// What the control socket's requests are answered with, and where they say what they want.
//
// Included by control_api.cpp and control_stories.cpp only. A response is JSON; one that is not
// good has an "error" that says why, in words for an operator.
#pragma once

#include "milter/control/http_conversation.h"
#include "milter/control/values.h"

#include <nlohmann/json.hpp>

#include <string>

namespace callforward::milter::control {

constexpr int bad_request = 400;
constexpr int not_found = 404;
constexpr int method_not_allowed = 405;
constexpr int conflict = 409;
constexpr int unprocessable = 422;

inline http_response good(const json& j) {
    return {.status = 200, .body = text_of(j)};
}

inline http_response wrong(int status, const std::string& why) {
    return {.status = status, .body = text_of({{"error", why}})};
}

// Of a query; "" where it is not there. Untrusted.
inline std::string parameter(const http_request& r, const std::string& name) {
    const auto found = r.parameters.find(name);
    return found == r.parameters.end() ? std::string{} : found->second;
}

}  // namespace callforward::milter::control
