#include "milter/fleet/edge.h"

#include "dns/domain.h"
#include "milter/fleet/endless.h"

#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <new>
#include <stdexcept>
#include <utility>

namespace callforward::milter::fleet {

using clock = std::chrono::steady_clock;
using verdicts::change;
using namespace std::chrono_literals;

namespace {

constexpr auto between_repeats = 10s;
constexpr unsigned closure_holds = 30;  // seconds, unless it is told again

std::string drawn_name() {
    const auto drawn = verdicts::hash_seed::draw();
    return std::to_string(drawn.first);
}

}  // namespace

store_options store_options_of(const cache_settings& s) {
    store_options o;
    const std::string wrong = parse_store_address(s.store, o.at);
    if (!wrong.empty()) throw std::runtime_error("[cache] store " + wrong);
    o.user = s.store_user;
    o.password = s.store_password;
    o.timeout = s.store_timeout;
    o.trust = s.store_trust;
    return o;
}

void edge::attachment::stop() const {
    if (connections) connections->stop();
    if (writer) writer->stop();
    if (store) store->stop();
    if (news) news->stop();
}

edge::edge(store_options options,
           std::size_t connections_per_host,
           verdicts::cache& known,
           std::size_t loops)
    : options_(std::make_shared<const store_options>(std::move(options))),
      known_(known),
      tls_(options_->at.tls ? std::make_unique<tls_files>(options_->at) : nullptr),
      health_(*options_, loops),
      trust_(options_->trust, clock::now()),
      name_(drawn_name()),
      connections_per_host_(connections_per_host),
      changes_(known) {
    known_.believe(&trust_);
    known_.on_change([this](const std::vector<change>& some) { tell(some); });
}

edge::attachment edge::attach(const asio::any_io_executor& executor) {
    const std::lock_guard lock(mutex_);
    const std::size_t which = loops_.size();
    attachment a;
    a.store = std::make_shared<shared_store>(
        executor, options_, tls_.get(), [this, which](trouble t, const std::string& why) {
            health_.report(which, t, why);
        });
    a.connections = std::make_shared<connection_leases>(executor,
                                                        a.store->link().shared_from_this(),
                                                        name_ + '.' + std::to_string(which),
                                                        connections_per_host_);
    loops_.push_back({executor, a.store});
    if (which == 0) {
        notices::listener to;
        to.hear = [this](const notice& n) { hear(n); };
        to.regained = [this] {
            // First: what is read under the old one, or found out before, is not good from now on.
            outdate_seed();
            known_.forget_findings();
            trust_.regained(clock::now());
        };
        to.lost = [this](steady_time since) { trust_.lost(since); };
        a.news = std::make_shared<notices>(executor, options_, tls_.get(), std::move(to));
        a.writer = std::make_shared<change_writer>(
            executor,
            a.store,
            unwritten_,
            name_,
            [this] {
                return change_lives{known_.longest_life(), known_.declared_life()};
            },
            [this] { outdate_seed(); });
        writer_ = a.writer;
        asio::post(executor, [news = a.news, writer = a.writer] {
            news->start();
            writer->start();
        });
        auto repeating = repeat_interlocks(executor);
        asio::co_spawn(executor, std::move(repeating), endless{});
    }
    asio::post(executor, [store = a.store] { store->start(); });
    return a;
}

std::string edge::complaint() const {
    const auto state = health();
    if (state.what != trouble::none) return std::string(to_string(state.what)) + ": " + state.why;
    return hears_notices() ? "" : "notices of other edges do not arrive";
}

void edge::finish(std::chrono::milliseconds at_most) {
    const std::size_t left = unwritten_.wait_until_empty(at_most);
    if (left == 0) return;
    options_->say(log_level::warning,
                  "the program ends before the shared store has all changes; they are to be made "
                  "again",
                  {{"changes", left}});
}

void edge::close() {
    unwritten_.close();
    const std::lock_guard lock(mutex_);
    loops_.clear();
    writer_.reset();
}

// Nothing is said of a failure: the links have said what is the matter, refusals are counted for
// minutes only, and interlocks are told again.
void edge::publish(notice::kind what, std::string_view name, unsigned seconds) {
    const notice n{what, name_, seconds, std::string(name)};
    std::string command = resp_command({"PUBLISH", notices::channel_of(*options_), to_text(n)});
    const std::lock_guard lock(mutex_);
    if (loops_.empty()) return;
    asio::post(loops_.front().executor,
               [store = loops_.front().store, command = std::move(command)] {
                   if (const auto s = store.lock()) s->link().tell(command, 1);
               });
}

void edge::tell(const std::vector<change>& some) {
    // In this order: who looks something up sees one of the two.
    unwritten_.put(some, clock::now());
    ++heard_;
    const std::lock_guard lock(mutex_);
    if (const auto writer = writer_.lock()) writer->look();
}

void edge::tell_refused(const smtpclient::mailbox& recipient) {
    publish(notice::kind::refused, recipient.address());
}

void edge::tell_interlock(std::string_view domain, bool closed) {
    {
        const std::lock_guard lock(mutex_);
        if (closed) {
            closed_here_.emplace(domain);
        } else if (const auto at = closed_here_.find(domain); at != closed_here_.end()) {
            closed_here_.erase(at);
        }
    }
    publish(closed ? notice::kind::closed : notice::kind::open, domain, closed ? closure_holds : 0);
}

asio::awaitable<void> edge::repeat_interlocks(asio::any_io_executor executor) {
    asio::steady_timer timer(executor);
    for (;;) {
        timer.expires_after(between_repeats);
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await timer.async_wait(token);
        try {
            repeat_interlocks_once();
        } catch (const std::bad_alloc&) {
            // The next time, which is in time.
        }
    }
}

void edge::repeat_interlocks_once() {
    std::set<std::string, std::less<>> closed;
    {
        const std::lock_guard lock(mutex_);
        closed = closed_here_;
    }
    for (const auto& domain : closed) publish(notice::kind::closed, domain, closure_holds);
}

// Nothing is looked up on any loop until it has read the seed again.
void edge::outdate_seed() {
    const std::lock_guard lock(mutex_);
    for (const loop& l : loops_) {
        const auto store = l.store.lock();
        if (!store) continue;
        store->link().outdate_seed();
        asio::post(l.executor, [weak = l.store] {
            if (const auto s = weak.lock()) s->link().look_at_seed();
        });
    }
}

void edge::forget(change elsewhere) {
    unwritten_.outdate(elsewhere);
    ++heard_;
    changes_.put(std::move(elsewhere));
}

void edge::hear(const notice& n) {
    if (n.edge == name_) return;
    const auto domain = dns::domain::parse(n.name);
    const auto recipient = smtpclient::mailbox::parse(n.name);
    switch (n.what) {
        case notice::kind::forget:
            forget({change::kind::forget_address, n.name});
            return;
        case notice::kind::forget_domain:
            forget({change::kind::forget_domain, n.name});
            return;
        case notice::kind::forget_all:
            outdate_seed();  // first: who sees the other sees this
            forget({change::kind::forget_all, {}});
            return;
        case notice::kind::exists:
            // The store will have what was forgotten here after what was declared there.
            if (recipient && unwritten_.forgets(*recipient)) {
                forget({change::kind::forget_address, n.name});
                return;
            }
            ++heard_;
            changes_.put({change::kind::declare, n.name});
            return;
        case notice::kind::refused:
            if (recipient && count_) count_(*recipient);
            return;
        case notice::kind::closed:
            if (!domain) return;
            if (note_closed_ && !is_closed_elsewhere(domain->name())) note_closed_(domain->name());
            foreign_.close(domain->name(), n.edge, clock::now(), std::chrono::seconds(n.seconds));
            return;
        case notice::kind::open:
            if (domain) foreign_.open(domain->name(), n.edge);
            return;
    }
}

}  // namespace callforward::milter::fleet
