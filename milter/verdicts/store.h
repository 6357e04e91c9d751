// Where verdicts outlive the process: the seam between the cache and what is below it.
//
// Nothing here may hold up a RCPT: find() reads what is at hand, the rest is queued and done on the
// store's own thread. A store that fails answers nothing, takes nothing, and says so in the log
// once. Records are given as they were put, whatever their age: the caller knows lifetimes and
// clocks. Thread: any.
#pragma once

#include "milter/verdicts/digest.h"
#include "milter/verdicts/record.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace callforward::milter::verdicts {

class store {
public:
    store() = default;
    store(const store&) = delete;
    store& operator=(const store&) = delete;
    virtual ~store() = default;

    // What keys and checksums are made with: the same as long as there is something stored.
    [[nodiscard]] virtual hash_seed seed() const = 0;
    // Until it has been found out whether there is something stored, and with what seed, or that
    // long: for who is about to name what is to be forgotten. True when it has.
    virtual bool wait_for_opening(std::chrono::milliseconds /*at_most*/) { return true; }
    // What was put or erased before this call is seen.
    [[nodiscard]] virtual std::optional<record> find(const digest& key) = 0;
    virtual void put(const digest& key, const record& r) = 0;
    virtual void erase(const digest& key) = 0;
    virtual void forget_addresses(tag_set tags) = 0;
    virtual void forget_domain(std::uint32_t tag) = 0;
    // What says of recipients of these domains that they do not exist, learnt since.
    virtual void forget_refusals(tag_set domain_tags, wall_time since) = 0;
    // Waits until all that was queued before is kept, or that long. True when it is.
    virtual bool flush(std::chrono::milliseconds at_most) = 0;
    // The same before the process ends, destroyed or not: what is to be forgotten then is.
    virtual void finish(std::chrono::milliseconds at_most) { flush(at_most); }

    // For the control socket; a store that cannot do these says so.
    struct page {
        std::vector<record> records;
        std::string next;  // where the next page begins; "": this was the last
    };
    // At most about `limit` records from a page's beginning on, "" for the first. Nothing when it
    // cannot be read, too.
    [[nodiscard]] virtual std::optional<page> list(const std::string& /*from*/,
                                                   std::size_t /*limit*/) {
        return std::nullopt;
    }
    // Forgets everything; false when that is not possible.
    virtual bool forget_all() { return false; }
    [[nodiscard]] virtual std::size_t records() const { return 0; }
    // How long a deliverable is kept after its life, and any other, from now on.
    virtual void keep(std::chrono::seconds /*stale*/, std::chrono::seconds /*remembered*/) {}
    // "": usable; else what is the matter.
    [[nodiscard]] virtual std::string complaint() const { return {}; }
};

class no_store final : public store {  // [cache] store = "memory"
public:
    [[nodiscard]] hash_seed seed() const override { return hash_seed::of_process(); }
    [[nodiscard]] std::optional<record> find(const digest&) override { return std::nullopt; }
    void put(const digest&, const record&) override {}
    void erase(const digest&) override {}
    void forget_addresses(tag_set) override {}
    void forget_domain(std::uint32_t) override {}
    void forget_refusals(tag_set, wall_time) override {}
    bool flush(std::chrono::milliseconds) override { return true; }
    bool forget_all() override { return true; }
};

}  // namespace callforward::milter::verdicts
