#include "milter/mail_parameters.h"

#include "smtpclient/printable.h"

#include <charconv>
#include <string_view>

namespace callforward::milter {

smtpclient::mail_parameters parse_parameters(const std::vector<std::string>& untrusted) {
    smtpclient::mail_parameters parameters;
    for (const auto& parameter : untrusted) {
        const auto equals = parameter.find('=');
        const std::string_view keyword = std::string_view(parameter).substr(0, equals);
        const std::string_view value = equals == std::string::npos
                                           ? std::string_view{}
                                           : std::string_view(parameter).substr(equals + 1);
        if (smtpclient::equal_ignoring_case(keyword, "SMTPUTF8")) parameters.smtputf8 = true;
        if (smtpclient::equal_ignoring_case(keyword, "SIZE")) {
            std::uint64_t size = 0;
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), size);
            if (error == std::errc{} && end == value.data() + value.size()) parameters.size = size;
        }
        if (!smtpclient::equal_ignoring_case(keyword, "BODY")) continue;
        for (const char* const known : {"7BIT", "8BITMIME", "BINARYMIME"}) {
            if (smtpclient::equal_ignoring_case(value, known)) parameters.body = known;
        }
    }
    return parameters;
}

}  // namespace callforward::milter
