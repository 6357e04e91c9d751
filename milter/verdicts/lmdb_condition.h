// Whether the cache on disk is of use, said in the log when that changes, and only then.
//
// On the store's thread.
#pragma once

#include "milter/log.h"
#include "milter/verdicts/lmdb_store.h"

#include <string>
#include <string_view>
#include <utility>

namespace callforward::milter::verdicts {

class lmdb_condition {
public:
    static constexpr std::string_view unusable =
        "the cache on disk cannot be used; verdicts are kept in memory only";
    static constexpr std::string_view unwritable =
        "the cache on disk cannot be written; new verdicts are kept in memory";
    static constexpr std::string_view late =
        "the cache on disk is emptied: it could be used too late for what was to be forgotten";
    static constexpr std::string_view removed =
        "the cache on disk is removed: what was to be forgotten could not be written to it";

    // The options must outlive it.
    explicit lmdb_condition(const lmdb_options& options) : options_(options) {}

    void failing(std::string_view what, const std::string& why) {
        if (std::exchange(is_failing_, true)) return;
        options_.say(log_level::error, what, {{"directory", options_.directory}, {"why", why}});
    }
    void usable() {
        if (!std::exchange(is_failing_, false)) return;
        options_.say(log_level::info,
                     "the cache on disk can be used again",
                     {{"directory", options_.directory}});
    }
    void warn(std::string_view what) const {
        options_.say(log_level::warning, what, {{"directory", options_.directory}});
    }

private:
    const lmdb_options& options_;
    bool is_failing_ = false;
};

}  // namespace callforward::milter::verdicts
