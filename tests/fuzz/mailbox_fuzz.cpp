// Addresses as an SMTP client sends them: what passes is one argument of one command.
#include "smtpclient/mailbox.h"

#include <cstdint>
#include <cstdlib>

using callforward::smtpclient::mailbox;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    static_cast<void>(callforward::smtpclient::parse_reverse_path(text));
    const auto parsed = mailbox::parse(text);
    if (!parsed) return 0;
    bool quoted = false;
    const std::string address = parsed->address();
    for (std::size_t i = 0; i < address.size(); ++i) {
        const auto c = static_cast<unsigned char>(address[i]);
        if (c < ' ' || c == 0x7f) std::abort();
        if (quoted && c == '\\') ++i;
        if (c == '"') quoted = !quoted;
        if (!quoted && (c == ' ' || c == '<' || c == '>')) std::abort();
    }
    if (quoted || address.size() > mailbox::longest) std::abort();
    if (mailbox::parse(address) != parsed || parsed->key().empty()) std::abort();
    return 0;
}
