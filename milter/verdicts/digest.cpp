#include "milter/verdicts/digest.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

namespace callforward::milter::verdicts {

namespace {

// Always inline: as a call its four words go through memory, and each RCPT has some hundred rounds.
[[gnu::always_inline]] inline void round(std::uint64_t& v0,
                                         std::uint64_t& v1,
                                         std::uint64_t& v2,
                                         std::uint64_t& v3) {
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

constexpr std::uint64_t start_0 = 0x736f6d6570736575U;
constexpr std::uint64_t start_1 = 0x646f72616e646f6dU;
constexpr std::uint64_t start_2 = 0x6c7967656e657261U;
constexpr std::uint64_t start_3 = 0x7465646279746573U;

// Up to eight bytes, the first one lowest.
std::uint64_t word_of(std::string_view bytes) {
    std::uint64_t word = 0;
    if constexpr (std::endian::native == std::endian::little) {
        if (bytes.size() == 8) {  // one load, for what every RCPT passes through several times
            std::memcpy(&word, bytes.data(), 8);
            return word;
        }
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        word |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    return word;
}

std::array<char, 8> little_endian(std::uint64_t number) {
    std::array<char, 8> bytes{};
    if constexpr (std::endian::native == std::endian::little) {
        std::memcpy(bytes.data(), &number, bytes.size());
    } else {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = static_cast<char>(number >> (8 * i));
        }
    }
    return bytes;
}

}  // namespace

hash_seed hash_seed::draw() {
    std::random_device device;
    const auto number = [&] { return std::uint64_t{device()} << 32 | device(); };
    const std::uint64_t drawn = number();
    return {drawn, number()};
}

const hash_seed& hash_seed::of_process() {
    static const hash_seed seed = draw();
    return seed;
}

std::uint64_t seeded_hash(std::string_view text, const hash_seed& seed) {
    std::uint64_t v0 = seed.first ^ start_0;
    std::uint64_t v1 = seed.second ^ start_1;
    std::uint64_t v2 = seed.first ^ start_2;
    std::uint64_t v3 = seed.second ^ start_3;
    const auto absorb = [&](std::uint64_t word) {
        v3 ^= word;
        round(v0, v1, v2, v3);
        v0 ^= word;
    };
    const std::uint64_t length = text.size();
    while (text.size() >= 8) {
        absorb(word_of(text.substr(0, 8)));
        text.remove_prefix(8);
    }
    absorb(length << 56 | word_of(text));
    v2 ^= 0xffU;
    for (int i = 0; i < 3; ++i) round(v0, v1, v2, v3);
    return v0 ^ v1 ^ v2 ^ v3;
}

std::array<char, digest::size> digest::bytes() const {
    std::array<char, size> out{};
    const auto low = little_endian(first);
    const auto high = little_endian(second);
    std::copy(high.begin(), high.end(), std::copy(low.begin(), low.end(), out.begin()));
    return out;
}

digest digest::of_bytes(const std::array<char, size>& bytes) {
    const std::string_view all(bytes.data(), size);
    return {word_of(all.substr(0, 8)), word_of(all.substr(8))};
}

std::string digest::text() const {
    const auto all = bytes();
    return {all.data(), all.size()};
}

digester::digester(const hash_seed& seed)
    : v0_(seed.first ^ start_0),
      v1_(seed.second ^ start_1 ^ 0xeeU),
      v2_(seed.first ^ start_2),
      v3_(seed.second ^ start_3) {}

// All whole words; what is left of the last one moves to the front.
void digester::absorb() {
    std::uint64_t v0 = v0_;
    std::uint64_t v1 = v1_;
    std::uint64_t v2 = v2_;
    std::uint64_t v3 = v3_;
    std::string_view rest(waiting_.data(), used_);
    for (; rest.size() >= 8; rest.remove_prefix(8)) {
        const std::uint64_t word = word_of(rest.substr(0, 8));
        v3 ^= word;
        round(v0, v1, v2, v3);
        round(v0, v1, v2, v3);
        v0 ^= word;
    }
    v0_ = v0;
    v1_ = v1;
    v2_ = v2;
    v3_ = v3;
    std::copy(rest.begin(), rest.end(), waiting_.begin());
    used_ = rest.size();
}

void digester::add(std::uint64_t number) {
    if (waiting_.size() - used_ < sizeof number) absorb();
    const auto bytes = little_endian(number);
    std::memcpy(waiting_.data() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
    length_ += bytes.size();
}

void digester::add(std::string_view part) {
    add(std::uint64_t{part.size()});
    add_bytes(part);
}

void digester::add_bytes(std::string_view bytes) {
    length_ += bytes.size();
    while (!bytes.empty()) {
        if (used_ == waiting_.size()) absorb();
        const std::size_t count = bytes.copy(waiting_.data() + used_, waiting_.size() - used_);
        used_ += count;
        bytes.remove_prefix(count);
    }
}

void digester::add_lower_case(std::string_view part) {
    add(std::uint64_t{part.size()});
    std::array<char, 64> lower{};
    while (!part.empty()) {
        const auto some = part.substr(0, lower.size());
        std::transform(some.begin(), some.end(), lower.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        add_bytes({lower.data(), some.size()});
        part.remove_prefix(some.size());
    }
}

void digester::add(const digest& part) {
    add(part.first);
    add(part.second);
}

digest digester::finish() {
    absorb();
    // The last word has the length in its highest byte.
    const std::uint64_t last = length_ << 56 | word_of({waiting_.data(), used_});
    used_ = 0;
    add(last);
    absorb();
    digest result;
    v2_ ^= 0xeeU;
    for (int i = 0; i < 4; ++i) round(v0_, v1_, v2_, v3_);
    result.first = v0_ ^ v1_ ^ v2_ ^ v3_;
    v1_ ^= 0xddU;
    for (int i = 0; i < 4; ++i) round(v0_, v1_, v2_, v3_);
    result.second = v0_ ^ v1_ ^ v2_ ^ v3_;
    return result;
}

digest siphash_2_4_128(std::string_view bytes, const hash_seed& seed) {
    digester d(seed);
    d.add_bytes(bytes);
    return d.finish();
}

}  // namespace callforward::milter::verdicts
