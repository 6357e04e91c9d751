// Keyed digests: what a question, an address or a domain is known by, instead of its text.
//
// 128 bits of SipHash-2-4, with a key that no client knows: nobody can choose recipients that share
// a digest or fall into one bucket, and chance does not either
// (at 10^12 entries the odds are 1 in 10^14). Parts are told by their lengths, so that no part can
// end early and begin another. The key of the process is the store's (kept with what was stored
// under it), or drawn from the system. Nothing here allocates memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace callforward::milter::verdicts {

struct hash_seed {
    std::uint64_t first = 0;
    std::uint64_t second = 0;

    // Drawn from the system once, or each time.
    [[nodiscard]] static const hash_seed& of_process();
    [[nodiscard]] static hash_seed draw();
    bool operator==(const hash_seed&) const = default;
};

// SipHash-1-3: for buckets and checksums.
[[nodiscard]] std::uint64_t seeded_hash(std::string_view text, const hash_seed& seed);

struct digest {
    static constexpr std::size_t size = 16;

    std::uint64_t first = 0;
    std::uint64_t second = 0;

    // The same on every machine.
    [[nodiscard]] std::array<char, size> bytes() const;
    [[nodiscard]] static digest of_bytes(const std::array<char, size>& bytes);
    [[nodiscard]] std::string text() const;  // the bytes, as a map's key
    bool operator==(const digest&) const = default;
};

class digester {
public:
    explicit digester(const hash_seed& seed);

    void add(std::string_view part);
    void add_lower_case(std::string_view part);  // of ASCII
    void add(std::uint64_t number);              // its eight bytes
    void add(const digest& part);
    void add_bytes(std::string_view bytes);  // without a length before them
    [[nodiscard]] digest finish();           // once

private:
    void absorb();

    std::uint64_t v0_;
    std::uint64_t v1_;
    std::uint64_t v2_;
    std::uint64_t v3_;
    std::uint64_t length_ = 0;
    // What is not absorbed yet: a key is made of many small parts, and hashed in one go.
    std::array<char, 256> waiting_;
    std::size_t used_ = 0;
};

// The function itself, for its test vectors.
[[nodiscard]] digest siphash_2_4_128(std::string_view bytes, const hash_seed& seed);

}  // namespace callforward::milter::verdicts
