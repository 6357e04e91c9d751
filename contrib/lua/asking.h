// The C++ half of the Lua module: questions in, answers out, and no Lua.
//
// Lua leaves a C function by longjmp when anything goes wrong, memory included, and no destructor
// is run then. So the Lua half (callforward_lua.cpp) has only values without destructors on its
// stack, and whatever owns something lives here, behind a pointer that a userdata with __gc holds.
// Nothing here throws. Views in a question must live until the call returns.
#pragma once

#include <callforward/callforward.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::lua {

struct texts {
    static constexpr std::size_t most = 16;
    std::string_view values[most];
    std::size_t count = 0;
};

struct question {
    std::string_view rcptto;
    std::string_view mailfrom;
    std::string_view host;
    std::string_view helo;
    std::string_view tls{"may"};
    std::string_view tls_ca_file;
    texts tls_match;
    texts tls_fingerprints;
    texts source_address;
    double port = 0;
    double timeout = 60;  // seconds
    bool lmtp = false;
};

struct session_wishes {
    double connections_per_host = 20;
    double idle = 10;
    double recipients_per_connection = 100;
    double host_penalty = 60;
    texts dns_servers;
};

struct answer {
    query_result result;
    std::string words;  // describe(result)
};

struct answers {
    std::vector<answer> all;
    std::string error;  // when not empty, an argument is wrong, and nothing was asked
};

// Without a session a single question is asked on this thread, and several in a session of their
// own. What this process lacks (threads, descriptors) is the answer to each: undetermined,
// overloaded. Null only without memory.
[[nodiscard]] answers* ask(session* in, const question* questions, std::size_t count) noexcept;
void discard(answers* a) noexcept;

// Null, with the reason in `error`, when it can not be had.
[[nodiscard]] session* open_session(const session_wishes& wishes,
                                    char* error,
                                    std::size_t size) noexcept;
void close_session(session* s) noexcept;

}  // namespace callforward::lua
