#include "milter/fleet/shared_record.h"

#include <algorithm>
#include <array>
#include <utility>

namespace callforward::milter::fleet {

using verdicts::digest;
using namespace std::chrono_literals;

namespace {

bool is_good(std::string_view then, std::string_view now) {
    // No marker: what was forgotten is so long ago that no record is older.
    return now == no_mark || then == now;
}

}  // namespace

std::string mark_of(const resp_value& stored) {
    const bool is_one = stored.is_text() && stored.text.size() == mark_size;
    return is_one ? stored.text : std::string(no_mark);
}

findings findings_of(const question_names& n, const replies& untrusted) {
    findings found;
    if (untrusted.size() != look_replies) return found;
    const auto& values = untrusted[look_values].elements;
    const resp_value& of_domain = untrusted[look_values + 1];
    // An error does not say that there is no mark of the domain.
    if (values.size() != 4 || of_domain.is_error()) return found;
    found.marks = mark_of(values[3]) + mark_of(of_domain);
    const std::array<const digest*, 3> keys{
        &n.key.recipient_only(), &n.key.with_sender(), &n.key.declared()};
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const std::string_view value = values[i].text;
        const milliseconds left(untrusted[i].number);
        if (!values[i].is_text() || value.size() <= 2 * mark_size || left <= 0ms) continue;
        const std::string_view marks = found.marks;
        const bool good = is_good(value.substr(0, mark_size), marks.substr(0, mark_size)) &&
                          is_good(value.substr(mark_size, mark_size), marks.substr(mark_size));
        if (!good) continue;
        auto record = verdicts::decode(value.substr(2 * mark_size), *keys[i], n.seed);
        if (!record) continue;
        const milliseconds age = std::max(record->learnt - origin - left, 0ms);
        found.records.push_back({static_cast<kept_as>(i), std::move(*record), age});
    }
    return found;
}

}  // namespace callforward::milter::fleet
