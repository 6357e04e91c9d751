// The door: libmilter, and nothing of it outside this room.
//
// RCPT only: CONNECT, HELO and everything after RCPT are switched off where the MTA lets us, MAIL
// (and HELO, where a next hop is to be told of it) comes without a reply, and the macros that the
// policies need are asked for at RCPT (smfi_setsymlist), so that a recipient costs one round trip
// and the MTA needs no setting. Each RCPT is copied into a plain envelope and given to the handler
// on libmilter's thread, which may block; whatever the handler throws becomes a tempfail and a log
// line. libmilter keeps process-wide state: one door per process, run() once.
#pragma once

#include "milter/decision.h"
#include "milter/envelope.h"
#include "milter/settings.h"
#include "milter/spare_workers.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <string>

namespace callforward::milter {

// Tells the MTA that an answer is still being worked on; false when the MTA has gone. Only for
// Postfix.
using keep_waiting = std::function<bool()>;
using recipient_handler = std::function<decision(const envelope&, const keep_waiting&)>;

class door {
public:
    explicit door(recipient_handler handler);
    ~door();
    door(const door&) = delete;
    door& operator=(const door&) = delete;

    // Listens. Throws std::runtime_error, with what to do, when the socket can not be had: a stale
    // unix socket is replaced, one that somebody answers at, or anything that is no socket, is left
    // alone.
    void open(const milter_settings& settings);
    // Serves until libmilter gives up; the process' signals are signals.h's.
    void run();
    // What sessions that begin from now on tell beyond what every policy needs. Thread: any.
    void ask_for(const wanted_words& words) { asks_for_ = words; }
    // The calling thread answers a RCPT, and is about to wait for a next hop.
    void about_to_wait() { spare_.about_to_wait(); }
    // From now on a new RCPT is put off without being looked at. Thread: any.
    void refuse_new() { closing_ = true; }
    // Waits until no RCPT is being answered, at most so long. Thread: any.
    void wait_until_idle(std::chrono::milliseconds at_most) const;
    // Removes the unix socket, if that is what open() made.
    void remove_socket() const;

private:
    class callbacks;
    recipient_handler handler_;
    spare_workers spare_;
    std::string socket_path_;
    std::atomic<int> busy_{0};
    std::atomic<bool> closing_{false};
    std::atomic<wanted_words> asks_for_{wanted_words{}};
};

}  // namespace callforward::milter
