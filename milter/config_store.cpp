#include "milter/config_store.h"

#include "milter/bounded_file.h"
#include "milter/config_values.h"
#include "milter/fleet/store_address.h"
#include "smtpclient/certificate.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace callforward::milter {

namespace {

constexpr std::size_t largest_pem_file = std::size_t{4} * 1024 * 1024;

// Nothing when there is no such file, or when it could not be read, which has been said then.
std::optional<std::string> pem_of(const setting& from, const std::string& path) {
    if (path.empty()) return std::nullopt;
    file_text file = read_bounded(path, largest_pem_file);
    if (file.error.empty()) return std::move(file.text);
    from.fail("names the file " + quoted(path) + ": " + file.error);
    return std::nullopt;
}

// Whether nothing is wrong with it.
bool check_pem(const setting& from, const std::string& path, const std::string& wrong) {
    if (!wrong.empty()) from.fail("names the file " + quoted(path) + ", which " + wrong);
    return wrong.empty();
}

// Said here, where file and line are known: the store itself is opened long after.
void check_tls_files(const setting& from, const fleet::store_address& at) {
    using smtpclient::wrong_with_certificates;
    if (const auto authorities = pem_of(from, at.ca_file)) {
        check_pem(from, at.ca_file, wrong_with_certificates(*authorities));
    }
    const auto certificate = pem_of(from, at.cert_file);
    const auto key = pem_of(from, at.key_file);
    if (!certificate || !key) return;
    if (!check_pem(from, at.cert_file, wrong_with_certificates(*certificate))) return;
    check_pem(from, at.key_file, smtpclient::wrong_with_key(*key, *certificate, "cert_file"));
}

}  // namespace

void read_shared_store(const setting& from, const std::string& store, cache_settings& s) {
    fleet::store_address at;
    const std::string wrong = fleet::parse_store_address(store, at);
    if (wrong.empty()) {
        check_tls_files(from, at);
    } else {
        from.fail("= " + quoted(store) + ' ' + wrong);
    }
    s.store = store;
}

void read_store_user(const setting& from, cache_settings& s) {
    auto user = from.checked_text([](std::string& name) {
        const bool good =
            std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
        return good && name.size() <= 256 ? std::string() : quoted(name) + " is not a user's name";
    });
    if (user) s.store_user = std::move(*user);
}

void read_store_password(const setting& from, cache_settings& s) {
    const auto path = from.text();
    if (!path) return;
    s.store_password_file = *path;
    s.store_password.clear();
    if (path->empty()) return;
    file_text secret = path->starts_with('/') ? read_secret(*path)
                                              : file_text{{}, "must be an absolute path", false};
    if (!secret.error.empty()) from.fail("= " + quoted(*path) + ": " + secret.error);
    s.store_password = std::move(secret.text);
}

}  // namespace callforward::milter
