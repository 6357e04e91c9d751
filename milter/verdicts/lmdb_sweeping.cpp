#include "milter/verdicts/lmdb_sweeping.h"

#include "milter/verdicts/lmdb_opening.h"
#include "milter/verdicts/record.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace callforward::milter::verdicts {

namespace {

constexpr std::size_t step = 5000;

}  // namespace

lmdb_file::result erase_where(lmdb_file& file,
                              const std::function<bool(std::string_view)>& condition,
                              std::string& why) {
    std::string from;
    auto result = lmdb_file::result::done;
    do {
        lmdb_file::changes gone;
        const auto note = [&](std::string_view key, std::string_view bytes) {
            if (key != about_key && condition(bytes)) gone.emplace(key, std::string());
        };
        result = file.scan(from, step, note, why);
        if (result == lmdb_file::result::done) result = file.write(gone, why);
    } while (result == lmdb_file::result::done && !from.empty());
    return result;
}

lmdb_file::result erase_expired(lmdb_file& file,
                                std::chrono::seconds stale,
                                std::chrono::seconds remembered,
                                std::string& why) {
    const auto now =
        std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
    const auto is_over = [&](std::string_view bytes) {
        const auto head = head_of(bytes);
        if (!head) return true;
        const auto kept = std::chrono::milliseconds(head->deliverable ? stale : remembered);
        // Or learnt by a clock that was far ahead. Differences, which no bytes make overflow.
        const auto ahead = head->learnt - now;
        return now - head->expires > kept || ahead - (head->expires - head->learnt) > kept;
    };
    return erase_where(file, is_over, why);
}

lmdb_file::result erase_oldest(lmdb_file& file, std::string& why) {
    std::vector<wall_time> deliverable;
    std::vector<wall_time> others;
    const auto note = [&](std::string_view, std::string_view bytes) {
        if (const auto head = head_of(bytes)) {
            (head->deliverable ? deliverable : others).push_back(head->learnt);
        }
    };
    std::string from;
    do {
        const auto result = file.scan(from, step, note, why);
        if (result != lmdb_file::result::done) return result;
    } while (!from.empty());
    const std::size_t tenth = (deliverable.size() + others.size()) / 10;
    // At most half of the others: what is newest among them is worth as much as ever.
    const bool spares = !others.empty() && others.size() >= 2 * tenth;
    if (!spares) others.insert(others.end(), deliverable.begin(), deliverable.end());
    if (others.empty()) return lmdb_file::result::done;
    const auto last = others.begin() + static_cast<std::ptrdiff_t>(tenth);
    std::nth_element(others.begin(), last, others.end());
    const auto is_old = [&](std::string_view bytes) {
        const auto head = head_of(bytes);
        return !head || (head->learnt <= *last && !(spares && head->deliverable));
    };
    return erase_where(file, is_old, why);
}

std::optional<store::page> read_page(lmdb_file& file,
                                     std::string from,
                                     std::size_t limit,
                                     const hash_seed& seed,
                                     const std::function<bool(std::string_view)>& skips) {
    store::page found;
    const auto decoded = [&](std::string_view name, std::string_view bytes) {
        if (name == about_key || name.size() != digest::size || skips(bytes)) return;
        std::array<char, digest::size> key{};
        std::copy(name.begin(), name.end(), key.begin());
        if (auto r = decode(bytes, digest::of_bytes(key), seed)) {
            found.records.push_back(std::move(*r));
        }
    };
    std::string why;
    const auto result = file.scan(from, limit, decoded, why);
    if (result != lmdb_file::result::done) return std::nullopt;
    found.next = std::move(from);
    return found;
}

}  // namespace callforward::milter::verdicts
