#include "smtpclient/reply_habits.h"

#include "smtpclient/session_complaint.h"

namespace callforward::smtpclient {

namespace {

constexpr std::size_t enough = 4;
constexpr std::size_t asked_all_the_same = 16;  // one of so many
constexpr std::size_t most_codes = 16;
constexpr std::chrono::minutes without_reset{10};

}  // namespace

bool reply_habits::stands_by(const reply& refusal) {
    if (speaks_of_session(refusal)) return false;
    const auto known = refusals_.find(code_and_enhanced(refusal));
    if (known == refusals_.end() || known->second.confirmed < enough) return false;
    return ++known->second.believed % asked_all_the_same != 0;
}

void reply_habits::note_second_answer(const std::string& codes, bool confirmed) {
    if (!confirmed) {
        refusals_.erase(codes);
        return;
    }
    if (refusals_.size() < most_codes || refusals_.contains(codes)) ++refusals_[codes].confirmed;
}

void reply_habits::note_reset(bool answered_well, std::chrono::steady_clock::time_point now) {
    if (!answered_well && last_reset_failed_) no_reset_until_ = now + without_reset;
    last_reset_failed_ = !answered_well;
}

}  // namespace callforward::smtpclient
