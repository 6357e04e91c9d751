#include "dns/ares_resolver.h"

#include "dns/answer_cache.h"
#include "dns/exchange.h"
#include "dns/message.h"
#include "dns/query_counts.h"
#include "dns/server_list.h"

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace callforward::dns {

namespace {

using steady = std::chrono::steady_clock;

// Messages asked for one question: a CNAME chain that is spread over more is not followed to its
// end.
constexpr int max_messages = 12;

// Who has addresses of one family waits so long for the other's (RFC 8305 section 3 has less, for
// people who wait): some servers never answer for AAAA.
constexpr std::chrono::milliseconds other_family{500};

template <class Record>
answer<Record> nothing_known(const domain& asked, std::string_view why) {
    answer<Record> out;
    out.canonical = asked.name();
    out.why = why;
    return out;
}

template <class Record>
reading<Record> read(const std::vector<std::uint8_t>& untrusted,
                     const domain& asked,
                     record_type type);
template <>
reading<mx> read(const std::vector<std::uint8_t>& untrusted, const domain& asked, record_type) {
    return read_mail_exchangers(untrusted, asked);
}
template <>
reading<ip_address> read(const std::vector<std::uint8_t>& untrusted,
                         const domain& asked,
                         record_type type) {
    return read_addresses(untrusted, asked, type);
}

template <>
reading<tlsa> read(const std::vector<std::uint8_t>& untrusted, const domain& asked, record_type) {
    return read_tlsa(untrusted, asked);
}
template <>
reading<std::string> read(const std::vector<std::uint8_t>& untrusted,
                          const domain& asked,
                          record_type) {
    return read_texts(untrusted, asked);
}

bool believes_ad(trust_in_ad trust, const std::string& servers) {
    switch (trust) {
        case trust_in_ad::automatic:
            return all_on_loopback(servers);
        case trust_in_ad::yes:
            return true;
        case trust_in_ad::no:
            break;
    }
    return false;
}

bool is_localhost(const domain& name) {
    return name.name() == "localhost" || name.name().ends_with(".localhost");
}

// RFC 6761 section 6.3: never a question for a server.
answer<ip_address> localhost(const domain& name) {
    answer<ip_address> out;
    out.status = status::found;
    ip_address::bytes_v6 one{};
    one.back() = 1;
    out.records = {ip_address(ip_address::bytes_v4{127, 0, 0, 1}), ip_address(one)};
    out.canonical = name.name();
    return out;
}

answer<ip_address> merge_found(answer<ip_address> v4, answer<ip_address> v6) {
    if (v6.status != status::found) return v4;
    if (v4.status != status::found) return v6;
    for (const ip_address& address : v6.records)
        if (std::find(v4.records.begin(), v4.records.end(), address) == v4.records.end())
            v4.records.push_back(address);
    v4.ttl = std::min(v4.ttl, v6.ttl);
    v4.secure = v4.secure && v6.secure;
    return v4;
}

// See resolver.h for the order of precedence. A name without one type and "without existing" by the
// other exists.
answer<ip_address> merge(answer<ip_address> v4, answer<ip_address> v6) {
    if (v4.status == status::found || v6.status == status::found)
        return merge_found(std::move(v4), std::move(v6));
    if (v4.status == status::unavailable) return v4;
    if (v6.status == status::unavailable) return v6;
    answer<ip_address> out = v4.status == status::no_data ? v4 : v6;
    out.ttl = std::min(v4.ttl, v6.ttl);
    out.secure = v4.secure && v6.secure;
    return out;
}

// A question being asked. Shared by the one who asks and all who wait.
template <class Record>
struct pending {
    explicit pending(const asio::any_io_executor& executor)
        : answered(executor, steady::time_point::max()) {}

    asio::steady_timer answered;  // expires when it is
    std::optional<answer<Record>> what;
};

bool is_found(const pending<ip_address>& question) {
    return question.what && question.what->status == status::found;
}

template <class Record>
using shared_pending = std::shared_ptr<pending<Record>>;

// All questions of one type: those answered, and those under way.
template <class Record>
struct question_table {
    question_table(record_type t, std::size_t capacity) : type(t), answered(capacity) {}

    record_type type;
    answer_cache<Record> answered;
    std::map<std::string, shared_pending<Record>> under_way;
};

// A question is under way as long as the coroutine that asks it, even when the event loop destroys
// that unfinished.
template <class Record>
class under_way_entry {
public:
    // `table` shares the implementation that it is a part of: a frame destroyed unfinished may have
    // let go of it already.
    under_way_entry(std::shared_ptr<question_table<Record>> table,
                    const domain& name,
                    const shared_pending<Record>& question)
        : table_(std::move(table)), name_(name.name()) {
        table_->under_way.emplace(name_, question);
    }
    under_way_entry(const under_way_entry&) = delete;
    under_way_entry& operator=(const under_way_entry&) = delete;
    ~under_way_entry() { table_->under_way.erase(name_); }

private:
    std::shared_ptr<question_table<Record>> table_;
    std::string name_;
};

template <class Record>
using unique_entry = std::unique_ptr<under_way_entry<Record>>;

}  // namespace

class ares_resolver::implementation {
public:
    using shared = std::shared_ptr<implementation>;

    implementation(asio::any_io_executor executor, const resolver_options& options)
        : wire_(std::move(executor), options.servers),
          timeout_(options.timeout),
          believes_ad_(believes_ad(options.trust_ad, wire_.servers())),
          mail_(record_type::mx, options.cache_capacity / 2),
          v4_(record_type::a, options.cache_capacity / 4),
          v6_(record_type::aaaa, options.cache_capacity / 4),
          tlsa_(record_type::tlsa, options.cache_capacity / 4),
          texts_(record_type::txt, options.cache_capacity / 4) {}

    // Static, with a share of their own: the resolver may be gone before they end.
    static asio::awaitable<answer<mx>> mail_exchangers(shared self, domain of);
    static asio::awaitable<answer<ip_address>> addresses(shared self, domain of);
    static asio::awaitable<answer<tlsa>> tlsa_records(shared self, domain of, std::uint16_t port);
    static asio::awaitable<answer<std::string>> texts(shared self, domain of);

    void stop() { wire_.stop(); }

private:
    template <class Record>
    static shared_pending<Record> ask(const shared& self,
                                      question_table<Record>& table,
                                      const domain& name);
    template <class Record>
    static asio::awaitable<answer<Record>> wait_for(shared_pending<Record> question, domain name);
    // Until the first of two, which the caller keeps.
    static asio::awaitable<void> wait_for_one(asio::steady_timer& a, asio::steady_timer& b);
    static asio::awaitable<answer<ip_address>> wait_for_other(shared_pending<ip_address> other,
                                                              domain name);
    template <class Record>
    static asio::awaitable<void> look_up(shared self,
                                         question_table<Record>& table,
                                         domain name,
                                         shared_pending<Record> question,
                                         unique_entry<Record> entry);
    template <class Record>
    asio::awaitable<answer<Record>> follow(domain name, record_type type);

    transport wire_;
    std::chrono::milliseconds timeout_;
    bool believes_ad_;
    question_table<mx> mail_;
    question_table<ip_address> v4_;
    question_table<ip_address> v6_;
    question_table<tlsa> tlsa_;
    question_table<std::string> texts_;
};

template <class Record>
shared_pending<Record> ares_resolver::implementation::ask(const shared& self,
                                                          question_table<Record>& table,
                                                          const domain& name) {
    if (const auto at = table.under_way.find(name.name()); at != table.under_way.end())
        return at->second;
    auto question = std::make_shared<pending<Record>>(self->wire_.executor());
    question->what = table.answered.find(name.name(), steady::now());
    if (question->what) return question;
    auto entry = std::make_unique<under_way_entry<Record>>(
        std::shared_ptr<question_table<Record>>(self, &table), name, question);
    // On its own, so that it goes on for the others when the one who asked first loses patience.
    asio::co_spawn(self->wire_.executor(),
                   look_up<Record>(self, table, name, question, std::move(entry)),
                   asio::detached);
    return question;
}

template <class Record>
asio::awaitable<answer<Record>> ares_resolver::implementation::wait_for(
    shared_pending<Record> question, domain name) {
    asio::error_code cancelled;
    if (!question->what)
        co_await question->answered.async_wait(
            asio::redirect_error(asio::use_awaitable, cancelled));
    if (!question->what) co_return nothing_known<Record>(name, "cancelled");
    co_return *question->what;
}

asio::awaitable<void> ares_resolver::implementation::wait_for_one(asio::steady_timer& a,
                                                                  asio::steady_timer& b) {
    using namespace asio::experimental::awaitable_operators;
    asio::error_code ignored_a;
    asio::error_code ignored_b;
    auto either = a.async_wait(asio::redirect_error(asio::use_awaitable, ignored_a)) ||
                  b.async_wait(asio::redirect_error(asio::use_awaitable, ignored_b));
    co_await std::move(either);
}

// For a while only; what comes later is kept for the next question.
asio::awaitable<answer<ip_address>> ares_resolver::implementation::wait_for_other(
    shared_pending<ip_address> other, domain name) {
    asio::steady_timer patience(other->answered.get_executor(), other_family);
    if (!other->what) co_await wait_for_one(other->answered, patience);
    if (!other->what) co_return nothing_known<ip_address>(name, "no answer in time");
    co_return *other->what;
}

template <class Record>
asio::awaitable<void> ares_resolver::implementation::look_up(shared self,
                                                             question_table<Record>& table,
                                                             domain name,
                                                             shared_pending<Record> question,
                                                             unique_entry<Record>) {
    // Nothing when there is no memory to say why: who waits is woken all the same.
    std::optional<answer<Record>> what;
    try {
        auto found = co_await self->follow<Record>(name, table.type);
        what = std::move(found);
        table.answered.keep(name.name(), *what, steady::now());
    } catch (const std::exception& e) {
        what.reset();
        try {
            what = nothing_known<Record>(name, e.what());
        } catch (const std::bad_alloc&) {
        }
    }
    if (what) query_counts::of_process().count(table.type, what->status);
    question->what = std::move(what);
    // Also for who begins to wait only now, and finds nothing.
    question->answered.expires_at(steady::time_point::min());
}

// Asks, and asks again for the target of a CNAME that came without it (RFC 1034 section 3.6.2).
template <class Record>
asio::awaitable<answer<Record>> ares_resolver::implementation::follow(domain name,
                                                                      record_type type) {
    const steady::time_point deadline = steady::now() + timeout_;
    domain current = name;
    std::set<std::string> asked;
    std::chrono::seconds ttl = std::chrono::seconds::max();
    bool secure = believes_ad_;
    for (int messages = 0; messages < max_messages; ++messages) {
        if (!asked.insert(current.name()).second)
            co_return nothing_known<Record>(name, "CNAME loop");
        const wire_reply reply = co_await wire_.ask(current, type, deadline);
        if (reply.message.empty()) co_return nothing_known<Record>(name, reply.why);
        reading<Record> read_so_far = read<Record>(reply.message, current, type);
        ttl = std::min(ttl, read_so_far.answer.ttl);
        secure = secure && read_so_far.answer.secure;
        if (!read_so_far.ask_next) {
            read_so_far.answer.ttl = ttl;
            read_so_far.answer.secure = secure;
            co_return read_so_far.answer;
        }
        current = *read_so_far.ask_next;
    }
    co_return nothing_known<Record>(name, "too many CNAMEs");
}

asio::awaitable<answer<mx>> ares_resolver::implementation::mail_exchangers(shared self, domain of) {
    shared_pending<mx> question = ask(self, self->mail_, of);
    answer<mx> out = co_await wait_for<mx>(question, of);
    co_return out;
}

asio::awaitable<answer<ip_address>> ares_resolver::implementation::addresses(shared self,
                                                                             domain of) {
    if (is_localhost(of)) co_return localhost(of);
    shared_pending<ip_address> four = ask(self, self->v4_, of);
    shared_pending<ip_address> six = ask(self, self->v6_, of);
    if (!four->what && !six->what) co_await wait_for_one(four->answered, six->answered);
    if (is_found(*four)) {
        answer<ip_address> late = co_await wait_for_other(six, of);
        co_return merge(*four->what, std::move(late));
    }
    if (is_found(*six)) {
        answer<ip_address> late = co_await wait_for_other(four, of);
        co_return merge(std::move(late), *six->what);
    }
    answer<ip_address> v4 = co_await wait_for<ip_address>(four, of);
    answer<ip_address> v6 = co_await wait_for<ip_address>(six, of);
    co_return merge(std::move(v4), std::move(v6));
}

asio::awaitable<answer<tlsa>> ares_resolver::implementation::tlsa_records(shared self,
                                                                          domain of,
                                                                          std::uint16_t port) {
    const auto name = domain::parse('_' + std::to_string(port) + "._tcp." + of.name());
    if (!name) {  // too long: nothing can be published there
        answer<tlsa> none;
        none.status = status::no_such_name;
        co_return none;
    }
    shared_pending<tlsa> question = ask(self, self->tlsa_, *name);
    answer<tlsa> out = co_await wait_for<tlsa>(question, *name);
    co_return out;
}

asio::awaitable<answer<std::string>> ares_resolver::implementation::texts(shared self, domain of) {
    shared_pending<std::string> question = ask(self, self->texts_, of);
    answer<std::string> out = co_await wait_for<std::string>(question, of);
    co_return out;
}

ares_resolver::ares_resolver(asio::any_io_executor executor, const resolver_options& options)
    : implementation_(std::make_shared<implementation>(std::move(executor), options)) {}

ares_resolver::~ares_resolver() {
    implementation_->stop();
}

asio::awaitable<answer<mx>> ares_resolver::mail_exchangers(domain of) {
    return implementation::mail_exchangers(implementation_, std::move(of));
}

asio::awaitable<answer<ip_address>> ares_resolver::addresses(domain of) {
    return implementation::addresses(implementation_, std::move(of));
}

asio::awaitable<answer<tlsa>> ares_resolver::tlsa_records(domain of, std::uint16_t port) {
    return implementation::tlsa_records(implementation_, std::move(of), port);
}

asio::awaitable<answer<std::string>> ares_resolver::texts(domain of) {
    return implementation::texts(implementation_, std::move(of));
}

}  // namespace callforward::dns
