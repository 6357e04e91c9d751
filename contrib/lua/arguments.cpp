#include "arguments.h"

#include <cmath>
#include <cstring>

// Nothing in this file has a destructor: every function may be left by longjmp.
namespace callforward::lua {

namespace {

constexpr double longest = 86400;  // seconds; as in the tool

// The value on top of the stack, an argument of this name.
struct argument {
    lua_State* l;
    const char* function;
    const char* name;

    void must_be(const char* what) const {
        luaL_error(l,
                   "%s: argument '%s' must be %s, not %s",
                   function,
                   name,
                   what,
                   lua_type(l, -1) == LUA_TNUMBER || lua_type(l, -1) == LUA_TSTRING
                       ? lua_tostring(l, -1)
                       : luaL_typename(l, -1));
    }

    std::string_view text() const {
        if (lua_type(l, -1) != LUA_TSTRING) must_be("a string");
        std::size_t size = 0;
        const char* const bytes = lua_tolstring(l, -1, &size);
        return {bytes, size};
    }

    double number(double least, double most, bool whole, const char* what) const {
        // As everywhere in Lua, a string that is a number will do. lua_tonumber leaves it a string.
        const double n = lua_isnumber(l, -1) ? lua_tonumber(l, -1) : NAN;
        if (!(n >= least && n <= most) || (whole && n != std::floor(n))) must_be(what);
        return n;
    }

    double seconds() const {
        return number(0, longest, false, "a number of seconds, at most 86400");
    }

    double count() const { return number(0, 1e9, true, "a whole number, 0 for no limit"); }

    bool flag() const {
        if (lua_type(l, -1) != LUA_TBOOLEAN) must_be("true or false");
        return lua_toboolean(l, -1) != 0;
    }
};

// One string, or a list of them.
void take_texts(const argument& a, texts& into) {
    if (lua_type(a.l, -1) == LUA_TSTRING) {
        into.values[0] = a.text();
        into.count = 1;
        return;
    }
    if (!lua_istable(a.l, -1)) a.must_be("a string or a list of strings");
    for (into.count = 0;; ++into.count) {
        lua_rawgeti(a.l, -1, static_cast<int>(into.count + 1));
        if (lua_isnil(a.l, -1)) break;
        if (into.count == texts::most) {
            luaL_error(a.l, "%s: argument '%s' names too many", a.function, a.name);
        }
        into.values[into.count] = a.text();
        lua_pop(a.l, 1);
    }
    lua_pop(a.l, 1);
}

bool take(const argument& a, question& into) {
    const std::string_view name = a.name;
    if (name == "rcptto") {
        into.rcptto = a.text();
    } else if (name == "mailfrom") {
        into.mailfrom = a.text();
    } else if (name == "host") {
        into.host = a.text();
    } else if (name == "port") {
        into.port = a.number(1, 65535, true, "a port number, 1 to 65535");
    } else if (name == "timeout") {
        into.timeout = a.number(1e-9, longest, false, "a number of seconds, more than 0");
    } else if (name == "helo") {
        into.helo = a.text();
    } else if (name == "lmtp") {
        into.lmtp = a.flag();
    } else if (name == "tls") {
        into.tls = a.text();
    } else if (name == "tls_match") {
        take_texts(a, into.tls_match);
    } else if (name == "tls_fingerprints") {
        take_texts(a, into.tls_fingerprints);
    } else if (name == "tls_ca_file") {
        into.tls_ca_file = a.text();
    } else if (name == "source_address") {
        take_texts(a, into.source_address);
    } else {
        return false;
    }
    return true;
}

bool take(const argument& a, session_wishes& into) {
    const std::string_view name = a.name;
    if (name == "connections_per_host") {
        into.connections_per_host = a.count();
    } else if (name == "idle") {
        into.idle = a.seconds();
    } else if (name == "recipients_per_connection") {
        into.recipients_per_connection = a.count();
    } else if (name == "host_penalty") {
        into.host_penalty = a.seconds();
    } else if (name == "dns_servers") {
        take_texts(a, into.dns_servers);
    } else {
        return false;
    }
    return true;
}

template <typename Into>
void read(lua_State* l, int index, const char* function, bool list, const char* all, Into& into) {
    if (!lua_istable(l, index)) {
        luaL_error(l,
                   "%s: a table of named arguments is needed, not %s",
                   function,
                   luaL_typename(l, index));
    }
    lua_pushnil(l);
    while (lua_next(l, index) != 0) {
        if (lua_type(l, -2) == LUA_TNUMBER && list) {
            lua_pop(l, 1);
            continue;
        }
        const char* const name = lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : nullptr;
        if (name == nullptr || !take(argument{l, function, name}, into)) {
            luaL_error(l,
                       "%s: unknown argument '%s'; known are %s",
                       function,
                       name != nullptr ? name : luaL_typename(l, -2),
                       all);
        }
        lua_pop(l, 1);
    }
}

}  // namespace

void read_question(lua_State* l, int index, const char* function, bool list, question& into) {
    read(l,
         index,
         function,
         list,
         "mailfrom, rcptto, host, port, timeout, helo, lmtp, source_address, tls, tls_match, "
         "tls_fingerprints, tls_ca_file",
         into);
}

void require_recipient(lua_State* l, const char* function, const question& q) {
    if (q.rcptto.empty()) {
        luaL_error(l, "%s: argument 'rcptto' is missing: the recipient to ask about", function);
    }
}

void read_session(lua_State* l, int index, const char* function, session_wishes& into) {
    if (lua_isnoneornil(l, index)) return;
    read(l,
         index,
         function,
         false,
         "connections_per_host, idle, recipients_per_connection, host_penalty, dns_servers",
         into);
}

}  // namespace callforward::lua
