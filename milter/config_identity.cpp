#include "milter/config_identity.h"

#include "milter/bounded_file.h"
#include "milter/config_values.h"
#include "smtpclient/mailbox.h"

#include <algorithm>

namespace callforward::milter {

namespace {

constexpr std::size_t longest_name = 255;  // RFC 4616 section 2

}  // namespace

void read_sender_fallback(const setting& from, smtpclient::transport& into) {
    const auto text = from.text();
    if (!text) return;
    into.sender_fallback.reset();
    if (text->empty()) return;
    if (*text == "null" || *text == "<>") {
        into.sender_fallback = "";
    } else if (const auto address = smtpclient::mailbox::parse(*text)) {
        into.sender_fallback = address->address();
    } else {
        from.fail("must be \"\" for none, \"null\" or an address, not " + quoted(*text));
    }
}

void read_source_address(const setting& from, smtpclient::transport& into) {
    std::vector<dns::ip_address> addresses;
    const auto read = from.entries([&](list_entry& entry) -> std::string {
        const auto address = dns::ip_address::parse(entry.text);
        if (!address) return quoted(entry.text) + " is not an address";
        const bool second = std::any_of(addresses.begin(), addresses.end(), [&](const auto& a) {
            return a.is_v4() == address->is_v4();
        });
        if (second) {
            return quoted(entry.text) + " is a second " + (address->is_v4() ? "IPv4" : "IPv6") +
                   " address; name one of each family at most";
        }
        addresses.push_back(*address);
        return {};
    });
    if (read) into.source_addresses = std::move(addresses);
}

void read_auth_username(const setting& from, smtpclient::transport& into) {
    const auto text = from.text();
    if (!text) return;
    if (text->size() > longest_name) {
        from.fail("is longer than 255 bytes");
        return;
    }
    into.login.username = *text;
}

void read_auth_password_file(const setting& from, smtpclient::transport& into) {
    auto file = from.text();
    if (!file) return;
    into.login.password.clear();
    into.login.password_file.clear();
    if (file->empty()) return;
    const std::string& base = from.shared().directory;
    if (!file->starts_with('/') && !base.empty()) *file = base + '/' + *file;
    file_text secret = read_secret(*file);
    if (!secret.error.empty()) {
        from.fail("names the file " + quoted(*file) + ": " + secret.error);
        return;
    }
    into.login.password = std::move(secret.text);
    into.login.password_file = std::move(*file);
}

void check_identity(const config_node& table,
                    const section_name& section,
                    const smtpclient::transport& by,
                    reading& in) {
    const auto* const name = table.find("auth_username");
    const auto* const file = table.find("auth_password_file");
    if (name == nullptr && file == nullptr) return;
    if (!by.login.wanted() || !by.login.password_file.empty()) return;
    // What is wrong with the file has been said.
    const bool taken_away =
        file != nullptr && file->value.is == config_node::type::text && file->value.text.empty();
    if (file != nullptr && !taken_away) return;
    if (name != nullptr) {
        const setting from(name->value, "auth_username", section.shown, in);
        from.fail("needs auth_password_file, the file with the password");
        return;
    }
    const setting from(file->value, "auth_password_file", section.shown, in);
    from.fail(
        "takes the password away from auth_username in [policy]: to log in nowhere, set "
        "auth_username = \"\"");
}

}  // namespace callforward::milter
