// `callforward cache show, forget, import, export, flush`: what the daemon knows about recipients
// (callforward(1)).
#pragma once

#include "milter/tool/daemon_client.h"

#include <cstddef>
#include <istream>
#include <string>
#include <vector>

namespace callforward::tool {

// Of a file: the first word of each line, so that a table of postmap(1) is one, with its comments,
// blank lines, and values that go on in indented lines.
struct listed_addresses {
    struct line {
        std::string text;
        std::size_t number;
    };
    std::vector<line> good;
    std::vector<line> bad;   // no mailbox
    std::size_t denied = 0;  // lines of an export whose outcome is not "deliverable"
};
// The next at most `most` lines that hold something; line counts on from the last call.
[[nodiscard]] listed_addresses read_addresses(std::istream& from,
                                              std::size_t most,
                                              std::size_t& line);

// What the daemon's answers to some changes say of a shared store; nothing without one.
struct shared_state {
    bool waits = false;       // something was not there in time
    bool merged = false;      // too many waited; those of whole domains are asked about again
    bool everything = false;  // or all
    std::size_t domains = 0;  // at least

    void add(const json& answer);
    void put_into(json& said) const;
    [[nodiscard]] std::string words() const;  // lines, or none
};

// "USER@DOMAIN" or "DOMAIN", as the daemon is asked about it: {"address": ...} or {"domain": ...}.
[[nodiscard]] json about(const std::string& address_or_domain);

[[nodiscard]] int run_cache_show(const daemon_options& o, const std::string& what);
[[nodiscard]] int run_cache_forget(const daemon_options& o, const std::string& what);
[[nodiscard]] int run_cache_import(const daemon_options& o, const std::string& file);
[[nodiscard]] int run_cache_export(const daemon_options& o);
[[nodiscard]] int run_cache_flush(const daemon_options& o);

}  // namespace callforward::tool
