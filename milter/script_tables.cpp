#include "milter/script_tables.h"

#include "milter/settings_names.h"
#include "smtpclient/printable.h"

#include <lua.hpp>

#include <algorithm>
#include <span>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_shown = 200;

void set(lua_State* l, const char* name, std::string_view text) {
    if (text.empty()) return;  // unknown is nil
    lua_pushlstring(l, text.data(), text.size());
    lua_setfield(l, -2, name);
}

void set(lua_State* l, const char* name, lua_Integer number) {
    if (number == 0) return;
    lua_pushinteger(l, number);
    lua_setfield(l, -2, name);
}

void set(lua_State* l, const char* name, const std::vector<std::string>& list) {
    lua_createtable(l, static_cast<int>(list.size()), 0);
    for (std::size_t i = 0; i < list.size(); ++i) {
        lua_pushlstring(l, list[i].data(), list[i].size());
        lua_rawseti(l, -2, static_cast<lua_Integer>(i + 1));
    }
    lua_setfield(l, -2, name);
}

// The value on top of the stack, of this field of what a function answered.
struct field {
    lua_State* l;
    const char* function;
    std::string name;

    [[noreturn]] void fail(const std::string& what) const {
        const std::string words = std::string(function) + ": " + name + ' ' + what;
        lua_pushlstring(l, words.data(), words.size());
        lua_error(l);
        std::abort();  // not reached: lua_error throws
    }

    [[nodiscard]] std::string text() const {
        if (lua_type(l, -1) != LUA_TSTRING) fail("must be a string");
        std::size_t size = 0;
        const char* const bytes = lua_tolstring(l, -1, &size);
        return {bytes, size};
    }

    [[nodiscard]] std::string shown() const {
        return '"' + smtpclient::printable_utf8(text(), longest_shown) + '"';
    }

    template <class Names>
    [[nodiscard]] auto one_of(const Names& table) const {
        const std::string name_given = text();
        std::string all;
        for (const auto& [value, called] : table) {
            if (called == name_given) return value;
            all += (all.empty() ? "" : ", ") + std::string(called);
        }
        fail("= " + shown() + " is none of " + all);
    }
};

void read_hop(const field& from, policy& into) {
    std::string error;
    auto hop = smtpclient::parse_next_hop(from.text(), error);
    if (!hop) from.fail("has a bad next hop: " + error);
    into.hops.push_back(std::move(*hop));
}

void read_route(const field& from, policy& into) {
    into.hops.clear();
    into.route = route_choice::list;
    if (lua_type(from.l, -1) == LUA_TTABLE) {
        const auto count = lua_rawlen(from.l, -1);
        if (count == 0) from.fail("is a list without a next hop");
        for (lua_Integer i = 1; i <= static_cast<lua_Integer>(count); ++i) {
            lua_rawgeti(from.l, -1, i);
            read_hop(from, into);
            lua_pop(from.l, 1);
        }
        return;
    }
    const std::string text = from.text();
    if (text == "mta" || text == "mx") {
        into.route = text == "mta" ? route_choice::mta : route_choice::mx;
    } else {
        read_hop(from, into);
    }
}

void read_sender(const field& from, policy& into) {
    if (choose_sender(from.text(), into)) return;
    from.fail("must be \"original\", \"null\" or an address, not " + from.shown());
}

std::string read_skip(const field& from) {
    if (lua_type(from.l, -1) == LUA_TBOOLEAN) return {};
    return smtpclient::printable_utf8(from.text(), longest_shown);
}

// Each field of the table on top of the stack is given to `take`, which is false for a stranger.
template <typename Take>
void each_field(lua_State* l, const char* function, const char* known, const Take& take) {
    if (lua_isnoneornil(l, -1)) return;
    if (lua_type(l, -1) != LUA_TTABLE) {
        luaL_error(l, "%s must answer nil or a table, not %s", function, luaL_typename(l, -1));
    }
    lua_pushnil(l);
    while (lua_next(l, -2) != 0) {
        const field one{
            l, function, lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : "a list's field"};
        if (!take(one)) one.fail(std::string("is not known; known are ") + known);
        lua_pop(l, 1);
    }
}

}  // namespace

