// Which refusals may be about the session: a table.
#include "smtpclient/session_complaint.h"

#include <doctest/doctest.h>

#include <vector>

using namespace callforward::smtpclient;

namespace {

struct row {
    int code;
    const char* text;
    bool about_session;
};

const std::vector<row> rows{
    {503, "5.5.1 need MAIL before RCPT", true},
    {503, "Sender already specified", true},
    {500, "unrecognized", true},
    {452, "4.5.3 too many", true},
    {452, "too many recipients", true},
    {451, "4.5.3 try the others later", true},
    {451, "4.7.1 one recipient per session", true},
    {450, "4.7.0 Only ONE recipient, please.", true},
    {554, "5.5.3 denied", true},
    {554, "5.5.0 denied", true},
    {550, "Maximum recipients exceeded", true},
    {550, "5.7.1 only one message per connection", true},
    {550, "5.7.1 <known@next.test>: too many different recipients", true},
    {421, "4.7.0 connection limit", true},
    // Nothing of a session.
    {250, "2.1.5 last one of this session", false},
    {550, "5.1.1 unknown; closing connection", false},
    {550, "no such user", false},
    {550, "<session@next.test>: no such user", false},
    {550, "max@next.test is not known here", false},
    {550, "maximilian is not known here", false},
    {550, "5.5.0 Requested action not taken: mailbox unavailable", false},
    {552, "5.2.2 quota exceeded", false},
    {452, "4.2.2 mailbox exceeds its limit", false},
    {552, "mailbox size limit exceeded", false},
    {452, "insufficient system storage", false},
    {450, "4.7.1 greylisted", false},
    {554, "5.7.1 blocked using zen.example", false},
};

}  // namespace

TEST_CASE("a refusal that may be about the session is told from one that is about the recipient") {
    for (const auto& row : rows) {
        CAPTURE(row.code);
        CAPTURE(row.text);
        CHECK(may_be_about_session({row.code, {row.text}}) == row.about_session);
    }
}

TEST_CASE("what two refusals have in common is their codes") {
    CHECK(code_and_enhanced({550, {"5.7.1 blocked"}}) == "550 5.7.1");
    CHECK(code_and_enhanced({550, {"blocked"}}) == "550");
}
