// OpenSSL, loaded before anybody needs it.
//
// It initialises itself once, at its first use, and what fails then (no memory, no descriptor for
// its configuration) fails for as long as the process lives. A daemon loads it at its start, where
// a failure is a message and not every TLS session of its life.
#pragma once

namespace callforward::smtpclient {

// Throws std::runtime_error. Once is enough; any thread.
void load_tls();

}  // namespace callforward::smtpclient
