// The configuration file (INTERFACE section 2) to settings, and back.
//
// A file is read whole, at most 4 MiB, with the lists it names. All that is wrong is found before
// anything is thrown, one line each: "file:line:column: message". Behind this header stand
// config_tree (the only user of a TOML library), config_reader (types, ranges, names),
// config_sections and config_policy (the keys). Any thread; reads files, changes nothing.
#pragma once

#include "milter/settings.h"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::milter {

constexpr const char* default_file = "/etc/callforward/callforward.toml";

class config_error : public std::runtime_error {  // what(): the findings, without last line end
    using std::runtime_error::runtime_error;
};

// `overrides` are the arguments of --set, "SECTION.KEY=TOMLVALUE"; they win over the file, later
// ones over earlier ones.
[[nodiscard]] settings load_settings(const std::string& file,
                                     const std::vector<std::string>& overrides,
                                     bool file_may_be_missing);

// A file that is read at the start and again at each reload. Where it may be missing, it may be so
// only as long as it was never there: what it says must not turn into the defaults because somebody
// is just replacing it. One thread at a time.
class settings_file {
public:
    settings_file(std::string path, std::vector<std::string> overrides, bool may_be_missing)
        : path_(std::move(path)),
          overrides_(std::move(overrides)),
          may_be_missing_(may_be_missing) {}

    // Throws config_error; then all stays as it was.
    [[nodiscard]] settings load();
    // Of the last load(): "" when there was none, and the built-in defaults are in force.
    [[nodiscard]] const std::string& path_read() const { return path_read_; }

private:
    std::string path_;
    std::vector<std::string> overrides_;
    bool may_be_missing_;
    std::string path_read_;
};

// The same for text that has been read; `file` is its name in messages and the base of relative
// "@file" entries.
[[nodiscard]] settings parse_settings(std::string_view text,
                                      const std::string& file,
                                      const std::vector<std::string>& overrides = {});

// The effective configuration, lists expanded, as TOML that parse_settings() takes back. Keys this
// release does not act on are left out.
[[nodiscard]] std::string to_toml(const settings& s);

// The keys of a policy with their values as TOML, in the order of the documentation.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> policy_values(const policy& p);

}  // namespace callforward::milter
