// What is known of hosts that accept any local part: asked with a random one, kept per host and
// domain.
//
// A host accepts whole domains or not, so the key is both. A finding has a lifetime; while it is
// not known, or could not be found out, recipients are asked for one by one as ever: the test never
// counts against a recipient. One event loop thread; at most 10,000 findings, then those past their
// time go, or all.
#pragma once

#include "smtpclient/connection.h"
#include "smtpclient/mailbox.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace callforward::smtpclient {

class catch_all_findings {
public:
    struct entry {
        bool accepts_any = false;
        steady_time expires;
    };
    [[nodiscard]] static std::string key(const std::string& host, const std::string& domain) {
        return host + ' ' + domain;
    }
    // Nothing: to be asked.
    [[nodiscard]] std::optional<entry> find(const std::string& key, steady_time now) const;
    void note(const std::string& key,
              bool accepts_any,
              std::chrono::seconds lifetime,
              steady_time now);
    // At all hosts; "": of all domains.
    void forget(std::string_view domain);
    // So often: what was asked for before is not to be noted after it.
    [[nodiscard]] std::size_t times_forgotten() const { return times_forgotten_; }
    // The keys of hosts that accept anything, at most `most` that begin so.
    [[nodiscard]] std::vector<std::string> accepting(std::string_view beginning,
                                                     std::size_t most,
                                                     steady_time now) const;

private:
    std::unordered_map<std::string, entry> entries_;
    std::size_t times_forgotten_ = 0;
};

// An address at the domain of `like` that nobody can have or guess: another one at each call.
[[nodiscard]] mailbox random_recipient(const mailbox& like);

}  // namespace callforward::smtpclient
