// Asks about the canaries of [interlock] now and then, so that an outage is seen, and its end, also
// while nobody writes to them.
//
// Where a canary is asked, and how, is what the last RCPT for it was asked with, since it may have
// a route of its own; without one, what the last RCPT for its domain was: with route = "mta" only
// the MTA knows. So the first question about a domain begins the watch, at once, as before it
// nobody could have been rejected; and a reload, which may have changed routes, begins anew. What a
// policy script chose for one recipient is no way for another. Canaries are asked about for the
// null sender, or the fixed one of the policy. Every min(flip_window, 60 s), on a thread of its
// own, which also settles the interlock, so that a domain opens, and the log says so, without a
// RCPT, and has forgotten what was refused just before a domain closed. With neither canaries nor a
// flip_limit it does nothing.
#pragma once

#include "milter/interlock.h"
#include "milter/settings.h"
#include "smtpclient/question.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace callforward::milter {

class canary_watch {
public:
    // Both are called on the watch's thread. Begins the question and does not wait for it.
    using asker = std::function<void(smtpclient::question, const std::string& fingerprint)>;
    // Forgets what was refused of these domains so lately that it may have been the outage.
    using forgetter =
        std::function<void(const std::set<std::string>& domains, std::chrono::milliseconds lately)>;

    // The interlock must outlive it.
    canary_watch(interlock& lock, const interlock_settings& s, asker ask, forgetter forget);
    ~canary_watch();
    canary_watch(const canary_watch&) = delete;
    canary_watch& operator=(const canary_watch&) = delete;

    void use(const interlock_settings& s);
    // Waits for the thread: none of the two is called any more.
    void end();
    // Its refusals are to be forgotten. Any thread; calls nobody.
    void note_closed(const std::string& domain);
    // A question that is asked for somebody; cheap where its domain has no canary.
    void note(const smtpclient::question& q, const std::string& fingerprint);
    // The same of one that is answered from the cache: only while its domain has had none at all.
    void note_first(const smtpclient::question& q, const std::string& fingerprint);

private:
    struct way {
        smtpclient::question example;
        std::string fingerprint;
    };
    struct canary {
        smtpclient::mailbox address;
        std::string key;  // of the address, in lower case
        std::optional<way> its_own;
    };
    struct watched_domain {
        std::vector<canary> canaries;
        std::optional<way> anybodys;
    };
    void set(const interlock_settings& s);
    void run();
    void ask_all();

    interlock& lock_;
    asker ask_;
    forgetter forget_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<bool> lacks_a_way_ = false;  // some domain has had no question
    bool ends_ = false;
    bool due_ = false;                       // a domain has just become known
    std::chrono::milliseconds interval_{0};  // 0: never
    std::chrono::milliseconds lately_{0};
    std::map<std::string, watched_domain, std::less<>> domains_;
    std::set<std::string> closed_;  // since the thread has looked
    std::thread thread_;            // last: it uses all of the above
};

}  // namespace callforward::milter
