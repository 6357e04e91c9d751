#include "smtpclient/reply_habits.h"

#include "smtpclient/session_complaint.h"

namespace callforward::smtpclient {

namespace {

constexpr std::size_t enough = 4;
constexpr std::size_t asked_all_the_same = 16;  // one of so many
constexpr std::size_t most_codes = 16;

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

}  // namespace callforward::smtpclient
