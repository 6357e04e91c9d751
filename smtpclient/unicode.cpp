#include "smtpclient/unicode.h"

#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace callforward::smtpclient {

namespace {

const std::uint8_t* bytes_of(std::string_view text) {
    return reinterpret_cast<const std::uint8_t*>(text.data());
}

// libunistring would take U+FFFD for what is malformed.
bool is_well_formed(std::string_view text) {
    return u8_check(bytes_of(text), text.size()) == nullptr;
}

}  // namespace

std::string composed(std::string_view text) {
    if (!is_well_formed(text)) return std::string(text);
    std::size_t size = 0;
    const std::unique_ptr<std::uint8_t, decltype(&std::free)> result(
        u8_normalize(UNINORM_NFC, bytes_of(text), text.size(), nullptr, &size), &std::free);
    if (!result) return std::string(text);
    return {reinterpret_cast<const char*>(result.get()), size};
}

bool equal_apart_from_form(std::string_view a, std::string_view b) {
    if (a == b) return true;
    if (!is_well_formed(a) || !is_well_formed(b)) return false;
    int order = 1;
    const int failed =
        u8_casecmp(bytes_of(a), a.size(), bytes_of(b), b.size(), nullptr, UNINORM_NFC, &order);
    return failed == 0 && order == 0;
}

}  // namespace callforward::smtpclient
