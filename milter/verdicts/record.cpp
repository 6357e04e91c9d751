#include "milter/verdicts/record.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace callforward::milter::verdicts {

using smtpclient::reason;
using smtpclient::stage;
using smtpclient::verdict;
using smtpclient::verdict_class;

namespace {

constexpr std::size_t head_size = 32;
constexpr std::size_t checksum_size = 8;
constexpr std::size_t longest_name = 255;
constexpr std::size_t longest_detail = 1000;
constexpr std::size_t longest_text = 2000;  // of a reply, all lines
constexpr std::size_t most_lines = 32;
constexpr std::size_t most_names = 32;
constexpr std::chrono::hours longest_life{24 * 36501};

// --- writing ---

class writer {
public:
    void number(std::uint64_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i));
    }
    void text(std::string_view value) {
        value = value.substr(0, 0xffff);
        number(value.size(), 2);
        text_ += value;
    }
    void texts(std::span<const std::string> values) {
        values = values.first(std::min<std::size_t>(values.size(), 255));
        number(values.size(), 1);
        for (const auto& value : values) text(value);
    }
    void raw(std::string_view bytes) { text_ += bytes; }
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    std::string text_;
};

void write(writer& out, const verdict& v) {
    out.text(to_string(v.finding.verdict_class));
    out.text(to_string(v.finding.reason));
    out.text(to_string(v.stage));
    out.text(v.detail);
    out.text(v.host);
    out.text(v.address);
    out.number(v.port, 2);
    out.number(v.tls ? 1 : 0, 1);
    if (v.tls) {
        out.text(v.tls->version);
        out.text(v.tls->cipher);
        out.number(v.tls->verified ? 1 : 0, 1);
        out.text(v.tls->by);
    }
    out.texts(v.next_hop_names);
    out.texts(v.mx);
    out.number(v.reply ? 1 : 0, 1);
    if (!v.reply) return;
    out.number(static_cast<std::uint64_t>(v.reply->code), 2);
    out.texts(v.reply->lines);
}

// --- reading; after the first fault everything is empty and ok() false ---

class reader {
public:
    explicit reader(std::string_view bytes) : rest_(bytes) {}

    std::uint64_t number(unsigned bytes) {
        const std::string_view part = take(bytes);
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < part.size(); ++i) {
            value |= std::uint64_t{static_cast<unsigned char>(part[i])} << (8 * i);
        }
        return value;
    }
    bool flag() {
        const auto value = number(1);
        if (value > 1) ok_ = false;
        return value == 1;
    }
    std::string_view text(std::size_t longest) {
        const auto length = static_cast<std::size_t>(number(2));
        if (length > longest) ok_ = false;
        return ok_ ? take(length) : std::string_view{};
    }
    std::vector<std::string> texts(std::size_t most, std::size_t longest) {
        const auto count = static_cast<std::size_t>(number(1));
        if (count > most) ok_ = false;
        std::vector<std::string> all;
        for (std::size_t i = 0; ok_ && i < count; ++i) all.emplace_back(text(longest));
        return all;
    }
    void fault() { ok_ = false; }
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool at_end() const { return rest_.empty(); }

private:
    std::string_view take(std::size_t count) {
        if (!ok_ || rest_.size() < count) {
            ok_ = false;
            return {};
        }
        const std::string_view part = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return part;
    }

    std::string_view rest_;
    bool ok_ = true;
};

constexpr std::array kept_classes{verdict_class::deliverable, verdict_class::undeliverable};

verdict_class read_class(reader& in) {
    const auto name = in.text(longest_name);
    for (const auto c : kept_classes) {
        if (to_string(c) == name) return c;
    }
    in.fault();
    return verdict_class::unreachable;
}

verdict read_verdict(reader& in) {
    verdict v;
    v.finding.verdict_class = read_class(in);
    const auto why = smtpclient::parse_reason(in.text(longest_name));
    const auto where = smtpclient::parse_stage(in.text(longest_name));
    if (!why || !where) in.fault();
    v.finding.reason = why.value_or(reason::protocol_error);
    v.stage = where.value_or(stage::none);
    v.detail = in.text(longest_detail);
    v.host = in.text(longest_name);
    v.address = in.text(longest_name);
    v.port = static_cast<std::uint16_t>(in.number(2));
    if (in.flag()) {
        auto& tls = v.tls.emplace();
        tls.version = in.text(longest_name);
        tls.cipher = in.text(longest_name);
        tls.verified = in.flag();
        tls.by = in.text(longest_name);
    }
    v.next_hop_names = in.texts(most_names, longest_name);
    v.mx = in.texts(most_names, longest_name);
    if (in.flag()) {
        auto& r = v.reply.emplace();
        r.code = static_cast<int>(in.number(2));
        r.lines = in.texts(most_lines, longest_text);
        if (r.code < 200 || r.code > 599) in.fault();
    }
    return v;
}

