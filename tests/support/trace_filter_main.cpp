// test-trace-filter: a filter on libmilter itself that prints what it is told, so that mta.h is
// checked against the library that real filters use, not against our own reading of the protocol.
//
//   test-trace-filter SOCKET [off] [no-reply] [symbols]
//
// off: CONNECT and MAIL are not wanted; no-reply: HELO gets no reply; symbols: asks for other
// macros at RCPT. The local part of a recipient decides the answer: accept, reject, tempfail,
// reply, lines, progress; anything else continues.
#include <libmilter/mfapi.h>

#include <cstdio>
#include <set>
#include <string>
#include <string_view>

namespace {

std::set<std::string> modes;  // set before smfi_main(), read-only afterwards

void say(const std::string& line) {
    std::puts(line.c_str());
    std::fflush(stdout);
}

std::string words(char** argv) {
    std::string text;
    for (; *argv != nullptr; ++argv) text += std::string(" ") + *argv;
    return text;
}

std::string macro(SMFICTX* context, const char* name) {
    std::string symbol = name;
    const char* value = smfi_getsymval(context, symbol.data());
    return std::string(" ") + name + "=" + (value != nullptr ? value : "(none)");
}

sfsistat on_connect(SMFICTX* context, char* name, _SOCK_ADDR* address) {
    say(std::string("connect ") + name + (address != nullptr ? " address" : " none") +
        macro(context, "v") + macro(context, "j"));
    return SMFIS_CONTINUE;
}

sfsistat on_helo(SMFICTX* /*context*/, char* name) {
    say(std::string("helo ") + name);
    return modes.contains("no-reply") ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

sfsistat on_mail(SMFICTX* context, char** argv) {
    say("mail" + words(argv) + macro(context, "{mail_addr}") + macro(context, "i"));
    return SMFIS_CONTINUE;
}

// libmilter's C interface takes texts it does not change as char*.
sfsistat refuse(SMFICTX* context, std::string code, std::string enhanced, std::string text) {
    smfi_setreply(context, code.data(), enhanced.data(), text.data());
    return SMFIS_REJECT;
}

sfsistat on_rcpt(SMFICTX* context, char** argv) {
    say("rcpt" + words(argv) + macro(context, "{rcpt_mailer}") + macro(context, "{rcpt_host}") +
        macro(context, "{rcpt_addr}") + macro(context, "{client_addr}") + macro(context, "v"));
    const std::string_view recipient = argv[0];
    if (recipient.starts_with("<accept@")) return SMFIS_ACCEPT;
    if (recipient.starts_with("<reject@")) return SMFIS_REJECT;
    if (recipient.starts_with("<tempfail@")) return SMFIS_TEMPFAIL;
    if (recipient.starts_with("<reply@")) return refuse(context, "550", "5.1.1", "no such user");
    if (recipient.starts_with("<lines@")) {
        std::string code = "550";
        std::string enhanced = "5.1.1";
        std::string first = "line one";
        std::string second = "line two";
        smfi_setmlreply(
            context, code.data(), enhanced.data(), first.data(), second.data(), nullptr);
        return SMFIS_REJECT;
    }
    if (recipient.starts_with("<progress@")) {
        smfi_progress(context);
        smfi_progress(context);
    }
    return SMFIS_CONTINUE;
}

sfsistat on_end(SMFICTX* /*context*/) {
    say("end of message");
    return SMFIS_CONTINUE;
}
sfsistat on_abort(SMFICTX* /*context*/) {
    say("abort");
    return SMFIS_CONTINUE;
}
sfsistat on_close(SMFICTX* /*context*/) {
    say("close");
    return SMFIS_CONTINUE;
}

sfsistat on_negotiate(SMFICTX* context,
                      unsigned long actions,
                      unsigned long protocol,
                      unsigned long /*unused*/,
                      unsigned long /*unused*/,
                      unsigned long* wanted_actions,
                      unsigned long* wanted_protocol,
                      unsigned long* /*unused*/,
                      unsigned long* /*unused*/) {
    std::string offer(64, '\0');
    offer.resize(static_cast<std::size_t>(
        std::snprintf(offer.data(), offer.size(), "actions=0x%lx proto=0x%lx", actions, protocol)));
    say(offer);
    *wanted_actions = modes.contains("symbols") ? SMFIF_SETSYMLIST : 0;
    *wanted_protocol = SMFIP_NOBODY | SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOUNKNOWN | SMFIP_NODATA;
    if (modes.contains("off")) *wanted_protocol |= SMFIP_NOCONNECT | SMFIP_NOMAIL;
    if (modes.contains("no-reply")) *wanted_protocol |= SMFIP_NR_HELO;
    if (modes.contains("symbols")) {
        std::string list = "{client_addr} {rcpt_addr} v";
        smfi_setsymlist(context, SMFIM_ENVRCPT, list.data());
    }
    return SMFIS_CONTINUE;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) return 64;
    for (int i = 2; i < argc; ++i) modes.insert(argv[i]);
    std::string name = "trace";
    smfiDesc description{};
    description.xxfi_name = name.data();
    description.xxfi_version = SMFI_VERSION;
    description.xxfi_connect = on_connect;
    description.xxfi_helo = on_helo;
    description.xxfi_envfrom = on_mail;
    description.xxfi_envrcpt = on_rcpt;
    description.xxfi_eom = on_end;
    description.xxfi_abort = on_abort;
    description.xxfi_close = on_close;
    description.xxfi_negotiate = on_negotiate;
    if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(description) != MI_SUCCESS ||
        smfi_opensocket(1) != MI_SUCCESS) {
        return 69;
    }
    say("ready");
    return smfi_main() == MI_SUCCESS ? 0 : 70;
}
