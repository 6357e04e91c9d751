#include "milter/door.h"

#include "milter/listening_socket.h"
#include "milter/log.h"

#include <libmilter/mfapi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace callforward::milter {

namespace {

door* the_door = nullptr;

struct inbound {  // one SMTP session; libmilter moves it between threads, but never runs two
                  // callbacks at once
    explicit inbound(const wanted_words& words) : wanted(words) {}

    const wanted_words wanted;
    bool mail_without_reply = false;
    bool helo_without_reply = false;
    bool has_mail = false;
    envelope now;  // its memory is used again for each RCPT

    void forget_mail() {
        has_mail = false;
        now.mail.clear();
        now.mail_parameters.clear();
    }
};

inbound* session_of(SMFICTX* ctx) {
    return static_cast<inbound*>(smfi_getpriv(ctx));
}

// A new one where there is none: after QUIT_NC, with which an MTA goes on to the next client
// without negotiating again.
inbound& session_for(SMFICTX* ctx, const wanted_words& words) {
    if (inbound* const session = session_of(ctx)) return *session;
    auto session = std::make_unique<inbound>(words);
    if (smfi_setpriv(ctx, session.get()) != MI_SUCCESS) throw std::bad_alloc();
    return *session.release();
}

// libmilter compares the name with all that the MTA has sent: nothing is asked for that is not
// needed.
template <std::size_t Size>
const char* macro(SMFICTX* ctx, const char (&name)[Size]) {
    std::array<char, Size> writable;  // the prototype is older than const
    std::copy_n(name, Size, writable.data());
    const char* const value = smfi_getsymval(ctx, writable.data());
    return value == nullptr ? "" : value;
}

sfsistat to_libmilter(action a) {
    switch (a) {
        case action::accept:
            return SMFIS_CONTINUE;  // SMFIS_ACCEPT would let the recipients after this one pass
                                    // unseen
        case action::tempfail:
            return SMFIS_TEMPFAIL;
        case action::reject:
            return SMFIS_REJECT;
    }
    return SMFIS_TEMPFAIL;
}

sfsistat give(SMFICTX* ctx, const decision& d) {
    if (d.action == action::accept) return SMFIS_CONTINUE;
    std::string code = std::to_string(d.code);
    std::string enhanced = d.enhanced;
    std::string text;
    for (const char c : d.text) {
        text += c;
        if (c == '%')
            text += c;  // smfi_setreply takes it for a format; Sendmail would drop the reply
    }
    if (smfi_setreply(ctx, code.data(), enhanced.data(), text.data()) == MI_FAILURE) {
        log::say(log_level::error,
                 "libmilter refused a reply; the MTA's own words are used",
                 {{"code", code}, {"enhanced", enhanced}, {"text", d.text}});
    }
    return to_libmilter(d.action);
}

// Whatever goes wrong on our side of the door, the MTA is told to try again later.
template <class Callback>
sfsistat guarded(Callback callback) noexcept {
    try {
        try {
            return callback();
        } catch (const std::exception& e) {
            log::say(
                log_level::error, "internal error; answered with a tempfail", {{"what", e.what()}});
        } catch (...) {
            log::say(log_level::error, "internal error; answered with a tempfail");
        }
    } catch (...) {
        // Without memory not even that could be logged.
    }
    return SMFIS_TEMPFAIL;
}

}  // namespace

class door::callbacks {
public:
    static sfsistat negotiate(SMFICTX* ctx,
                              unsigned long offered_actions,
                              unsigned long offered_steps,
                              unsigned long /*unused*/,
                              unsigned long /*unused*/,
                              unsigned long* actions,
                              unsigned long* steps,
                              unsigned long* unused_a,
                              unsigned long* unused_b) {
        return guarded([&]() -> sfsistat {
            const wanted_words words = the_door->asks_for_;
            const unsigned long helo = words.helo ? SMFIP_NR_HELO : SMFIP_NOHELO;
            const unsigned long wanted = SMFIP_NOCONNECT | SMFIP_NOBODY | SMFIP_NOHDRS |
                                         SMFIP_NOEOH | SMFIP_NOUNKNOWN | SMFIP_NODATA |
                                         SMFIP_NR_MAIL | helo;
            auto session = std::make_unique<inbound>(words);
            *steps = wanted & offered_steps;
            session->helo_without_reply = (*steps & SMFIP_NR_HELO) != 0;
            session->mail_without_reply = (*steps & SMFIP_NR_MAIL) != 0;
            *actions = 0;
            *unused_a = 0;
            *unused_b = 0;
            if ((offered_actions & SMFIF_SETSYMLIST) != 0) {
                *actions = SMFIF_SETSYMLIST;
                std::string names =
                    "{client_addr} {auth_authen} {rcpt_mailer} {rcpt_host} {rcpt_addr} {mail_addr} "
                    "j v";
                if (words.client) names += " i {client_name} {client_port}";
                if (smfi_setsymlist(ctx, SMFIM_ENVRCPT, names.data()) != MI_SUCCESS) *actions = 0;
            }
            if (smfi_setpriv(ctx, session.get()) == MI_SUCCESS)
                static_cast<void>(session.release());
            return SMFIS_CONTINUE;
        });
    }

    static sfsistat helo(SMFICTX* ctx, char* name) {
        inbound* const session = session_of(ctx);
        const bool silent = session != nullptr && session->helo_without_reply;
        const sfsistat status = guarded([&]() -> sfsistat {
            if (name != nullptr) session_for(ctx, the_door->asks_for_).now.client_helo = name;
            return SMFIS_CONTINUE;
        });
        return silent ? SMFIS_NOREPLY : status;
    }

