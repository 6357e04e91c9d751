#include "milter/verdicts/key.h"

#include "smtpclient/printable.h"

#include <bit>
#include <random>

namespace callforward::milter::verdicts {

namespace {

// Each part is told by its length, so that no part can end early and begin another.
void append(std::string& text, std::string_view part) {
    text += std::to_string(part.size());
    text += ':';
    text += part;
}

std::string folded(std::string_view address) {
    const auto at = address.rfind('@');
    if (at == std::string_view::npos) return std::string(address);
    return std::string(address.substr(0, at)) + smtpclient::to_lower(address.substr(at));
}

struct sip_state {
    std::uint64_t v0;
    std::uint64_t v1;
    std::uint64_t v2;
    std::uint64_t v3;

    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }

    void absorb(std::uint64_t word) {
        v3 ^= word;
        round();
        v0 ^= word;
    }
};

// Up to eight bytes, the first one lowest.
std::uint64_t word_of(std::string_view bytes) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        word |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    return word;
}

}  // namespace

const hash_seed& hash_seed::of_process() {
    static const hash_seed seed = [] {
        std::random_device device;
        const auto draw = [&] { return std::uint64_t{device()} << 32 | device(); };
        const std::uint64_t first = draw();
        return hash_seed{first, draw()};
    }();
    return seed;
}

std::uint64_t seeded_hash(std::string_view text, const hash_seed& seed) {
    sip_state state{seed.first ^ 0x736f6d6570736575U,
                    seed.second ^ 0x646f72616e646f6dU,
                    seed.first ^ 0x6c7967656e657261U,
                    seed.second ^ 0x7465646279746573U};
    const std::uint64_t length = text.size();
    while (text.size() >= 8) {
        state.absorb(word_of(text.substr(0, 8)));
        text.remove_prefix(8);
    }
    state.absorb(length << 56 | word_of(text));
    state.v2 ^= 0xffU;
    for (int i = 0; i < 3; ++i) state.round();
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

question_key::question_key(const smtpclient::question& q,
                           std::string_view fingerprint,
                           const hash_seed& seed) {
    append(text_, q.to.text());
    append(text_, fingerprint);
    append(text_, q.recipient.key());
    recipient_length_ = text_.size();
    append(text_, folded(q.sender));
    text_ += q.original_sender ? 'o' : 'f';  // the same refusal is of another class
    append(text_, q.parameters.size ? std::to_string(*q.parameters.size) : std::string());
    append(text_, q.parameters.body);
    if (q.parameters.smtputf8) text_ += 'u';
    recipient_hash_ = seeded_hash(recipient_only().text, seed);
    sender_hash_ = seeded_hash(text_, seed);
}

}  // namespace callforward::milter::verdicts
