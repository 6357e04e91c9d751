#include "milter/tool/cache_command.h"

#include "milter/tool/terminal.h"
#include "smtpclient/mailbox.h"
#include "smtpclient/printable.h"

#include <sys/stat.h>
#include <sysexits.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <system_error>
#include <utility>

namespace callforward::tool {

namespace {

constexpr std::size_t in_one_request = 10000;
constexpr std::size_t longest_line = 4096;
constexpr std::size_t bad_lines_shown = 100;

std::string life(const json& entry) {
    const auto age = entry.at("age_s").get<std::int64_t>();
    const auto left = entry.at("expires_in_s").get<std::int64_t>();
    const std::string end =
        left > 0 ? "good for " + duration_words(left) : "expired " + duration_words(-left) + " ago";
    return "learnt " + duration_words(age) + " ago, " + end;
}

std::string verdict_words(const json& entry) {
    std::string text = text_at(entry, "outcome") + " (" + text_at(entry, "reason") + ')';
    if (const std::string code = text_at(entry, "code"); !code.empty()) {
        text += ", " + code;
        for (const char* const part : {"enhanced", "text"}) {
            if (const std::string more = text_at(entry, part); !more.empty()) text += ' ' + more;
        }
    } else if (const std::string detail = text_at(entry, "detail"); !detail.empty()) {
        text += ", " + detail;
    }
    if (const std::string host = text_at(entry, "host"); !host.empty()) text += ", from " + host;
    return text;
}

colour shade_of(const json& entry) {
    const std::string outcome = text_at(entry, "outcome");
    if (outcome == "deliverable") return colour::good;
    return outcome == "undeliverable" ? colour::bad : colour::warning;
}

void show(const json& found) {
    const json& memory = found.at("memory");
    if (memory.is_array()) {
        std::cout << text_at(found, "address") << '\n';
        if (memory.empty()) std::cout << "  in memory: nothing\n";
        for (const json& entry : memory) {
            std::cout << "  in memory: " << in_colour(shade_of(entry), verdict_words(entry))
                      << "\n    " << life(entry) << '\n';
        }
    } else {
        std::cout << text_at(found, "domain") << "\n  in memory: " << text_at(memory, "deliverable")
                  << " deliverable, " << text_at(memory, "undeliverable") << " undeliverable, "
                  << text_at(memory, "undetermined") << " undetermined\n";
    }
    const json& store = found.at("store");
    if (store.is_null()) {
        std::cout << "  in the store: not looked in, since it is shared\n";
    } else if (store.empty()) {
        std::cout << "  in the store: nothing\n";
    }
    for (const json& entry : store) {
        std::cout << "  in the store: "
                  << (memory.is_array() ? "" : text_at(entry, "recipient") + ", ")
                  << in_colour(shade_of(entry), verdict_words(entry)) << "\n    " << life(entry)
                  << '\n';
    }
    if (found.value("more", false)) {
        std::cout << "  and more: callforward cache export has them all\n";
    }
}

void say_shared(const json& answer) {
    shared_state state;
    state.add(answer);
    std::cout << state.words();
}

bool is_unwritten(const json& answer) {
    const auto found = answer.find("written");
    return found != answer.end() && *found == json(false);
}

// How a change ends that may be undone by a restart.
int exit_code(bool unwritten) {
    if (!unwritten) return EX_OK;
    std::cerr
        << "callforward: the cache on disk cannot be written: it is so now, but may not be so "
           "after a restart\n";
    return EX_TEMPFAIL;
}

struct import_sums {
    std::size_t known = 0;
    std::size_t bad = 0;
    std::size_t denied = 0;
    bool unwritten = false;
    shared_state shared;
};

// The key of a line of postmap(1): up to the first blank, which may stand in a quoted local part.
std::string_view first_word(std::string_view text) {
    std::size_t from = 0;
    if (text.starts_with('"')) {
        for (from = 1; from < text.size() && text[from] != '"'; ++from) {
            if (text[from] == '\\') ++from;
        }
    }
    return text.substr(0, text.find_first_of(" \t\r", std::min(from, text.size())));
}

// Behind the address, as "cache export" writes it.
bool denies(std::string_view rest) {
    if (!rest.starts_with('\t')) return false;
    const auto outcome = rest.substr(1, rest.find('\t', 1) - 1);
    return outcome == "undeliverable" || outcome == "undetermined";
}

// What goes on in an indented line is the value of the table's entry before it.
void skip_rest_of_entry(std::istream& from, std::size_t& line) {
    std::string text;
    while ((from.peek() == ' ' || from.peek() == '\t') && std::getline(from, text)) ++line;
}

void complain(const std::string& file, const listed_addresses::line& line, std::size_t nth) {
    if (nth > bad_lines_shown) return;
    std::cerr << file << ':' << line.number
              << ": not an address: " << smtpclient::printable_utf8(line.text, 200) << '\n';
    if (nth == bad_lines_shown) std::cerr << "callforward: no more bad lines are shown\n";
}

[[noreturn]] void cannot_read(const std::string& file, int error) {
    throw tool_error(EX_NOINPUT,
                     "cannot read " + file + ": " + std::generic_category().message(error));
}

import_sums import_all(const daemon_client& daemon, std::istream& from, const std::string& file) {
    struct stat about {};
    const auto size =
        stat(file.c_str(), &about) == 0 ? static_cast<std::uint64_t>(about.st_size) : 0;
    progress_bar bar("import", size);
    import_sums sums;
    std::size_t line = 0;
    std::uint64_t done = 0;
    for (;;) {
        const listed_addresses some = read_addresses(from, in_one_request, line);
        sums.denied += some.denied;
        if (some.good.empty() && some.bad.empty()) {
            if (from.bad()) cannot_read(file, errno);  // a folder, say
            break;
        }
        for (const auto& each : some.bad) complain(file, each, ++sums.bad);
        if (some.good.empty()) continue;
        json addresses = json::array();
        for (const auto& each : some.good) {
            addresses.push_back(each.text);
            done += each.text.size() + 1;
        }
        const json result = daemon.post("/v1/known", {{"addresses", std::move(addresses)}});
        sums.known += result.at("known").get<std::size_t>();
        sums.shared.add(result);
        sums.unwritten = is_unwritten(result);  // the last one tells of all
        for (const json& refused : result.at("bad")) {
            complain(file, some.good.at(refused.at("index").get<std::size_t>()), ++sums.bad);
        }
        bar.at(done);
    }
    return sums;
}

}  // namespace

listed_addresses read_addresses(std::istream& from, std::size_t most, std::size_t& line) {
    listed_addresses found;
    std::string text;
    while (found.good.size() + found.bad.size() < most && std::getline(from, text)) {
        ++line;
        const auto begin = text.find_first_not_of(" \t\r");
        if (begin == std::string::npos || text[begin] == '#') continue;
        text = text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
        const std::string word(first_word(text));
        if (denies(std::string_view(text).substr(word.size()))) {
            ++found.denied;
            continue;
        }
        const bool good = word.size() <= longest_line && smtpclient::mailbox::parse(word);
        (good ? found.good : found.bad)
            .push_back({good ? word : text.substr(0, longest_line), line});
        if (word.size() < text.size()) skip_rest_of_entry(from, line);
    }
    return found;
}

void shared_state::add(const json& answer) {
    const auto found = answer.find("merged");
    if (found == answer.end()) {
        waits = waits || !answer.value("shared", true);
        return;
    }
    merged = true;
    everything = everything || !found->is_number_integer();
    if (!everything) domains = std::max(domains, found->get<std::size_t>());
}

void shared_state::put_into(json& said) const {
    if (waits || merged) said["shared"] = false;
    if (merged) said["merged"] = everything ? json(nullptr) : json(domains);
}

std::string shared_state::words() const {
    std::string text;
    if (waits) {
        text +=
            "The shared store did not take all of it at once: the other hosts know the rest when "
            "it has.\n";
    }
    if (merged) {
        text += "Too many changes waited for the shared store: ";
        text += everything     ? "all recipients are"
                : domains == 1 ? "the recipients of a domain are"
                               : "the recipients of " + std::to_string(domains) + " domains are";
        text += " asked about again.\n";
    }
    return text;
}

json about(const std::string& address_or_domain) {
    if (address_or_domain.empty()) throw tool_error(EX_USAGE, "say an address or a domain");
    const bool is_address = address_or_domain.find('@') != std::string::npos;
    return {{is_address ? "address" : "domain", address_or_domain}};
}

int run_cache_show(const daemon_options& o, const std::string& what) {
    const json asked = about(what);
    const auto first = asked.items().begin();
    const json found =
        daemon_client(o).get("/v1/cache", {{first.key(), first.value().get<std::string>()}});
    if (o.json) {
        std::cout << found.dump() << '\n';
    } else {
        show(found);
    }
    return EX_OK;
}

int run_cache_forget(const daemon_options& o, const std::string& what) {
    const json result = daemon_client(o).post("/v1/forget", about(what));
    if (o.json) {
        std::cout << result.dump() << '\n';
    } else {
        std::cout << "Forgotten; " << text_at(result, "forgotten") << " entries were in memory.\n";
        say_shared(result);
    }
    return exit_code(is_unwritten(result));
}

int run_cache_import(const daemon_options& o, const std::string& file) {
    const bool from_input = file == "-";
    std::ifstream opened;
    if (!from_input) {
        opened.open(file);
        if (!opened) cannot_read(file, errno);
    }
    const import_sums sums =
        import_all(daemon_client(o), from_input ? std::cin : opened, from_input ? "(input)" : file);
    if (o.json) {
        json said{{"known", sums.known}, {"bad", sums.bad}, {"passed_over", sums.denied}};
        sums.shared.put_into(said);
        if (sums.unwritten) said["written"] = false;
        std::cout << said.dump() << '\n';
    } else {
        std::cout << sums.known << " addresses are known to exist";
        if (sums.bad > 0) std::cout << "; " << sums.bad << " lines were no addresses";
        std::cout << ".\n";
        if (sums.denied > 0) {
            std::cout << sums.denied
                      << " lines were passed over: they are of an export, of recipients that were "
                         "not deliverable.\n";
        }
        std::cout << sums.shared.words();
    }
    const int code = exit_code(sums.unwritten);
    return sums.bad > 0 ? EX_DATAERR : code;
}

int run_cache_export(const daemon_options& o) {
    const daemon_client daemon(o);
    std::string from;
    std::uint64_t done = 0;
    std::unique_ptr<progress_bar> bar;
    do {
        const json page = daemon.get("/v1/export", {{"from", from}});
        if (!bar)
            bar = std::make_unique<progress_bar>("export", page.at("total").get<std::uint64_t>());
        for (const json& r : page.at("records")) {
            ++done;
            if (o.json) {
                std::cout << r.dump() << '\n';
            } else {
                std::cout << text_at(r, "recipient") << '\t' << text_at(r, "outcome") << '\t'
                          << text_at(r, "reason") << '\t' << text_at(r, "code") << '\t'
                          << text_at(r, "age_s") << '\t' << text_at(r, "expires_in_s") << '\n';
            }
        }
        finish_output();
        bar->at(done);
        from = page.at("next").get<std::string>();
    } while (!from.empty());
    return EX_OK;
}

int run_cache_flush(const daemon_options& o) {
    const json result = daemon_client(o).post("/v1/flush", json::object());
    if (o.json) {
        std::cout << result.dump() << '\n';
    } else {
        const std::string stored = text_at(result, "stored");
        std::cout << "Everything is forgotten: " << text_at(result, "forgotten")
                  << " entries in memory, "
                  << (stored.empty() ? "and the shared store begins anew.\n"
                                     : stored + " in the store.\n");
        say_shared(result);
    }
    return exit_code(is_unwritten(result));
}

}  // namespace callforward::tool
