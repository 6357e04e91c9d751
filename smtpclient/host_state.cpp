#include "smtpclient/host_state.h"

#include "smtpclient/host.h"
#include "smtpclient/printable.h"

namespace callforward::smtpclient {

using std::chrono::seconds;

std::string_view to_string(host_condition c) {
    switch (c) {
        case host_condition::idle:
            return "idle";
        case host_condition::up:
            return "up";
        case host_condition::opening:
            return "opening";
        case host_condition::penalty:
            return "penalty";
    }
    return "?";
}

host_state host::state() const {
    const auto now = std::chrono::steady_clock::now();
    host_state s;
    s.host = target_.name;
    if (s.host.empty()) s.host = target_.literal ? target_.literal->text() : target_.socket_path;
    s.port = target_.socket_path.empty() ? target_.port : std::uint16_t{0};
    s.protocol = target_.protocol;
    s.tls = how_.by->tls.level;
    for (const auto& c : carriers_) {
        ++(c->is_idle() ? s.idle : s.busy);
        s.in_flight += c->load();
    }
    s.opening = openings_.size();
    s.most_sessions = most_sessions_;
    s.waiting = waiting_.size();
    s.latency = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::duration<double>(latency_));
    if (!last_error_.empty()) {
        s.last_error = printable(last_error_, 200);
        s.last_error_ago = std::chrono::duration_cast<seconds>(now - last_error_at_);
    }
    const bool left_alone = ailing_ && carriers_.empty();
    if (left_alone && penalty_ends_ > now) {
        s.penalty_left = std::chrono::ceil<seconds>(penalty_ends_ - now);
    }
    s.condition = !carriers_.empty()   ? host_condition::up
                  : left_alone         ? host_condition::penalty
                  : !openings_.empty() ? host_condition::opening
                                       : host_condition::idle;
    return s;
}

}  // namespace callforward::smtpclient
