#include "milter/scope.h"

#include "smtpclient/printable.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace callforward::milter {

namespace {

using smtpclient::mailbox;
using smtpclient::reason;

using address_key = std::array<char, std::tuple_size_v<dns::ip_address::bytes_v6>>;

// The address with all bits beyond the prefix cleared: equal for all addresses of one network.
address_key network_key(const dns::ip_address& address, unsigned length) {
    const auto bytes = address.v6();
    address_key key{};
    std::copy(bytes.begin(), bytes.end(), key.begin());
    unsigned bits = length + (address.is_v4() ? 96 : 0);
    for (char& c : key) {
        const unsigned here = std::min(bits, 8U);
        c = static_cast<char>(static_cast<unsigned char>(c) & (0xffU << (8 - here)));
        bits -= here;
    }
    return key;
}

std::string_view text_of(const address_key& key) {
    return {key.data(), key.size()};
}

// A mailbox in lower case, without a place on the heap: it is looked up with each RCPT.
class lower_case_key {
public:
    explicit lower_case_key(const mailbox& m) : lower_case_key(m, m.local_part()) {}
    // As if that were its local part: it must be no longer.
    lower_case_key(const mailbox& m, std::string_view local_part) {
        add(local_part);
        local_size_ = size_;
        add("@");
        if (m.domain()) add(m.domain()->name());
        if (m.literal()) add('[' + m.literal()->text() + ']');
    }
    [[nodiscard]] std::string_view address() const { return {text_.data(), size_}; }
    [[nodiscard]] std::string_view local_part() const { return {text_.data(), local_size_}; }
    // "@example.com"
    [[nodiscard]] std::string_view domain() const { return address().substr(local_size_); }

private:
    void add(std::string_view part) {
        size_ += smtpclient::to_lower(part, text_.data() + size_, text_.size() - size_);
    }

    std::array<char, mailbox::longest + 256> text_;  // a local part, and a name of 253 bytes
    std::size_t size_ = 0;
    std::size_t local_size_ = 0;
};

// Calls back with the mailbox and, where that finds nothing, with the mailbox without its address
// extension, as Postfix looks up virtual(5) and access(5), which our lists stand for. The MTA does
// not tell its recipient_delimiter: the usual one is taken. What begins with it has no extension,
// for nobody is called "".
template <class Find>
const list_origin* with_and_without_extension(const mailbox& m, Find find) {
    if (const list_origin* by = find(lower_case_key(m))) return by;
    const std::string_view local_part = m.local_part();
    const auto plus = local_part.find('+');
    if (plus == 0 || plus == std::string_view::npos) return nullptr;
    return find(lower_case_key(m, local_part.substr(0, plus)));
}

// Calls back with each ".suffix" of the name, the longest first, until one is found.
template <class Find>
auto longest_suffix(std::string_view name, Find find) -> decltype(find(name)) {
    for (auto dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
        if (const auto found = find(name.substr(dot))) return found;
    }
    return {};
}

}  // namespace

scope::scope(const settings& s) : exempt_authenticated_(s.scope.exempt_authenticated) {
    for (const list_entry& entry : s.scope.domains) add(domains_, entry);
    for (const listed_network& listed : s.scope.exempt_clients) add_network(listed);
    std::sort(clients_.begin(), clients_.end(), [](const prefix& a, const prefix& b) {
        return a.length > b.length;
    });
    for (const list_entry& entry : s.scope.exempt_recipients) add(recipients_, entry);
    for (const list_entry& entry : s.scope.exempt_senders) add(senders_, entry);
    for (const list_entry& entry : s.routing.virtual_aliases) add(aliases_, entry);
}

// The first of equal entries stays, but "!" wins.
void scope::add(table& to, const list_entry& entry) {
    const bool negative = entry.text.starts_with('!');
    list_origin from{entry.text, entry.file, entry.line, negative};
    const auto [spot, is_new] = to.try_emplace(entry.text.substr(negative ? 1 : 0), from);
    if (!is_new && negative && !spot->negative) *spot = std::move(from);
}

void scope::add_network(const listed_network& listed) {
    const dns::ip_address& base = listed.network.base();
    const unsigned length = listed.network.prefix_length();
    auto level = std::find_if(clients_.begin(), clients_.end(), [&](const prefix& p) {
        return p.is_v4 == base.is_v4() && p.length == length;
    });
    if (level == clients_.end()) {
        level = clients_.insert(clients_.end(), prefix{base.is_v4(), length, {}});
    }
    level->networks.try_emplace(
        std::string(text_of(network_key(base, length))),
        list_origin{listed.network.text(), listed.file, listed.line, false});
}

