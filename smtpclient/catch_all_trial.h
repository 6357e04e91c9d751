// A test for catch_all_probe that is under way, and who waits for what it finds out: of as many
// recipients as come at once one brings the test, and the next hop is asked for one random address.
//
// It lasts as long as its only owner, the coroutine that makes it, whatever ends that: then those
// who wait look for a finding, and where there is none the first of them makes the next test. Each
// waits until its own deadline. One event loop thread.
#pragma once

#include "smtpclient/errand.h"

#include <memory>
#include <utility>
#include <vector>

namespace callforward::smtpclient {

class catch_all_trial {
public:
    catch_all_trial() = default;
    catch_all_trial(const catch_all_trial&) = delete;
    catch_all_trial& operator=(const catch_all_trial&) = delete;
    ~catch_all_trial() {
        for (const auto& e : waiting_) e->answered.cancel();
    }

    void join(std::shared_ptr<errand> e) { waiting_.push_back(std::move(e)); }
    // What is true of all of them: the host could not be asked.
    void tell(const host_answer& a) const {
        for (const auto& e : waiting_) e->give(a);
    }

private:
    std::vector<std::shared_ptr<errand>> waiting_;  // shared with those who wait
};

}  // namespace callforward::smtpclient
