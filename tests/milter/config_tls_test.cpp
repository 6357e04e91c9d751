// The files that [policy] names for TLS: read with the configuration, and checked then.
#include "milter/config.h"
#include "tests/milter/scratch_folder.h"
#include "tests/support/certificates.h"

#include <doctest/doctest.h>

#include <filesystem>

using namespace callforward::milter;
using callforward::testing::certificate;
using callforward::testing::certificate_authority;

namespace {

struct tls_folder : callforward::tests::scratch_folder {
    tls_folder() {
        write("ca.pem", authority.pem());
        write("c.pem", mine.pem);
        write("k.pem", mine.key_pem);
        write("both.pem", mine.pem + mine.key_pem);
        write("other.pem", authority.issue("other.test").key_pem);
        write("text", "hello\n");
    }
    [[nodiscard]] std::string file() const { return path() + "/callforward.toml"; }
    [[nodiscard]] settings read(const std::string& text) const {
        return parse_settings(text, file());
    }
    // Without the file's name.
    [[nodiscard]] std::string error_of(const std::string& text) const {
        try {
            (void)read(text);
        } catch (const config_error& error) {
            return std::string(error.what()).substr(file().size());
        }
        return "no error";
    }
    [[nodiscard]] std::string named(const std::string& name) const {
        return "names the file \"" + path() + '/' + name + "\"";
    }

    certificate_authority authority;
    certificate mine = authority.issue("client.test");
};

}  // namespace

TEST_CASE("the files of TLS are read with the configuration, beside it when they are relative") {
    const tls_folder folder;
    const auto s = folder.read(
        "[policy]\ntls_ca_file = \"ca.pem\"\ntls_cert_file = \"" + folder.path() +
        "/c.pem\"\ntls_key_file = \"k.pem\"\n[domain.\"a.example\"]\ntls_ca_file = \"\"\n");
    const auto& tls = s.default_policy.transport->tls;
    CHECK(tls.authorities.text() == folder.authority.pem());
    CHECK(tls.authorities.path() == folder.path() + "/ca.pem");
    CHECK(tls.certificate.text() == folder.mine.pem);
    CHECK(tls.key.text() == folder.mine.key_pem);
    const auto& of_domain = s.domain_policies.at("a.example").transport->tls;
    CHECK_FALSE(of_domain.authorities.is_given());
    CHECK(of_domain.certificate == tls.certificate);
    CHECK(to_toml(s).find("tls_key_file = \"" + folder.path() + "/k.pem\"") != std::string::npos);
    CHECK(folder.error_of("[policy]\ntls_cert_file = \"both.pem\"") == "no error");
}

TEST_CASE("a file for TLS that is no good is an error at its place, with what is wrong") {
    const tls_folder folder;
    const auto policy = [&](const std::string& keys) {
        return folder.error_of("[policy]\n" + keys);
    };
    CHECK(policy("tls_ca_file = \"none.pem\"") == ":2:15: \"tls_ca_file\" in [policy] " +
                                                      folder.named("none.pem") +
                                                      ": No such file or directory");
    CHECK(policy("tls_ca_file = \"text\"") ==
          ":2:15: \"tls_ca_file\" in [policy] " + folder.named("text") +
              ", which holds no certificate in PEM form (BEGIN CERTIFICATE)");
    CHECK(policy("tls_cert_file = \"c.pem\"\ntls_key_file = \"text\"") ==
          ":3:16: \"tls_key_file\" in [policy] " + folder.named("text") +
              ", which holds no private key in PEM form (BEGIN PRIVATE KEY)");
    CHECK(policy("tls_cert_file = \"c.pem\"\ntls_key_file = \"other.pem\"") ==
          ":3:16: \"tls_key_file\" in [policy] " + folder.named("other.pem") +
              ", which holds the key of another certificate than the one in \"tls_cert_file\"");
    CHECK(policy("tls_cert_file = \"c.pem\"") ==
          ":2:17: \"tls_cert_file\" in [policy] " + folder.named("c.pem") +
              ", which holds no private key in PEM form (BEGIN PRIVATE KEY); the key may stand in "
              "a file of its own, \"tls_key_file\"");
    CHECK(policy("tls_key_file = \"k.pem\"") ==
          ":2:16: \"tls_key_file\" in [policy] needs \"tls_cert_file\"");
}

TEST_CASE("the files of a shared store are checked with the configuration") {
    const tls_folder folder;
    folder.write("empty", "");
    const auto store = [&](const std::string& parameters) {
        std::string files = parameters;
        for (auto at = files.find("=/"); at != std::string::npos; at = files.find("=/", at + 2)) {
            files.insert(at + 1, folder.path());
        }
        return folder.error_of("[cache]\nstore = \"rediss://a.example?" + files + '"');
    };
    const std::string here = ":2:9: \"store\" in [cache] ";
    CHECK(store("ca_file=/ca.pem") == "no error");
    CHECK(store("ca_file=/ca.pem&cert_file=/c.pem&key_file=/k.pem") == "no error");
    CHECK(store("ca_file=/none.pem") ==
          here + folder.named("none.pem") + ": No such file or directory");
    for (const char* const name : {"text", "empty"}) {
        CHECK(store("ca_file=/" + std::string(name)) ==
              here + folder.named(name) +
                  ", which holds no certificate in PEM form (BEGIN CERTIFICATE)");
    }
    CHECK(store("cert_file=/c.pem&key_file=/text") ==
          here + folder.named("text") +
              ", which holds no private key in PEM form (BEGIN PRIVATE KEY)");
    CHECK(store("cert_file=/c.pem&key_file=/other.pem") ==
          here + folder.named("other.pem") +
              ", which holds the key of another certificate than the one in \"cert_file\"");
}

TEST_CASE("the level fingerprint needs fingerprints") {
    const tls_folder folder;
    CHECK(folder.error_of("[policy]\ntls = \"fingerprint\"") ==
          ":2:7: \"tls\" in [policy] = \"fingerprint\" needs \"tls_fingerprints\"");
    const std::string digits(64, '1');
    CHECK(folder.error_of("[policy]\ntls = \"fingerprint\"\ntls_fingerprints = [\"" + digits +
                          "\"]") == "no error");
    CHECK(folder.error_of("[policy]\ntls_fingerprints = [\"" + digits +
                          "\"]\n[domain.\"a.example\"]\ntls = \"fingerprint\"") == "no error");
}

TEST_CASE("the fingerprint of a policy tells other files apart, not other places of them") {
    const tls_folder folder;
    folder.write("same.pem", folder.authority.pem());
    folder.write("new.pem", certificate_authority().pem());
    const auto of = [&](const std::string& keys) {
        return folder.read("[policy]\n" + keys).default_policy.fingerprint;
    };
    const std::string usual = of("");
    const std::string with_ca = of("tls_ca_file = \"ca.pem\"");
    CHECK(with_ca != usual);
    CHECK(of("tls_ca_file = \"same.pem\"") == with_ca);
    CHECK(of("tls_ca_file = \"new.pem\"") != with_ca);
    CHECK(of("tls_cert_file = \"both.pem\"") != usual);
    CHECK(of("tls_match = [\"nexthop\"]") != usual);
    CHECK(of("tls_mta_sts = true") != usual);
}
