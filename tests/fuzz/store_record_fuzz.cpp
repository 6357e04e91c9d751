// A record of a store: any bytes are taken apart without a crash; what is taken could have been
// written, and comes back the same.
#include "milter/verdicts/record.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callforward;
    using namespace callforward::milter::verdicts;
    constexpr digest key{1, 2};
    constexpr hash_seed seed{3, 4};
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    // No fuzzer finds a keyed checksum: put the right one in, where the head is long enough.
    constexpr std::size_t checksum_at = 32;
    std::string signed_bytes(bytes);
    if (size >= checksum_at + 8) {
        digester d(seed);
        d.add(key);
        d.add(bytes.substr(0, checksum_at));
        d.add(bytes.substr(checksum_at + 8));
        const std::uint64_t sum = d.finish().first;
        for (unsigned i = 0; i < 8; ++i) {
            signed_bytes[checksum_at + i] = static_cast<char>(sum >> (8 * i));
        }
    }
    static_cast<void>(decode(bytes, key, seed));
    const auto record = decode(signed_bytes, key, seed);
    if (!record) return 0;
    if (record->verdict.outcome() == smtpclient::outcome::undetermined) std::abort();
    if (!head_of(signed_bytes)) std::abort();
    if (encode(*record, key, seed) != signed_bytes) std::abort();
    return 0;
}
