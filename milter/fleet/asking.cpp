#include "milter/fleet/asking.h"

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;
using verdicts::moment;

namespace {

constexpr milliseconds first_pause{5};
constexpr milliseconds longest_pause{250};

}  // namespace

asking::asking(std::shared_ptr<shared_store> store,
               verdicts::cache& known,
               const std::atomic<std::uint64_t>& heard,
               const unwritten_changes& unwritten,
               smtpclient::question q,
               shared_question about)
    : store_(std::move(store)),
      known_(known),
      heard_(heard),
      unwritten_(unwritten),
      question_(std::move(q)),
      about_(std::move(about)),
      names_(store_->names_of(question_, about_.fingerprint)) {}

asking::~asking() {
    if (!token_.empty()) store_->give_back(names_, token_, false);
}

asio::awaitable<shared_answer> asking::look() {
    shared_answer answer;
    if (about_.why == purpose::anew) co_return answer;
    const bool has_seed = co_await store_->link().has_seed(redis_link::importance::somebody_waits);
    if (!has_seed) co_return answer;
    names_ = store_->names_of(question_, about_.fingerprint);  // it may be another one since
    auto heard = heard_.load();
    if (unwritten_.concerns(question_.recipient)) co_return answer;
    const auto found = co_await store_->find(names_);
    if (!found) co_return answer;
    marks_ = found->marks;
    answer.verdict = take(*found, heard);
    for (unsigned times = 0; !answer.verdict; ++times) {
        heard = heard_.load();
        if (unwritten_.concerns(question_.recipient)) break;
        const auto l = co_await store_->try_lease(names_);
        if (!l) break;
        if (l->got) token_ = l->token;
        marks_ = l->found.marks;
        answer.verdict = take(l->found, heard);
        if (l->got && answer.verdict) {
            store_->give_back(names_, std::exchange(token_, {}), true);
        }
        if (answer.verdict || l->got || l->no_answer || clock::now() >= question_.deadline) break;
        answer.waited = true;
        co_await pause(times);
    }
    co_return answer;
}

// So that what was learnt is not asked for again at once, nor much later.
asio::awaitable<void> asking::pause(unsigned times) {
    const auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer(executor);
    const auto whole = std::min(longest_pause, first_pause * (1U << std::min(times / 2, 10U)));
    timer.expires_after(whole);
    std::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await timer.async_wait(token);
}

// For a refresh only what another edge has refreshed will do.
bool asking::is_fresh(const findings& found) const {
    return std::any_of(found.records.begin(), found.records.end(), [](const shared_record& r) {
        return r.age * 4 < (r.record.expires - r.record.learnt) * 3;
    });
}

verdicts::shared_verdict asking::take(const findings& found, std::uint64_t heard_before) {
    if (found.records.empty()) return nullptr;
    if (about_.why == purpose::refresh && !is_fresh(found)) return nullptr;
    // Something was forgotten while we looked; it may have been this.
    const auto changes = known_.changes_of(question_.recipient);
    if (heard_ != heard_before) return nullptr;
    // As of the look-up: a notice that was lost since may have been of this.
    const moment now{found.asked, moment::now().wall};
    const auto& key = about_.key;
    for (const shared_record& r : found.records) {
        const bool declared = r.as == kept_as::declared;
        const auto& under = declared                       ? key.declared()
                            : r.as == kept_as::with_sender ? key.with_sender()
                                                           : key.recipient_only();
        known_.take(
            under, question_.recipient, key.tags(), r.record, r.age, declared, now, changes);
    }
    const auto known = known_.find(key, question_.recipient, now);
    return known && !known->stale ? known->verdict() : nullptr;
}

void asking::learnt(const verdicts::stored& became, const smtpclient::verdict& v) {
    const std::string token = std::exchange(token_, {});
    const auto& kept = became.kept;
    if (became.outdates) store_->erase(names_.record);
    // What was known of the host before may be older than the marks: it would count as found out
    // after what was forgotten since.
    if (!kept || kept->expires <= kept->learnt || v.found_before) {
        if (!token.empty()) store_->give_back(names_, token, false);
        return;
    }
    const bool alone = kept->key == about_.key.recipient_only();
    verdicts::record r;
    r.recipient = question_.recipient.key();
    r.verdict = verdicts::trimmed(v);
    r.repeats = kept->repeats;
    r.expires += std::chrono::duration_cast<milliseconds>(kept->expires - kept->learnt);
    const auto as = alone ? kept_as::record : kept_as::with_sender;
    store_->put(names_, as, marks_, token, std::move(r), known_.kept_after_life(v));
}

}  // namespace callforward::milter::fleet
