// Who is verified at all, and by which policy: INTERFACE section 2, [scope] and [domain."..."].
//
// Pure: everything an answer depends on is in the arguments; nothing here asks the network. Built
// once from a configuration and then only read, by any thread. A look-up costs as many hash
// look-ups as the domain has labels (or as there are different prefix lengths among the networks),
// however long the lists are.
#pragma once

#include "milter/envelope.h"
#include "milter/settings.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/verdict.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace callforward::milter {

struct list_origin {
    std::string entry;  // as written in the list, canonical
    std::string file;   // "" for the configuration itself
    int line = 0;
    bool negative = false;  // "!"
};

struct scope_decision {
    std::optional<smtpclient::reason> skip;  // nothing: the recipient is to be verified
    std::string_view list;                   // the key of [scope] that decided
    const list_origin* by = nullptr;         // its entry; the scope's own, and as long there
    std::string_view otherwise;              // where there is no entry

    // The entry that decided, and where: "domains: example.com (/etc/x:3)".
    [[nodiscard]] std::string rule() const;
};

class scope {
public:
    explicit scope(const settings& s);

    // Exemptions first (client, login, sender, recipient), then aliases, then the enable list.
    [[nodiscard]] scope_decision decide(const envelope& e,
                                        const smtpclient::mailbox& recipient) const;

private:
    struct text_hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };
    // Most of what is looked for is not there, and told by its length alone.
    class table {
    public:
        // Nothing is changed, and second false, when the key is there.
        std::pair<list_origin*, bool> try_emplace(std::string key, const list_origin& from);
        [[nodiscard]] const list_origin* find(std::string_view key) const;
        [[nodiscard]] bool empty() const { return all_.empty(); }

    private:
        static std::uint64_t bit_of(std::size_t length) {
            return std::uint64_t{1} << std::min<std::size_t>(length, 63);
        }
        std::unordered_map<std::string, list_origin, text_hash, std::equal_to<>> all_;
        std::uint64_t lengths_ = 0;  // bit_of() each key's
    };
    struct prefix {  // all networks of one family and length
        bool is_v4 = true;
        unsigned length = 0;
        table networks;  // by the bytes of the address, the others zero
    };

    static void add(table& to, const list_entry& entry);
    static const list_origin* find_domain(const table& in, std::string_view name);
    void add_network(const listed_network& listed);
    [[nodiscard]] const list_origin* find_client(const dns::ip_address& address) const;
    [[nodiscard]] std::optional<scope_decision> exempt(const envelope& e,
                                                       const smtpclient::mailbox& recipient) const;

    bool exempt_authenticated_;
    table domains_;
    std::vector<prefix> clients_;  // longest prefix first
    table recipients_;
    table senders_;
    table aliases_;
};

// The policy of the recipient's domain: its own table, else that of the nearest ".suffix", else
// [policy].
[[nodiscard]] const policy& policy_for(const settings& s, const smtpclient::mailbox& recipient);

}  // namespace callforward::milter