std::pair<list_origin*, bool> scope::table::try_emplace(std::string key, const list_origin& from) {
    lengths_ |= bit_of(key.size());
    const auto [spot, is_new] = all_.try_emplace(std::move(key), from);
    return {&spot->second, is_new};
}

const list_origin* scope::table::find(std::string_view key) const {
    if ((lengths_ & bit_of(key.size())) == 0) return nullptr;
    const auto found = all_.find(key);
    return found == all_.end() ? nullptr : &found->second;
}

const list_origin* scope::find_domain(const table& in, std::string_view name) {
    if (const list_origin* exact = in.find(name)) return exact;
    return longest_suffix(name, [&](std::string_view suffix) { return in.find(suffix); });
}

const list_origin* scope::find_client(const dns::ip_address& address) const {
    for (const prefix& level : clients_) {
        if (level.is_v4 != address.is_v4()) continue;
        const auto key = network_key(address, level.length);
        if (const list_origin* by = level.networks.find(text_of(key))) return by;
    }
    return nullptr;
}

std::string scope_decision::rule() const {
    std::string text = std::string(list) + ": ";
    if (by == nullptr) return text.append(otherwise);
    text += by->entry;
    if (!by->file.empty()) text += " (" + by->file + ':' + std::to_string(by->line) + ')';
    return text;
}

std::optional<scope_decision> scope::exempt(const envelope& e, const mailbox& recipient) const {
    if (e.client_address.empty()) {
        return scope_decision{
            reason::exempt, "exempt_clients", nullptr, "no client: local submission"};
    }
    if (!clients_.empty() && e.client()) {
        if (const list_origin* by = find_client(*e.client())) {
            return scope_decision{reason::exempt, "exempt_clients", by, {}};
        }
    }
    if (exempt_authenticated_ && !e.authenticated.empty()) {
        return scope_decision{
            reason::exempt, "exempt_authenticated", nullptr, "the client has logged in"};
    }
    if (!senders_.empty()) {
        if (e.mail == "<>") {
            if (const list_origin* by = senders_.find(e.mail)) {
                return scope_decision{reason::exempt, "exempt_senders", by, {}};
            }
        } else if (const mailbox* const sender = e.sender()) {
            const list_origin* by = senders_.find(smtpclient::to_lower(sender->key()));
            if (by == nullptr && sender->domain()) {
                by = find_domain(senders_, sender->domain()->name());
            }
            if (by != nullptr) return scope_decision{reason::exempt, "exempt_senders", by, {}};
        }
    }
    if (recipients_.empty()) return std::nullopt;
    const list_origin* by = with_and_without_extension(recipient, [&](const lower_case_key& key) {
        const list_origin* whole = recipients_.find(key.address());
        return whole != nullptr ? whole : recipients_.find(key.local_part());
    });
    if (by != nullptr) return scope_decision{reason::exempt, "exempt_recipients", by, {}};
    return std::nullopt;
}

scope_decision scope::decide(const envelope& e, const mailbox& recipient) const {
    if (const auto exempted = exempt(e, recipient)) return *exempted;
    if (!aliases_.empty()) {
        const list_origin* by = with_and_without_extension(
            recipient, [&](const lower_case_key& key) { return aliases_.find(key.address()); });
        if (by == nullptr && recipient.domain()) {
            by = aliases_.find(lower_case_key(recipient, {}).domain());
        }
        if (by != nullptr) return scope_decision{reason::alias, "virtual_aliases", by, {}};
    }
    const list_origin* by =
        recipient.domain() ? find_domain(domains_, recipient.domain()->name()) : nullptr;
    if (by == nullptr) by = domains_.find("*");
    scope_decision decision{reason::not_in_scope, "domains", by, "no entry matches"};
    if (by != nullptr && !by->negative) decision.skip.reset();
    return decision;
}

const policy& policy_for(const settings& s, const mailbox& recipient) {
    if (!recipient.domain()) return s.default_policy;
    const auto find = [&](std::string_view name) -> const policy* {
        const auto found = s.domain_policies.find(name);
        return found == s.domain_policies.end() ? nullptr : &found->second;
    };
    const std::string_view name = recipient.domain()->name();
    const policy* its = find(name);
    if (its == nullptr) its = longest_suffix(name, find);
    return its == nullptr ? s.default_policy : *its;
}

}  // namespace callforward::milter
