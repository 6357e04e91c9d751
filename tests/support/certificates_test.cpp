#include "tests/support/certificates.h"

#include "tests/support/stream.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <openssl/x509.h>

#include <thread>

using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

// What the client's verification says of a server that shows the certificate; X509_V_OK where the
// handshake is done.
bool trusted(const certificate& shown,
             const std::string& trust,
             const std::string& name,
             int version = 0) {
    const auto listener = listen_on("127.0.0.1:0");
    const auto server = server_context(shown, version);
    const auto client = client_context(trust);
    stream near(connect_to(local_address(listener), 5s));
    stream far(accept_from(listener));
    near.expires_after(5s);
    far.expires_after(5s);
    std::thread other([&] { static_cast<void>(far.accept_tls(server.get())); });
    const bool ok = near.connect_tls(client.get(), name) == stream_status::ok;
    if (!ok) near.close();
    other.join();
    return ok;
}

certificate_wish named(const std::string& name) {
    certificate_wish wish;
    wish.dns_names = {name, "also." + name};
    return wish;
}

}  // namespace

TEST_CASE("a certificate of the authority is trusted for its names and for no other") {
    const certificate_authority authority;
    const auto shown = authority.issue(named("mx.test"));
    CHECK(trusted(shown, authority.pem(), "mx.test"));
    CHECK(trusted(shown, authority.pem(), "also.mx.test"));
    CHECK_FALSE(trusted(shown, authority.pem(), "other.test"));
    CHECK_FALSE(trusted(shown, certificate_authority().pem(), "mx.test"));
}

TEST_CASE("expired, not yet valid, self-signed and client-only certificates are not trusted") {
    const certificate_authority authority;
    auto wish = named("mx.test");
    wish.validity = validity::expired;
    CHECK_FALSE(trusted(authority.issue(wish), authority.pem(), "mx.test"));
    wish.validity = validity::not_yet;
    CHECK_FALSE(trusted(authority.issue(wish), authority.pem(), "mx.test"));
    wish = named("mx.test");
    wish.client_only = true;
    CHECK_FALSE(trusted(authority.issue(wish), authority.pem(), "mx.test"));
    const auto alone = self_signed(named("mx.test"));
    CHECK_FALSE(trusted(alone, authority.pem(), "mx.test"));
    CHECK(trusted(alone, {}, {}));
}

TEST_CASE("a chain is trusted with its intermediate and not without") {
    const certificate_authority root;
    auto shown = root.intermediate("Between").issue("mx.test");
    CHECK(trusted(shown, root.pem(), "mx.test"));
    shown.chain_pem.clear();
    CHECK_FALSE(trusted(shown, root.pem(), "mx.test"));
}

TEST_CASE("a certificate without alternative names is known by its common name") {
    const certificate_authority authority;
    auto wish = named("mx.test");
    wish.alternative_names = false;
    CHECK(trusted(authority.issue(wish), authority.pem(), "mx.test"));
    CHECK_FALSE(trusted(authority.issue(wish), authority.pem(), "also.mx.test"));
}

TEST_CASE("a server of one old TLS version is refused by OpenSSL's defaults") {
    const auto shown = certificate_authority().issue("mx.test");
    CHECK(trusted(shown, {}, {}, TLS1_2_VERSION));
    CHECK_FALSE(trusted(shown, {}, {}, TLS1_VERSION));
}

TEST_CASE("digests are hexadecimal, and files are written with a private key") {
    const auto made = certificate_authority().issue("mx.test");
    CHECK(made.sha256().size() == 64);
    CHECK(made.public_key_sha256().size() == 64);
    CHECK(made.sha256() != made.public_key_sha256());
    const temporary_folder folder;
    made.write(folder.path(), "mx");
    CHECK(std::filesystem::file_size(folder.file("mx.pem")) == made.pem.size());
    CHECK((std::filesystem::status(folder.file("mx.key")).permissions() &
           std::filesystem::perms::others_all) == std::filesystem::perms::none);
}
