#include "milter/script.h"

#include "milter/script_state.h"
#include "milter/script_tables.h"

#include <lua.hpp>

#include <charconv>
#include <exception>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::size_t most_spare = 32;

// "policy:12: unexpected symbol" to line and words.
script_problem problem_of(std::string_view message) {
    script_problem problem;
    constexpr std::string_view begin = "policy:";
    if (message.starts_with(begin)) {
        const char* const end = message.data() + message.size();
        const auto [rest, error] =
            std::from_chars(message.data() + begin.size(), end, problem.line);
        if (error == std::errc{} && std::string_view(rest, end).starts_with(": ")) {
            problem.text = std::string(rest + 2, end);
            return problem;
        }
        problem.line = 0;
    }
    problem.text = message;
    return problem;
}

bool push_function(lua_State* l, const char* name) {
    if (lua_getglobal(l, name) == LUA_TFUNCTION) return true;
    lua_pop(l, 1);
    return false;
}

}  // namespace

policy_script::policy_script(std::string file, std::string text)
    : file_(std::move(file)), text_(std::move(text)) {}

policy_script::~policy_script() = default;

std::shared_ptr<const policy_script> policy_script::make(std::string file,
                                                         std::string text,
                                                         script_problem& problem) {
    const std::shared_ptr<policy_script> made(new policy_script(std::move(file), std::move(text)));
    std::string error;
    auto state = made->take(error);
    if (state) {
        const auto wrong = state->run([&](lua_State* l) {
            made->has_before_ = push_function(l, "before");
            made->has_after_ = push_function(l, "after");
        });
        error = wrong.value_or(std::string{});
    }
    if (!error.empty()) {
        problem = problem_of(error);
        return nullptr;
    }
    if (!made->has_before_ && !made->has_after_) {
        problem = {0, "defines neither a function before(envelope) nor after(envelope, verdict)"};
        return nullptr;
    }
    made->give_back(std::move(state));
    return made;
}

std::unique_ptr<script_state> policy_script::take(std::string& error) const {
    {
        const std::lock_guard lock(mutex_);
        if (!spare_.empty()) {
            auto state = std::move(spare_.back());
            spare_.pop_back();
            return state;
        }
    }
    try {
        auto fresh = std::make_unique<script_state>(script_bounds{});
        const auto wrong = fresh->load(text_);
        if (!wrong) return fresh;
        error = *wrong;
    } catch (const std::exception& e) {
        error = e.what();
    }
    return nullptr;
}

void policy_script::give_back(std::unique_ptr<script_state> used) const {
    const std::lock_guard lock(mutex_);
    if (spare_.size() < most_spare) spare_.push_back(std::move(used));
}

script_wishes policy_script::before(const script_subject& about, const policy& now) const {
    script_wishes wishes;
    if (!has_before_) return wishes;
    auto state = take(wishes.error);
    if (!state) return wishes;
    auto wrong = state->run([&](lua_State* l) {
        if (!push_function(l, "before")) luaL_error(l, "before is no function any more");
        push_envelope(l, about);
        lua_call(l, 1, 1);
        read_wishes(l, now, wishes);
    });
    if (wrong) return {std::move(*wrong), std::nullopt, nullptr};
    give_back(std::move(state));
    return wishes;
}

script_answer policy_script::after(const script_subject& about, const script_verdict& v) const {
    script_answer answer;
    if (!has_after_) return answer;
    auto state = take(answer.error);
    if (!state) return answer;
    auto wrong = state->run([&](lua_State* l) {
        if (!push_function(l, "after")) luaL_error(l, "after is no function any more");
        push_envelope(l, about);
        push_verdict(l, v);
        lua_call(l, 2, 1);
        read_answer(l, answer);
    });
    if (wrong) return {std::move(*wrong), std::nullopt, std::nullopt};
    give_back(std::move(state));
    return answer;
}

}  // namespace callforward::milter
