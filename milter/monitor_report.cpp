#include "milter/monitor_report.h"

#include "milter/bounded_file.h"
#include "milter/descriptor.h"
#include "milter/settings_names.h"
#include "smtpclient/printable.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <system_error>

namespace callforward::milter {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t longest_domain = 255;
constexpr std::size_t longest_example = 320;
constexpr std::size_t largest_file = std::size_t{64} * 1024 * 1024;

std::int64_t hour_of(monitor_report::wall_time t) {
    return std::chrono::floor<std::chrono::hours>(t).time_since_epoch().count();
}

std::string text_in(const ordered_json& j, const char* name) {
    const auto found = j.find(name);
    return found != j.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::optional<std::int64_t> number_in(const ordered_json& j, const char* name) {
    const auto found = j.find(name);
    if (found == j.end() || !found->is_number_integer()) return std::nullopt;
    return found->get<std::int64_t>();
}

std::optional<action> action_named(std::string_view name) {
    for (const auto& [value, its_name] : action_names) {
        if (its_name == name) return value;
    }
    return std::nullopt;
}

void add_example(std::vector<std::string>& to, std::string_view untrusted) {
    if (to.size() >= monitor_report::most_examples) return;
    std::string example = smtpclient::printable_utf8(untrusted, longest_example);
    if (std::find(to.begin(), to.end(), example) == to.end()) to.push_back(std::move(example));
}

std::string failure(const char* what, const std::string& file) {
    return std::string(what) + ' ' + file + ": " + std::generic_category().message(errno);
}

// All of it on the disk, or not at all.
std::string write_whole(const std::string& file, std::string_view text) {
    const std::string fresh = file + ".new";
    const descriptor made(
        open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
    if (made.get() < 0) return failure("cannot make", fresh);
    std::string wrong;
    while (!text.empty() && wrong.empty()) {
        const ssize_t count = write(made.get(), text.data(), text.size());
        if (count < 0 && errno != EINTR) wrong = failure("cannot write", fresh);
        if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
    }
    if (wrong.empty() && fsync(made.get()) != 0) wrong = failure("cannot write", fresh);
    if (wrong.empty() && rename(fresh.c_str(), file.c_str()) != 0) {
        wrong = failure("cannot replace", file);
    }
    if (!wrong.empty()) unlink(fresh.c_str());
    return wrong;
}

}  // namespace

void monitor_report::note(std::string_view domain,
                          smtpclient::reason r,
                          action would,
                          std::string_view recipient,
                          wall_time now) {
    const std::int64_t hour = hour_of(now);
    const std::lock_guard lock(mutex_);
    row& here = rows_[{hour, smtpclient::printable_utf8(domain, longest_domain), r, would}];
    ++here.count;
    add_example(here.examples, recipient);
    changed_ = true;
    drop_old(hour);
}

void monitor_report::drop_old(std::int64_t now_hour) {
    // By the last hour before this one that has rows: a clock that is far ahead takes nothing away
    // until it has been for an hour.
    const auto here = rows_.lower_bound({now_hour, "", {}, {}});
    if (here != rows_.begin()) {
        const std::int64_t before = std::get<0>(std::prev(here)->first);
        rows_.erase(rows_.begin(), rows_.lower_bound({before - kept.count() + 1, "", {}, {}}));
    }
    while (rows_.size() > most_rows) {
        const std::int64_t oldest = std::get<0>(rows_.begin()->first);
        const std::int64_t newest = std::get<0>(std::prev(rows_.end())->first);
        // What is all of this hour would all be lost: then the last row. So it is with what a wrong
        // clock has written.
        const bool from_end = newest > now_hour || oldest == now_hour;
        rows_.erase(from_end ? std::prev(rows_.end()) : rows_.begin());
    }
}

std::vector<monitor_report::sum> monitor_report::since(wall_time begin,
                                                       std::string_view domain,
                                                       wall_time now) const {
    const std::int64_t first = hour_of(begin);
    const std::int64_t last = hour_of(now);
    std::map<std::tuple<std::string, smtpclient::reason, action>, sum> sums;
    {
        const std::lock_guard lock(mutex_);
        for (auto at = rows_.lower_bound({first, "", {}, {}}); at != rows_.end(); ++at) {
            const auto& [hour, its_domain, reason, would] = at->first;
            if (hour > last) break;
            if (!domain.empty() && its_domain != domain) continue;
            sum& s = sums[{its_domain, reason, would}];
            s.domain = its_domain;
            s.reason = reason;
            s.action = would;
            s.count += at->second.count;
            for (const auto& example : at->second.examples) add_example(s.examples, example);
        }
    }
    std::vector<sum> all;
    for (auto& [key, s] : sums) all.push_back(std::move(s));
    std::stable_sort(
        all.begin(), all.end(), [](const sum& a, const sum& b) { return a.count > b.count; });
    return all;
}

std::string monitor_report::text() const {
    const std::lock_guard lock(mutex_);
    std::string lines;
    for (const auto& [key, its] : rows_) {
        const auto& [hour, domain, reason, would] = key;
        const ordered_json j{{"hour", hour},
                             {"domain", domain},
                             {"reason", to_string(reason)},
                             {"action", to_string(would)},
                             {"count", its.count},
                             {"examples", its.examples}};
        lines += j.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
    }
    return lines;
}

void monitor_report::read(std::string_view untrusted, wall_time now) {
    const std::int64_t now_hour = hour_of(now);
    const std::lock_guard lock(mutex_);
    while (!untrusted.empty()) {
        const auto end = std::min(untrusted.find('\n'), untrusted.size());
        const ordered_json j = ordered_json::parse(untrusted.substr(0, end), nullptr, false);
        untrusted.remove_prefix(std::min(end + 1, untrusted.size()));
        if (!j.is_object()) continue;
        const auto hour = number_in(j, "hour");
        const auto count = number_in(j, "count");
        const auto reason = smtpclient::parse_reason(text_in(j, "reason"));
        const auto would = action_named(text_in(j, "action"));
        if (!hour || *hour < 0 || !count || *count <= 0 || !reason || !would) continue;
        const std::string domain = smtpclient::printable_utf8(text_in(j, "domain"), longest_domain);
        row& here = rows_[{*hour, domain, *reason, *would}];
        here.count += static_cast<std::uint64_t>(*count);
        const auto examples = j.find("examples");
        if (examples != j.end() && examples->is_array()) {
            for (const auto& each : *examples) {
                if (each.is_string()) add_example(here.examples, each.get<std::string>());
            }
        }
        drop_old(now_hour);
    }
}

std::string monitor_report::save(const std::string& file) {
    {
        const std::lock_guard lock(mutex_);
        changed_ = false;
    }
    std::string wrong = write_whole(file, text());
    if (!wrong.empty()) {
        const std::lock_guard lock(mutex_);
        changed_ = true;
    }
    return wrong;
}

void monitor_report::load(const std::string& file, wall_time now) {
    const file_text contents = read_bounded(file, largest_file);
    if (contents.error.empty()) read(contents.text, now);
}

bool monitor_report::is_changed() const {
    const std::lock_guard lock(mutex_);
    return changed_;
}

}  // namespace callforward::milter