// What no call-forward gives, a store must not give either.
bool is_possible(const verdict& v) {
    if (smtpclient::usual_class(v.finding.reason) != v.finding.verdict_class) return false;
    if (v.finding.verdict_class == verdict_class::deliverable) return true;
    if (v.reply) return v.stage == stage::rcpt || v.stage == stage::data;
    return v.finding.reason == reason::no_such_domain || v.finding.reason == reason::null_mx;
}

std::uint64_t bits_of(wall_time t) {
    return static_cast<std::uint64_t>(t.time_since_epoch().count());
}

wall_time time_of(std::uint64_t bits) {
    return wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(bits)}};
}

std::uint64_t checksum(std::string_view head,
                       std::string_view body,
                       const digest& key,
                       const hash_seed& seed) {
    digester d(seed);
    d.add(key);
    d.add(head);
    d.add(body);
    return d.finish().first;
}

void shorten(std::vector<std::string>& names, std::size_t most, std::size_t longest) {
    if (names.size() > most) names.resize(most);
    for (auto& name : names) name.resize(std::min(name.size(), longest));
}

smtpclient::reply without_text(const smtpclient::reply& r) {
    const auto enhanced = r.enhanced();
    return {r.code, {enhanced ? to_string(*enhanced) : std::string()}};
}

}  // namespace

verdict trimmed(const verdict& v) {
    verdict kept = v;
    kept.detail.resize(std::min(kept.detail.size(), longest_detail));
    kept.host.resize(std::min(kept.host.size(), longest_name));
    kept.address.resize(std::min(kept.address.size(), longest_name));
    if (kept.tls) {
        for (auto* text : {&kept.tls->version, &kept.tls->cipher, &kept.tls->by}) {
            text->resize(std::min(text->size(), longest_name));
        }
    }
    if (v.outcome() == smtpclient::outcome::deliverable) {
        kept.next_hop_names.clear();
        kept.mx.clear();
        if (kept.reply) kept.reply = without_text(*kept.reply);
        return kept;
    }
    shorten(kept.next_hop_names, most_names, longest_name);
    shorten(kept.mx, most_names, longest_name);
    if (!kept.reply) return kept;
    auto& lines = kept.reply->lines;
    if (lines.size() > most_lines) lines.resize(most_lines);
    std::size_t left = longest_text;
    for (auto& line : lines) {
        line.resize(std::min(line.size(), left));
        left -= line.size();
    }
    return kept;
}

std::string encode(const verdict& v) {
    writer out;
    write(out, v);
    return out.take();
}

std::string encode(const record& r, const digest& key, const hash_seed& seed) {
    writer head;
    head.number(record_version, 1);
    head.number(r.verdict.outcome() == smtpclient::outcome::deliverable ? 1 : 0, 1);
    head.number(r.repeats, 1);
    head.number(0, 1);
    head.number(r.tags.address, 8);
    head.number(r.tags.domain, 4);
    head.number(bits_of(r.learnt), 8);
    head.number(bits_of(r.expires), 8);
    const std::string first = head.take();
    writer body;
    body.text(r.recipient);
    write(body, r.verdict);
    const std::string last = body.take();
    writer whole;
    whole.raw(first);
    whole.number(checksum(first, last, key, seed), checksum_size);
    whole.raw(last);
    return whole.take();
}

std::optional<record_head> head_of(std::string_view untrusted) {
    if (untrusted.size() < head_size + checksum_size) return std::nullopt;
    reader in(untrusted.substr(0, head_size));
    if (in.number(1) != record_version) return std::nullopt;
    record_head head;
    head.deliverable = in.flag();
    static_cast<void>(in.number(1));
    if (in.number(1) != 0) return std::nullopt;
    head.tags.address = in.number(8);
    head.tags.domain = static_cast<std::uint32_t>(in.number(4));
    head.learnt = time_of(in.number(8));
    head.expires = time_of(in.number(8));
    const auto zero = wall_time{};
    if (!in.ok() || head.learnt < zero || head.expires < head.learnt) return std::nullopt;
    if (head.expires - head.learnt > longest_life) return std::nullopt;
    return head;
}

std::optional<record> decode(std::string_view untrusted, const digest& key, const hash_seed& seed) {
    const auto head = head_of(untrusted);
    if (!head) return std::nullopt;
    const std::string_view body = untrusted.substr(head_size + checksum_size);
    reader sum(untrusted.substr(head_size, checksum_size));
    const auto expected = checksum(untrusted.substr(0, head_size), body, key, seed);
    if (sum.number(checksum_size) != expected) return std::nullopt;
    reader in(body);
    record r;
    r.recipient = in.text(1000);
    r.verdict = read_verdict(in);
    if (!in.ok() || !in.at_end() || !is_possible(r.verdict)) return std::nullopt;
    const bool deliverable = r.verdict.outcome() == smtpclient::outcome::deliverable;
    if (deliverable != head->deliverable) return std::nullopt;
    r.tags = head->tags;
    r.learnt = head->learnt;
    r.expires = head->expires;
    r.repeats = static_cast<std::uint8_t>(untrusted[2]);
    return r;
}

}  // namespace callforward::milter::verdicts
