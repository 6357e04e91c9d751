// Addresses of one host that could not be reached while another of them could: left alone for a
// while (host_penalty), so that not every session begins with waiting for them.
//
// Left alone is to be tried after all others, not never: where the others fail, too, they are the
// last hope. When its time is over an address is tried in its turn again, by one session; until
// that has connected the others still keep away. One event loop thread; at most 64, then none is
// noted.
#pragma once

#include "smtpclient/connect.h"
#include "smtpclient/connection.h"

#include <map>
#include <string>
#include <vector>

namespace callforward::smtpclient {

class shunned_addresses {
public:
    void note(const endpoint& e, steady_time until);
    void forget(const endpoint& e) { until_.erase(e.text()); }
    // For one session that is to be opened: in their order, but those that are left alone at the
    // end. again: till when it has to be found out whether the others may come back to one whose
    // time is over.
    void put_last(std::vector<endpoint>& all, steady_time now, steady_time again);

private:
    std::map<std::string, steady_time> until_;  // by endpoint::text()
};

}  // namespace callforward::smtpclient