void push_envelope(lua_State* l, const script_subject& about) {
    const envelope& e = about.envelope;
    lua_createtable(l, 0, 16);
    set(l, "rcpt", about.rcpt);
    if (about.recipient != nullptr) {
        set(l, "local_part", about.recipient->local_part());
        set(l,
            "domain",
            about.recipient->domain() ? std::string_view(about.recipient->domain()->name())
                                      : about.recipient->domain_part());
    }
    set(l, "sender", about.sender);
    set(l, "parameters", e.mail_parameters);
    set(l, "client_address", e.client_address);
    set(l, "client_name", e.client_name);
    set(l, "client_port", e.client_port);
    set(l, "authenticated", e.authenticated);
    set(l, "queue_id", e.queue_id);
    set(l, "mta", e.mta.version);
    set(l, "hostname", e.mta.hostname);
    set(l, "mailer", e.rcpt_mailer);
    set(l, "host", e.rcpt_host);
    set(l, "address", e.rcpt_address);
}

void push_verdict(lua_State* l, const script_verdict& about) {
    const smtpclient::verdict& v = about.verdict;
    lua_createtable(l, 0, 16);
    set(l, "outcome", to_string(v.outcome()));
    set(l, "reason", to_string(v.finding.reason));
    set(l, "class", to_string(v.finding.verdict_class));
    if (v.stage != smtpclient::stage::none) set(l, "stage", to_string(v.stage));
    std::string words;
    if (v.reply) {
        set(l, "code", lua_Integer{v.reply->code});
        if (const auto enhanced = v.reply->enhanced()) set(l, "enhanced", to_string(*enhanced));
        words = v.reply->text();
    }
    set(l, "text", smtpclient::printable_utf8(words.empty() ? v.detail : words));
    set(l, "host", v.host);
    set(l, "address", v.address);
    set(l, "port", lua_Integer{v.port});
    if (v.tls) {
        lua_createtable(l, 0, 4);
        set(l, "version", v.tls->version);
        set(l, "cipher", v.tls->cipher);
        lua_pushboolean(l, v.tls->verified ? 1 : 0);
        lua_setfield(l, -2, "verified");
        set(l, "by", v.tls->by);
        lua_setfield(l, -2, "tls");
    }
    if (!v.mx.empty()) set(l, "mx", v.mx);
    set(l, "source", to_string(about.source));
    set(l, "action", to_string(about.action));
}

void read_wishes(lua_State* l, const policy& now, script_wishes& into) {
    auto changed = std::make_shared<policy>(now);
    bool any = false;
    each_field(l, "before", "skip, mode, route, sender", [&](const field& one) {
        if (one.name == "skip") {
            if (lua_type(l, -1) != LUA_TBOOLEAN || lua_toboolean(l, -1)) into.skip = read_skip(one);
            return true;
        }
        any = true;
        if (one.name == "mode") {
            changed->mode = one.one_of(policy_mode_names);
        } else if (one.name == "route") {
            read_route(one, *changed);
        } else if (one.name == "sender") {
            read_sender(one, *changed);
        } else {
            return false;
        }
        return true;
    });
    if (!any) return;
    changed->fingerprint = verdict_fingerprint(*changed);
    into.by = std::move(changed);
}

void read_answer(lua_State* l, script_answer& into) {
    each_field(l, "after", "action, text", [&](const field& one) {
        if (one.name == "action") {
            into.action = one.one_of(action_names);
        } else if (one.name == "text") {
            into.text = one.text();
        } else {
            return false;
        }
        return true;
    });
}

}  // namespace callforward::milter
