// What a shared store answers about a question: a finding is a record that was signed for this
// question under the store's seed, not forgotten since, with a life that is left, and no older than
// a record can be. Values' checksums are put right, for no fuzzer finds them.
#include "milter/fleet/shared_record.h"
#include "tests/fuzz/input.h"

#include <array>
#include <cstdlib>
#include <set>

using namespace callforward;
using namespace callforward::milter;
using namespace callforward::milter::fleet;

namespace {

constexpr verdicts::hash_seed seed{3, 4};

question_names names_of_question() {
    smtpclient::question q;
    q.recipient = smtpclient::mailbox::parse("bob@next.test").value();
    q.sender = "s@a.test";
    q.to.recipient_mx = true;
    return {seed, verdicts::question_key(q, "f", seed), "r", "s", "d", "f", "df", "l"};
}

std::uint16_t two_bytes(fuzz::input& from) {
    const unsigned low = from.byte();
    return static_cast<std::uint16_t>(low | unsigned{from.byte()} << 8U);
}

void sign(std::string& value, const verdicts::digest& key) {
    constexpr std::size_t checksum_at = 28;
    if (value.size() < 2 * mark_size + checksum_at + 8) return;
    const std::string_view bytes = std::string_view(value).substr(2 * mark_size);
    verdicts::digester d(seed);
    d.add(key);
    d.add(bytes.substr(0, checksum_at));
    d.add(bytes.substr(checksum_at + 8));
    const std::uint64_t sum = d.finish().first;
    for (unsigned i = 0; i < 8; ++i) {
        value[2 * mark_size + checksum_at + i] = static_cast<char>(sum >> (8 * i));
    }
}

resp_value value_from(fuzz::input& from, const verdicts::digest* key) {
    resp_value v;
    v.is = from.one_of(resp_value::type::array);
    const std::size_t size = two_bytes(from);
    for (std::size_t i = 0; i < size && !from.empty(); ++i) {
        v.text += static_cast<char>(from.byte());
    }
    if (key != nullptr) sign(v.text, *key);
    return v;
}

std::int64_t number_from(fuzz::input& from) {
    std::uint64_t number = 0;
    for (unsigned i = 0; i < 8; ++i) number |= std::uint64_t{from.byte()} << (8 * i);
    return static_cast<std::int64_t>(number);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const question_names names = names_of_question();
    const std::array keys{
        &names.key.recipient_only(), &names.key.with_sender(), &names.key.declared()};
    fuzz::input from(data, size);
    replies got(look_replies - from.below(2));
    for (std::size_t i = 0; i < look_values; ++i) {
        got[i].is = resp_value::type::integer;
        got[i].number = number_from(from);
    }
    if (got.size() == look_replies) got.back() = value_from(from, nullptr);
    resp_value& values = got[look_values];
    values.is = resp_value::type::array;
    values.elements.push_back(value_from(from, nullptr));  // "forgotten", the last of them
    for (const auto* key : keys) {
        values.elements.insert(values.elements.end() - 1, value_from(from, key));
    }
    if (from.flag()) values.elements.pop_back();

    const findings found = findings_of(names, got);
    if (found.marks.size() != 2 * mark_size && !found.marks.empty()) std::abort();
    if (found.marks.empty() && !found.records.empty()) std::abort();
    std::set<kept_as> kinds;
    for (const auto& r : found.records) {
        const auto i = static_cast<std::size_t>(r.as);
        if (!kinds.insert(r.as).second || r.age < milliseconds(0)) std::abort();
        if (r.record.verdict.outcome() == smtpclient::outcome::undetermined) std::abort();
        if (got[i].number <= 0) std::abort();
        const std::string& value = values.elements[i].text;
        for (const std::size_t at : {std::size_t{0}, mark_size}) {
            const std::string now = found.marks.substr(at, mark_size);
            if (now != no_mark && now != value.substr(at, mark_size)) std::abort();
        }
        if (!verdicts::decode(value.substr(2 * mark_size), *keys[i], seed)) std::abort();
    }
    return 0;
}
