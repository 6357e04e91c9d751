// Whatever a DNS server sends: no crash, and records only together with `found`. The first byte
// chooses the type; the header and question are the right ones, or the bytes as they are.
#include "dns/message.h"

#include <cstdlib>
#include <vector>

using namespace callforward::dns;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const domain asked = *domain::parse("a.test");
    if (size < 10) return 0;
    const record_type types[] = {
        record_type::mx, record_type::a, record_type::aaaa, record_type::tlsa, record_type::txt};
    const record_type type = types[data[0] % 5];
    std::vector<std::uint8_t> message(data + 1, data + size);
    if ((data[0] & 0x80U) ==
        0) {  // id, flags, one question, the three other counts from the input, question
        message = {0, 1, 0x81, static_cast<std::uint8_t>(0x80U | (data[1] & 0x2fU)), 0, 1};
        message.insert(message.end(), data + 2, data + 8);
        for (const int b : {1, 0x61, 4, 0x74, 0x65, 0x73, 0x74, 0, 0, static_cast<int>(type), 0, 1})
            message.push_back(static_cast<std::uint8_t>(b));
        message.insert(message.end(), data + 8, data + size);
    }
    const auto mail = read_mail_exchangers(message, asked);
    const auto hosts = read_addresses(message, asked, type);
    const auto tls = read_tlsa(message, asked);
    const auto texts = read_texts(message, asked);
    if (mail.answer.status != status::found && !mail.answer.records.empty()) std::abort();
    if (hosts.answer.status != status::found && !hosts.answer.records.empty()) std::abort();
    if (tls.answer.status != status::found && !tls.answer.records.empty()) std::abort();
    if (texts.answer.status != status::found && !texts.answer.records.empty()) std::abort();
    return 0;
}
