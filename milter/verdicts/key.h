// The key under which the answer to a question is known.
//
// Two texts: who is asked about, where and under which policy; and the same with the sender and the
// parameters of MAIL, for answers that another sender might not get. Domains are folded, local
// parts are not (RFC 5321 section 2.4). Each text has a hash made once. The hash is keyed
// (SipHash-1-3) with bits that no client knows, so that nobody can choose recipients that fall into
// one bucket.
#pragma once

#include "smtpclient/question.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace callforward::milter::verdicts {

struct hash_seed {
    std::uint64_t first = 0;
    std::uint64_t second = 0;

    // Drawn from the system once.
    [[nodiscard]] static const hash_seed& of_process();
};
[[nodiscard]] std::uint64_t seeded_hash(std::string_view text, const hash_seed& seed);

struct key_view {  // of a text that outlives it
    std::string_view text;
    std::uint64_t hash = 0;

    bool operator==(const key_view& other) const { return text == other.text; }
};

class question_key {
public:
    // fingerprint: policy::fingerprint.
    question_key(const smtpclient::question& q,
                 std::string_view fingerprint,
                 const hash_seed& seed = hash_seed::of_process());

    // Both views end with this key.
    [[nodiscard]] key_view recipient_only() const {
        return {std::string_view(text_).substr(0, recipient_length_), recipient_hash_};
    }
    [[nodiscard]] key_view with_sender() const { return {text_, sender_hash_}; }

    // The same question, sender and all.
    bool operator==(const question_key& other) const { return text_ == other.text_; }

private:
    std::string text_;
    std::size_t recipient_length_ = 0;  // the text begins with the one about the recipient alone
    std::uint64_t recipient_hash_ = 0;
    std::uint64_t sender_hash_ = 0;
};

}  // namespace callforward::milter::verdicts
