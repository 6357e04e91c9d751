#include "tests/bench/load_group.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <stdexcept>

namespace callforward::bench {

namespace {

constexpr std::uint64_t hot_addresses = 1000;

pattern parse_pattern(std::string_view text) {
    if (text == "hot") return pattern::hot;
    if (text == "cold") return pattern::cold;
    if (text == "unknown") return pattern::unknown;
    if (text == "one") return pattern::one;
    throw std::runtime_error("unknown pattern " + std::string(text));
}

std::uint64_t parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        throw std::runtime_error("no number: " + std::string(text));
    }
    return number;
}

void set(group_options& options, std::string_view key, std::string_view value) {
    if (key == "name") {
        options.name = value;
        return;
    }
    if (key == "pattern") {
        options.pattern = parse_pattern(value);
        return;
    }
    const std::uint64_t number = parse_number(value);
    const auto small = static_cast<unsigned>(std::min<std::uint64_t>(number, 1'000'000));
    if (key == "clients")
        options.clients = small;
    else if (key == "domains")
        options.domains = std::max(small, 1U);
    else if (key == "first")
        options.first = small;
    else if (key == "transaction")
        options.transaction = std::max(small, 1U);
    else if (key == "session")
        options.session = small;
    else if (key == "each")
        options.each = small;
    else if (key == "batch")
        options.batch = small;
    else if (key == "count")
        options.count = number;
    else
        throw std::runtime_error("unknown key " + std::string(key));
}

double milliseconds(std::vector<std::uint32_t>& sorted, double part) {
    if (sorted.empty()) return 0;
    const auto last = static_cast<double>(sorted.size() - 1);
    return sorted[static_cast<std::size_t>(last * part)] / 1000.0;
}

}  // namespace

group_options group_options::parse(std::string_view text) {
    group_options options;
    while (!text.empty()) {
        const auto comma = std::min(text.find(','), text.size());
        const auto pair = text.substr(0, comma);
        const auto equals = pair.find('=');
        if (equals == std::string_view::npos) throw std::runtime_error("a group is key=value,...");
        set(options, pair.substr(0, equals), pair.substr(equals + 1));
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return options;
}

group::group(group_options options, std::string tag)
    : options_(std::move(options)), tag_(std::move(tag)) {}

bool group::exhausted() const {
    return options_.count != 0 && made_ >= options_.count;
}

recipient group::next() {
    const std::uint64_t n = made_++;
    recipient made;
    switch (options_.pattern) {
        case pattern::hot:
            made.address = "hot" + std::to_string(n % hot_addresses);
            break;
        case pattern::cold:
            made.address = "c" + std::to_string(n) + '.' + tag_ + options_.name;
            break;
        case pattern::unknown:
            made.address = "x" + std::to_string(n) + '.' + tag_ + options_.name;
            break;
        case pattern::one:
            made.address = "one." + tag_ + options_.name;
            break;
    }
    const std::uint64_t which = options_.pattern == pattern::hot ? n % hot_addresses : n;
    made.host = options_.first + static_cast<unsigned>(which % options_.domains);
    made.domain = "d" + std::to_string(made.host) + ".bench.test";
    made.address.append("@").append(made.domain);
    return made;
}

void group::answered(int code, clock::duration took) {
    ++verdicts_;
    last_ = clock::now();
    ++codes_.at(static_cast<std::size_t>(std::clamp(code, 0, 599)));
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    took_.push_back(static_cast<std::uint32_t>(std::clamp<std::int64_t>(us, 0, UINT32_MAX)));
}

void group::begin(clock::time_point now) {
    begun_ = last_ = now;
    verdicts_ = lost_ = connects_ = failures_ = 0;
    took_.clear();
    codes_.fill(0);
}

std::string group::json(clock::time_point end) {
    // A group that was done before the end is measured up to its last answer.
    const bool bounded = options_.count != 0 || options_.each != 0;
    const auto until = bounded ? last_ : end;
    const double seconds = std::max(std::chrono::duration<double>(until - begun_).count(), 1e-9);
    std::sort(took_.begin(), took_.end());
    std::string codes;
    for (std::size_t code = 0; code < codes_.size(); ++code) {
        if (codes_.at(code) == 0) continue;
        codes += (codes.empty() ? "\"" : ",\"") + std::to_string(code) +
                 "\":" + std::to_string(codes_.at(code));
    }
    std::array<char, 512> text{};
    const int length = std::snprintf(
        text.data(),
        text.size(),
        "\"%s\":{\"verdicts\":%llu,\"seconds\":%.3f,\"rate\":%.1f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,"
        "\"p99_ms\":%.3f,\"max_ms\":%.3f,\"sessions\":%llu,\"lost\":%llu,\"failed\":%llu,",
        options_.name.c_str(),
        static_cast<unsigned long long>(verdicts_),
        seconds,
        static_cast<double>(verdicts_) / seconds,
        milliseconds(took_, 0.5),
        milliseconds(took_, 0.9),
        milliseconds(took_, 0.99),
        milliseconds(took_, 1.0),
        static_cast<unsigned long long>(connects_),
        static_cast<unsigned long long>(lost_),
        static_cast<unsigned long long>(failures_));
    return std::string(text.data(), static_cast<std::size_t>(std::max(length, 0))) + "\"codes\":{" +
           codes + "}}";
}

}  // namespace callforward::bench
