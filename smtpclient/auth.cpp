#include "smtpclient/auth.h"

#include <array>
#include <cstdint>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::string_view mask = "****";

void replace_all(std::string& text, std::string_view what) {
    if (what.empty()) return;
    for (auto at = text.find(what); at != std::string::npos;
         at = text.find(what, at + mask.size())) {
        text.replace(at, what.size(), mask);
    }
}

}  // namespace

std::string base64(std::string_view bytes) {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::string_view three = bytes.substr(i, 3);
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            bits = (bits << 8U) | (k < three.size() ? static_cast<unsigned char>(three[k]) : 0U);
        }
        std::array<char, 4> four{};
        for (std::size_t k = 0; k < 4; ++k) {
            four[k] = k <= three.size() ? alphabet[(bits >> (18 - 6 * k)) & 0x3fU] : '=';
        }
        text.append(four.data(), four.size());
    }
    return text;
}

std::string plain_response(const credentials& c) {
    std::string message(1, '\0');
    message += c.username;
    message += '\0';
    message += c.password;
    return base64(message);
}

std::string without_secrets(std::string_view line, const credentials& c) {
    std::string shown(line);
    if (!c.wanted()) return shown;
    // The longest first: it may hold the others.
    replace_all(shown, plain_response(c));
    replace_all(shown, base64(c.password));
    replace_all(shown, c.password);
    return shown;
}

std::function<void(char, std::string_view)> without_secrets(
    std::function<void(char, std::string_view)> shown, const credentials& c) {
    if (!shown || !c.wanted()) return shown;
    return [shown = std::move(shown), c](char side, std::string_view line) {
        shown(side, without_secrets(line, c));
    };
}

}  // namespace callforward::smtpclient
