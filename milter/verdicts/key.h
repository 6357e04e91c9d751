// The key under which the answer to a question is known.
//
// Two digests: of who is asked about, where and under which policy; and the same with the sender
// and the parameters of MAIL, for answers that another sender might not get. Domains are folded,
// local parts are not (RFC 5321 section 2.4), but count in Normalization Form C. Made from the
// question's parts without building a text: a look-up of an ASCII address allocates nothing, unless
// the thread's last one went elsewhere. The tags name the recipient and its domain alone, so that
// what is known can be forgotten by address. An address has 64 bits, since a million addresses of
// 32 bits would have a hundred pairs with one tag; two domains with one tag cost a question, never
// an answer.
#pragma once

#include "milter/verdicts/digest.h"
#include "smtpclient/question.h"

#include <cstdint>
#include <string_view>
#include <unordered_set>

namespace callforward::milter::verdicts {

struct recipient_tags {
    std::uint64_t address = 0;
    std::uint32_t domain = 0;

    bool operator==(const recipient_tags&) const = default;
};
using tag_set = std::unordered_set<std::uint64_t>;
[[nodiscard]] recipient_tags tags_of(const smtpclient::mailbox& recipient, const hash_seed& seed);
[[nodiscard]] std::uint32_t tag_of_domain(std::string_view lower_case, const hash_seed& seed);
// Of an address that is declared to exist, whatever its route and policy.
[[nodiscard]] digest key_of_declared(const smtpclient::mailbox& recipient, const hash_seed& seed);

// Of who is asked about: enough to find what is known of a recipient whoever sends, as nearly all
// of it is.
class recipient_key {
public:
    // fingerprint: policy::fingerprint.
    recipient_key(const smtpclient::question& q,
                  std::string_view fingerprint,
                  const hash_seed& seed = hash_seed::of_process());

    [[nodiscard]] const digest& recipient_only() const { return recipient_only_; }
    [[nodiscard]] const digest& declared() const { return declared_; }

private:
    digest declared_;
    digest recipient_only_;
};

class question_key : public recipient_key {
public:
    question_key(const smtpclient::question& q,
                 std::string_view fingerprint,
                 const hash_seed& seed = hash_seed::of_process());
    // whom: of that question, under that seed.
    question_key(const recipient_key& whom, const smtpclient::question& q, const hash_seed& seed);

    [[nodiscard]] const digest& with_sender() const { return with_sender_; }
    [[nodiscard]] const recipient_tags& tags() const { return tags_; }

    // The same question, sender and all.
    bool operator==(const question_key& other) const { return with_sender_ == other.with_sender_; }

private:
    digest with_sender_;
    recipient_tags tags_;
};

}  // namespace callforward::milter::verdicts
