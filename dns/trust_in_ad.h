// Whether the AD bit of an answer is believed (RFC 6840 section 5.8): anybody on the way from the
// server can set it.
#pragma once

namespace callforward::dns {

enum class trust_in_ad {
    automatic,  // where every server is on the loopback
    yes,
    no,
};

}  // namespace callforward::dns
