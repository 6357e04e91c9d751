// Keys of [policy] about how we show ourselves to a next hop: addresses, names and passwords.
#pragma once

#include "milter/config_reader.h"
#include "smtpclient/question.h"

namespace callforward::milter {

void read_sender_fallback(const setting& from, smtpclient::transport& into);
void read_source_address(const setting& from, smtpclient::transport& into);
void read_auth_username(const setting& from, smtpclient::transport& into);
// Reads the file, too.
void read_auth_password_file(const setting& from, smtpclient::transport& into);

// What only shows when the whole table has been read, and in the one it builds on.
void check_identity(const config_node& table,
                    const section_name& section,
                    const smtpclient::transport& by,
                    reading& in);

}  // namespace callforward::milter
