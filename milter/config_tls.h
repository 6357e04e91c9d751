// The keys of [policy] that say how connections are secured, and the files they name: read once,
// with the configuration, and checked then.
#pragma once

#include "milter/config_reader.h"
#include "smtpclient/tls_policy.h"

namespace callforward::milter {

void read_tls_match(const setting& from, smtpclient::tls_policy& into);
void read_tls_fingerprints(const setting& from, smtpclient::tls_policy& into);
void read_tls_ca_file(const setting& from, smtpclient::tls_policy& into);
void read_tls_cert_file(const setting& from, smtpclient::tls_policy& into);
void read_tls_key_file(const setting& from, smtpclient::tls_policy& into);

// What no key says alone: that each has the others that it needs. `table` is the section's.
void check_tls(const config_node& table,
               const section_name& section,
               const smtpclient::tls_policy& read,
               reading& in);

}  // namespace callforward::milter
