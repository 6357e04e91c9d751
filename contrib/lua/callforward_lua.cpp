// local callforward = require("callforward"): see callforward-lua(3).
//
// For Lua 5.1, LuaJIT and Lua 5.4. Nothing in this file has a destructor: every function may be
// left by longjmp. What C++ owns is held by a userdata before anything can fail.
#include <lua.hpp>

#include "arguments.h"
#include "asking.h"

#if LUA_VERSION_NUM < 502
#define lua_rawlen lua_objlen
#define lua_pushglobaltable(l) lua_pushvalue(l, LUA_GLOBALSINDEX)
#endif

namespace callforward::lua {

namespace {

constexpr const char* answers_type = "callforward.answers";
constexpr const char* session_type = "callforward.session";

void set_text(lua_State* l, const char* name, const std::string& text) {
    if (text.empty()) return;
    lua_pushlstring(l, text.data(), text.size());
    lua_setfield(l, -2, name);
}

void set_number(lua_State* l, const char* name, std::int64_t number) {
    lua_pushinteger(l, static_cast<lua_Integer>(number));
    lua_setfield(l, -2, name);
}

void set_tls(lua_State* l, const tls_session& tls) {
    lua_createtable(l, 0, 4);
    set_text(l, "version", tls.version);
    set_text(l, "cipher", tls.cipher);
    lua_pushboolean(l, tls.verified ? 1 : 0);
    lua_setfield(l, -2, "verified");
    set_text(l, "by", tls.by);
    lua_setfield(l, -2, "tls");
}

// The fields of `callforward query --json`; what is unknown is nil.
void push_detail(lua_State* l, const query_result& r) {
    lua_createtable(l, 0, 14);
    set_text(l, "rcptto", r.rcptto);
    lua_pushlstring(l, r.mailfrom.data(), r.mailfrom.size());  // "" is the null sender
    lua_setfield(l, -2, "mailfrom");
    const std::string_view outcome = to_string(r.outcome);
    lua_pushlstring(l, outcome.data(), outcome.size());
    lua_setfield(l, -2, "outcome");
    set_text(l, "reason", r.reason);
    set_text(l, "stage", r.stage);
    if (r.code) set_number(l, "code", *r.code);
    set_text(l, "enhanced", r.enhanced);
    set_text(l, "text", r.text);
    set_text(l, "host", r.host);
    set_text(l, "address", r.address);
    if (r.port != 0) set_number(l, "port", r.port);
    if (r.tls) set_tls(l, *r.tls);
    if (!r.mx.empty()) {
        lua_createtable(l, static_cast<int>(r.mx.size()), 0);
        for (std::size_t i = 0; i < r.mx.size(); ++i) {
            lua_pushlstring(l, r.mx[i].data(), r.mx[i].size());
            lua_rawseti(l, -2, static_cast<int>(i + 1));
        }
        lua_setfield(l, -2, "mx");
    }
    set_number(l, "elapsed_ms", r.elapsed.count());
}

// true, nil, detail; or false, words, detail
void push_answer(lua_State* l, const answer& a) {
    const bool deliverable = a.result.outcome == outcome::deliverable;
    lua_pushboolean(l, deliverable ? 1 : 0);
    if (deliverable) {
        lua_pushnil(l);
    } else {
        lua_pushlstring(l, a.words.data(), a.words.size());
    }
    push_detail(l, a.result);
}

int collect_answers(lua_State* l) {
    auto** const held = static_cast<answers**>(lua_touserdata(l, 1));
    discard(*held);
    *held = nullptr;
    return 0;
}

// Leaves the userdata that owns them on the stack.
answers* ask_and_hold(
    lua_State* l, session* in, const char* function, const question* q, std::size_t n) {
    auto** const held = static_cast<answers**>(lua_newuserdata(l, sizeof(answers*)));
    *held = nullptr;
    luaL_getmetatable(l, answers_type);
    lua_setmetatable(l, -2);
    *held = ask(in, q, n);
    if (*held == nullptr) luaL_error(l, "%s: not enough memory", function);
    if (!(*held)->error.empty()) {
        lua_pushfstring(l, "%s: %s", function, (*held)->error.c_str());
        lua_error(l);
    }
    return *held;
}

void release(answers* a, lua_State* l, int holder) {
    *static_cast<answers**>(lua_touserdata(l, holder)) = nullptr;
    discard(a);
}

int query_in(lua_State* l, session* in, int index, const char* function) {
    lua_settop(l, index);
    question q;
    read_question(l, index, function, false, q);
    require_recipient(l, function, q);
    answers* const found = ask_and_hold(l, in, function, &q, 1);
    push_answer(l, found->all.front());
    release(found, l, index + 1);
    return 3;
}

int query_many_in(lua_State* l, session* in, int index, const char* function) {
    lua_settop(l, index);
    question base;
    read_question(l, index, function, true, base);
    const std::size_t count = lua_rawlen(l, index);
    auto* const questions =
        static_cast<question*>(lua_newuserdata(l, (count + 1) * sizeof(question)));
    for (std::size_t i = 0; i < count; ++i) {
        questions[i] = base;
        lua_rawgeti(l, index, static_cast<int>(i + 1));
        read_question(l, lua_gettop(l), function, false, questions[i]);
        lua_pop(l, 1);
        require_recipient(l, function, questions[i]);
    }
    answers* const found = ask_and_hold(l, in, function, questions, count);
    lua_createtable(l, static_cast<int>(count), 0);
    for (std::size_t i = 0; i < found->all.size(); ++i) {
        lua_createtable(l, 0, 3);
        push_answer(l, found->all[i]);
        lua_setfield(l, -4, "detail");
        lua_setfield(l, -3, "err");
        lua_setfield(l, -2, "res");
        lua_rawseti(l, -2, static_cast<int>(i + 1));
    }
    release(found, l, index + 2);
    return 1;
}

int query(lua_State* l) {
    return query_in(l, nullptr, 1, "callforward.query");
}
int query_many(lua_State* l) {
    return query_many_in(l, nullptr, 1, "callforward.query_many");
}

session* session_at(lua_State* l) {
    session* const s = *static_cast<session**>(luaL_checkudata(l, 1, session_type));
    if (s == nullptr) luaL_error(l, "callforward.session: the session is closed");
    return s;
}

int session_query(lua_State* l) {
    return query_in(l, session_at(l), 2, "callforward.session:query");
}

int session_query_many(lua_State* l) {
    return query_many_in(l, session_at(l), 2, "callforward.session:query_many");
}

int close(lua_State* l) {
    auto** const held = static_cast<session**>(luaL_checkudata(l, 1, session_type));
    close_session(*held);
    *held = nullptr;
    return 0;
}

int open(lua_State* l) {
    session_wishes wishes;
    read_session(l, 1, "callforward.session", wishes);
    auto** const held = static_cast<session**>(lua_newuserdata(l, sizeof(session*)));
    *held = nullptr;
    luaL_getmetatable(l, session_type);
    lua_setmetatable(l, -2);
    char error[200];
    *held = open_session(wishes, error, sizeof error);
    if (*held == nullptr) luaL_error(l, "callforward.session: %s", error);
    return 1;
}

void set_function(lua_State* l, const char* name, lua_CFunction f) {
    lua_pushcfunction(l, f);
    lua_setfield(l, -2, name);
}

// Replaces the table on top by the one that it has under this name, an empty new one where it has
// none. False, and the stack as it was, where it has something else.
bool enter_table(lua_State* l, const char* name) {
    lua_pushstring(l, name);
    lua_rawget(l, -2);
    if (lua_isnil(l, -1)) {
        lua_pop(l, 1);
        lua_createtable(l, 0, 1);
        lua_pushstring(l, name);
        lua_pushvalue(l, -2);
        lua_rawset(l, -4);
    }
    if (!lua_istable(l, -1)) {
        lua_pop(l, 1);
        return false;
    }
    lua_remove(l, -2);
    return true;
}

// A script for Momentum's module calls it by the global name, and needs no other change than its
// require line. Momentum's own module, or ours under that name, stays. Past metatables: some make
// globals that are not declared an error.
void name_as_momentum_does(lua_State* l) {
    const int top = lua_gettop(l);
    lua_pushglobaltable(l);
    if (enter_table(l, "msys") && enter_table(l, "beta")) {
        lua_pushliteral(l, "rcptto_proxy");
        lua_rawget(l, -2);
        if (lua_isnil(l, -1)) {
            lua_pop(l, 1);
            lua_pushliteral(l, "rcptto_proxy");
            lua_createtable(l, 0, 1);
            set_function(l, "query", query);
            lua_rawset(l, -3);
        }
    }
    lua_settop(l, top);
}

void make_types(lua_State* l) {
    luaL_newmetatable(l, answers_type);
    set_function(l, "__gc", collect_answers);
    lua_pop(l, 1);
    luaL_newmetatable(l, session_type);
    set_function(l, "__gc", close);
    set_function(l, "__close", close);
    lua_createtable(l, 0, 3);
    set_function(l, "query", session_query);
    set_function(l, "query_many", session_query_many);
    set_function(l, "close", close);
    lua_setfield(l, -2, "__index");
    lua_pushliteral(l, "callforward.session");  // getmetatable() gives nobody the functions above
    lua_setfield(l, -2, "__metatable");
    lua_pop(l, 1);
}

}  // namespace

}  // namespace callforward::lua

extern "C" CALLFORWARD_API int luaopen_callforward(lua_State* l) {
    using namespace callforward::lua;
    make_types(l);
    name_as_momentum_does(l);
    lua_createtable(l, 0, 4);
    set_function(l, "query", query);
    set_function(l, "query_many", query_many);
    set_function(l, "session", open);
    lua_pushstring(l, callforward::library_version());
    lua_setfield(l, -2, "version");
    return 1;
}
