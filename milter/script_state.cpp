#include "milter/script_state.h"

#include "milter/log.h"
#include "smtpclient/printable.h"

#include <lua.hpp>
#include <time.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <utility>

namespace callforward::milter {

// What is left for the call under way; the bytes are of the state's whole life.
struct script_budget {
    script_bounds bounds;
    std::size_t bytes = 0;
    std::int64_t instructions = 0;
    std::int64_t processor_until = 0;  // nanoseconds of this thread's time
    std::int64_t suspect_from = 0;     // of the monotonic clock, which costs less to read
    double steps = 0;
};

namespace {

constexpr int instructions_between_looks = 10;
constexpr std::size_t longest_words = 400;

std::int64_t nanoseconds_of(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return std::int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

script_budget& budget_of(lua_State* l) {
    return **static_cast<script_budget**>(lua_getextraspace(l));
}

void* allocate(void* data, void* block, std::size_t old_size, std::size_t size) {
    auto& budget = *static_cast<script_budget*>(data);
    if (block == nullptr) old_size = 0;  // then it tells the kind of object
    if (size == 0) {
        budget.bytes -= old_size;
        std::free(block);
        return nullptr;
    }
    if (size > old_size && budget.bytes + (size - old_size) > budget.bounds.bytes) return nullptr;
    void* const moved = std::realloc(block, size);
    if (moved != nullptr) budget.bytes += size - old_size;
    return moved;
}

void look(lua_State* l, lua_Debug* where);

// From now on every instruction raises it again: no pcall of the script outlives it.
// The line is of the function at `level`: 0 in a hook, 1 in what the script called.
void stop(lua_State* l, int level, const char* why) {
    lua_sethook(l, look, LUA_MASKCOUNT, 1);
    luaL_where(l, level);
    lua_pushfstring(l, "stopped: %s", why);
    lua_concat(l, 2);
    lua_error(l);
}

void look(lua_State* l, lua_Debug*) {
    auto& budget = budget_of(l);
    budget.instructions -= instructions_between_looks;
    if (budget.instructions <= 0) stop(l, 0, "too many instructions");
    if (budget.steps <= 0) stop(l, 0, "too much work in string functions");
    if (nanoseconds_of(CLOCK_MONOTONIC) < budget.suspect_from) return;
    if (nanoseconds_of(CLOCK_THREAD_CPUTIME_ID) > budget.processor_until) {
        stop(l, 0, "too much processor time");
    }
}

// String functions run without instructions, so they pay before they begin.
void charge(lua_State* l, double steps) {
    auto& budget = budget_of(l);
    budget.steps -= steps;
    if (budget.steps <= 0) stop(l, 1, "too much work in string functions");
}

// An upper bound of what Lua's backtracking matcher does: each item that may take more or less
// multiplies the work.
double steps_of(std::string_view pattern, std::size_t subject) {
    const double length = static_cast<double>(subject) + 1;
    double steps = pattern.starts_with('^') ? 1 : length;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        if (c == '*' || c == '+' || c == '-') steps *= length;
        if (c == '?') steps *= 2;
        if (c == '%' && i + 1 < pattern.size() && pattern[++i] == 'b') steps *= length;
    }
    return steps + length;
}

int call_upvalue(lua_State* l) {
    lua_pushvalue(l, lua_upvalueindex(1));
    lua_insert(l, 1);
    lua_call(l, lua_gettop(l) - 1, LUA_MULTRET);
    return lua_gettop(l);
}

int match_within_bounds(lua_State* l) {
    std::size_t subject = 0;
    std::size_t size = 0;
    luaL_checklstring(l, 1, &subject);
    const char* const pattern = luaL_checklstring(l, 2, &size);
    charge(l, steps_of({pattern, size}, subject));
    return call_upvalue(l);
}

int find_within_bounds(lua_State* l) {
    if (!lua_toboolean(l, 4)) return match_within_bounds(l);
    std::size_t subject = 0;
    std::size_t size = 0;
    luaL_checklstring(l, 1, &subject);
    luaL_checklstring(l, 2, &size);
    charge(l, static_cast<double>(subject + 1) * static_cast<double>(size + 1));
    return call_upvalue(l);
}

int repeat_within_bounds(lua_State* l) {
    std::size_t size = 0;
    luaL_checklstring(l, 1, &size);
    const auto times = static_cast<double>(luaL_checkinteger(l, 2));
    std::size_t between = 0;
    luaL_optlstring(l, 3, "", &between);
    if (times > 0) charge(l, times * static_cast<double>(size + between + 1));
    return call_upvalue(l);
}

int say(lua_State* l) {
    std::size_t size = 0;
    const char* const text = luaL_checklstring(l, 1, &size);
    charge(l, 1e6);  // a line costs others more than the script
    log::say(log_level::info,
             "policy script",
             {{"says", smtpclient::printable_utf8({text, size}, longest_words)}});
    return 0;
}

constexpr std::array base_functions{"assert",
                                    "error",
                                    "ipairs",
                                    "next",
                                    "pairs",
                                    "pcall",
                                    "rawequal",
                                    "rawlen",
                                    "select",
                                    "tonumber",
                                    "tostring",
                                    "type",
                                    "xpcall",
                                    "_VERSION"};
constexpr std::array string_functions{"byte",
                                      "char",
                                      "find",
                                      "format",
                                      "gmatch",
                                      "gsub",
                                      "len",
                                      "lower",
                                      "match",
                                      "rep",
                                      "reverse",
                                      "sub",
                                      "upper"};
constexpr std::array table_functions{"concat", "insert", "remove", "sort", "unpack"};
constexpr std::array os_functions{"clock", "date", "time"};

// The library's functions of these names, in a new table on top of the stack.
template <std::size_t Count>
void keep(lua_State* l, lua_CFunction library, const std::array<const char*, Count>& names) {
    lua_createtable(l, 0, static_cast<int>(Count));
    lua_pushcfunction(l, library);
    lua_call(l, 0, 1);
    for (const char* const name : names) {
        lua_getfield(l, -1, name);
        lua_setfield(l, -3, name);
    }
    lua_pop(l, 1);
}

void replace(lua_State* l, const char* name, lua_CFunction by) {
    lua_getfield(l, -1, name);
    lua_pushcclosure(l, by, 1);
    lua_setfield(l, -2, name);
}

void furnish(lua_State* l) {
    // luaopen_base writes into the globals; what is kept of it replaces them.
    keep(l, luaopen_base, base_functions);
    keep(l, luaopen_string, string_functions);
    for (const char* const name : {"match", "gmatch", "gsub"}) {
        replace(l, name, match_within_bounds);
    }
    replace(l, "find", find_within_bounds);
    replace(l, "rep", repeat_within_bounds);
    // s:find(...) looks here.
    lua_pushliteral(l, "");
    lua_getmetatable(l, -1);
    lua_pushvalue(l, -3);
    lua_setfield(l, -2, "__index");
    lua_pop(l, 2);
    lua_setfield(l, -2, "string");
    keep(l, luaopen_table, table_functions);
    lua_setfield(l, -2, "table");
    keep(l, luaopen_os, os_functions);
    lua_setfield(l, -2, "os");
    for (const auto& [name, library] :
         {std::pair<const char*, lua_CFunction>{"math", luaopen_math},
          std::pair<const char*, lua_CFunction>{"utf8", luaopen_utf8}}) {
        lua_pushcfunction(l, library);
        lua_call(l, 0, 1);
        lua_setfield(l, -2, name);
    }
    lua_pushcfunction(l, say);
    lua_setfield(l, -2, "log");
    lua_pushvalue(l, -1);
    lua_setfield(l, -2, "_G");
    lua_rawseti(l, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

int call_function(lua_State* l) {
    const auto& f = *static_cast<const std::function<void(lua_State*)>*>(lua_touserdata(l, 1));
    lua_settop(l, 0);
    f(l);
    return 0;
}

}  // namespace

script_state::script_state(const script_bounds& bounds)
    : budget_(std::make_unique<script_budget>()) {
    budget_->bounds = bounds;
    lua_ = lua_newstate(allocate, budget_.get());
    if (lua_ == nullptr) throw std::bad_alloc();
    *static_cast<script_budget**>(lua_getextraspace(lua_)) = budget_.get();
    if (const auto wrong = run(furnish)) {
        lua_close(lua_);
        throw std::runtime_error(*wrong);
    }
}

script_state::~script_state() {
    lua_close(lua_);
}

std::optional<std::string> script_state::run(const std::function<void(lua_State*)>& f) {
    constexpr std::int64_t nanoseconds = 1000000;  // of a millisecond
    auto& budget = *budget_;
    const auto time = budget.bounds.processor_milliseconds * nanoseconds;
    budget.instructions = budget.bounds.instructions;
    budget.steps = budget.bounds.pattern_steps;
    budget.suspect_from = nanoseconds_of(CLOCK_MONOTONIC) + time;
    budget.processor_until = nanoseconds_of(CLOCK_THREAD_CPUTIME_ID) + time;
    lua_sethook(lua_, look, LUA_MASKCOUNT, instructions_between_looks);
    lua_settop(lua_, 0);
    // Light C functions and light userdata need no memory, so that nothing is thrown out here.
    lua_pushcfunction(lua_, call_function);
    lua_pushlightuserdata(lua_, const_cast<void*>(static_cast<const void*>(&f)));
    if (lua_pcall(lua_, 1, 0, 0) == LUA_OK) return std::nullopt;
    const char* const words =
        lua_type(lua_, -1) == LUA_TSTRING ? lua_tostring(lua_, -1) : "an error without words";
    return smtpclient::printable_utf8(words, longest_words);
}

std::optional<std::string> script_state::load(std::string_view text) {
    return run([&](lua_State* l) {
        if (luaL_loadbufferx(l, text.data(), text.size(), "=policy", "t") != LUA_OK) {
            lua_error(l);
        }
        lua_call(l, 0, 0);
    });
}

}  // namespace callforward::milter
