#include "milter/fleet/notice.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace callforward::milter::fleet {

namespace {

constexpr std::string_view format = "1";
constexpr std::size_t longest_notice = 2048;
constexpr std::size_t longest_edge = 64;
constexpr unsigned most_seconds = 86400;
constexpr std::array<std::pair<notice::kind, std::string_view>, 7> kinds{{
    {notice::kind::forget, "forget"},
    {notice::kind::forget_domain, "forget_domain"},
    {notice::kind::forget_all, "forget_all"},
    {notice::kind::exists, "exists"},
    {notice::kind::refused, "refused"},
    {notice::kind::closed, "closed"},
    {notice::kind::open, "open"},
}};

std::string_view take_word(std::string_view& text) {
    const auto end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    return word;
}

}  // namespace

std::string to_text(const notice& n) {
    std::string text(format);
    text += ' ' + n.edge + ' ';
    for (const auto& [kind, name] : kinds) {
        if (kind == n.what) text += name;
    }
    return text + ' ' + std::to_string(n.seconds) + ' ' + n.name;
}

std::optional<notice> parse_notice(std::string_view untrusted) {
    if (untrusted.size() > longest_notice || take_word(untrusted) != format) return std::nullopt;
    notice n{};
    n.edge = take_word(untrusted);
    const std::string_view what = take_word(untrusted);
    const auto* const known =
        std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.second == what; });
    const std::string_view seconds = take_word(untrusted);
    const auto [end, error] =
        std::from_chars(seconds.data(), seconds.data() + seconds.size(), n.seconds);
    const bool good = known != kinds.end() && error == std::errc{} &&
                      end == seconds.data() + seconds.size() && n.seconds <= most_seconds;
    if (!good || n.edge.empty() || n.edge.size() > longest_edge) return std::nullopt;
    n.what = known->first;
    n.name = untrusted;
    return n;
}

}  // namespace callforward::milter::fleet