    static sfsistat mail(SMFICTX* ctx, char** arguments) {
        inbound* const session = session_of(ctx);
        const bool silent = session != nullptr && session->mail_without_reply;
        const sfsistat status = guarded([&]() -> sfsistat {
            if (arguments == nullptr || *arguments == nullptr) return SMFIS_CONTINUE;
            inbound& its = session_for(ctx, the_door->asks_for_);
            its.forget_mail();
            its.has_mail = true;
            its.now.mail = *arguments;
            for (char** next = arguments + 1; *next != nullptr; ++next) {
                its.now.mail_parameters.emplace_back(*next);
            }
            return SMFIS_CONTINUE;
        });
        return silent ? SMFIS_NOREPLY : status;
    }

    static sfsistat rcpt(SMFICTX* ctx, char** arguments) {
        ++the_door->busy_;
        const sfsistat status = guarded([&]() -> sfsistat {
            if (the_door->closing_) return give(ctx, shutting_down());
            inbound& session = session_for(ctx, the_door->asks_for_);
            copy(ctx, arguments, session);
            const keep_waiting wait = [ctx] { return smfi_progress(ctx) == MI_SUCCESS; };
            return give(ctx, the_door->handler_(session.now, wait));
        });
        --the_door->busy_;
        return status;
    }

    // No MTA is asked to pass these on: they are our own.
    static sfsistat unknown(SMFICTX* /*ctx*/, const char* command) {
        return guarded([&]() -> sfsistat {
            static_cast<void>(the_door->spare_.serve(command == nullptr ? "" : command));
            return SMFIS_CONTINUE;
        });
    }

    static sfsistat abort(SMFICTX* ctx) {
        if (inbound* const session = session_of(ctx)) session->forget_mail();
        return SMFIS_CONTINUE;
    }

    static sfsistat close(SMFICTX* ctx) {
        const std::unique_ptr<inbound> session(session_of(ctx));
        smfi_setpriv(ctx, nullptr);
        return SMFIS_CONTINUE;
    }

private:
    static void copy(SMFICTX* ctx, char** arguments, inbound& session) {
        envelope& e = session.now;
        if (e.mta.version.empty()) {  // who it is does not change within a session
            e.mta.version = macro(ctx, "v");
            e.mta.hostname = macro(ctx, "j");
        }
        e.client_address = macro(ctx, "{client_addr}");
        if (session.wanted.client) {
            e.queue_id = macro(ctx, "i");
            e.client_name = macro(ctx, "{client_name}");
            e.client_port = macro(ctx, "{client_port}");
        }
        e.authenticated = macro(ctx, "{auth_authen}");
        e.rcpt_mailer = macro(ctx, "{rcpt_mailer}");
        e.rcpt_host = macro(ctx, "{rcpt_host}");
        e.rcpt_address = macro(ctx, "{rcpt_addr}");
        if (!session.has_mail) {
            e.mail.assign(1, '<').append(macro(ctx, "{mail_addr}")).append(1, '>');
        }
        e.rcpt = arguments != nullptr && *arguments != nullptr ? *arguments : "";
    }
};

door::door(recipient_handler handler) : handler_(std::move(handler)) {
    the_door = this;
}

door::~door() {
    the_door = nullptr;
}

void door::open(const milter_settings& settings) {
    socket_path_ = unix_socket_path(settings.socket);
    const auto group = group_named(settings.socket_group);
    make_room_for(settings.socket);

    std::string name = "callforward";
    smfiDesc description{};
    description.xxfi_name = name.data();
    description.xxfi_version = SMFI_VERSION;
    description.xxfi_flags = SMFIF_SETSYMLIST;
    description.xxfi_helo = callbacks::helo;
    description.xxfi_envfrom = callbacks::mail;
    description.xxfi_envrcpt = callbacks::rcpt;
    description.xxfi_abort = callbacks::abort;
    description.xxfi_close = callbacks::close;
    description.xxfi_negotiate = callbacks::negotiate;
    description.xxfi_unknown = callbacks::unknown;
    std::string socket = settings.socket;
    // The mode is there from the first moment that the socket can be connected to.
    const mode_t before = umask(0777 & ~static_cast<mode_t>(settings.socket_mode));
    const bool listening = smfi_register(description) == MI_SUCCESS &&
                           smfi_setconn(socket.data()) == MI_SUCCESS &&
                           smfi_opensocket(false) == MI_SUCCESS;
    umask(before);
    if (!listening) {
        throw std::runtime_error("cannot listen on " + settings.socket +
                                 ": libmilter's reason is in the system log");
    }
    if (!socket_path_.empty() && group) give_to_group(socket_path_, *group);
    spare_.open(settings.socket);
}

void door::run() {
    smfi_main();
}

void door::wait_until_idle(std::chrono::milliseconds at_most) const {
    constexpr std::chrono::milliseconds moment{10};
    const auto limit = std::chrono::steady_clock::now() + at_most;
    while (busy_ > 0 && std::chrono::steady_clock::now() < limit) {
        std::this_thread::sleep_for(moment);
    }
    // libmilter writes the reply after the callback has returned, and tells nobody when it has.
    std::this_thread::sleep_for(5 * moment);
}

void door::remove_socket() const {
    if (!socket_path_.empty()) unlink(socket_path_.c_str());
}

}  // namespace callforward::milter
