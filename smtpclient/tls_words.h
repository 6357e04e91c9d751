// A TLS policy from the words of a caller, the tool's or the library's: a level, names, digests and
// the path of a file with the authorities to trust, which is read here (4 MiB at most).
//
// What is wrong comes back as a sentence that begins with the caller's own name for it. Blocks as
// long as reading the file does. Any thread.
#pragma once

#include "smtpclient/tls_policy.h"

#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

struct tls_words {
    std::string level = "may";
    std::vector<std::string> match;
    std::vector<std::string> fingerprints;
    std::string ca_file;
};

struct tls_word_names {
    std::string_view level = "tls";
    std::string_view match = "tls_match";
    std::string_view fingerprints = "tls_fingerprints";
    std::string_view ca_file = "tls_ca_file";
};

// "" when nothing is wrong.
[[nodiscard]] std::string read_tls(const tls_words& words,
                                   const tls_word_names& called,
                                   tls_policy& into);

}  // namespace callforward::smtpclient
