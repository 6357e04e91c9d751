// The keys of [cache] that say which store several hosts share, and the files that they name: the
// password is read once, with the configuration; certificates are only checked, and read again when
// the store is opened. Any thread.
#pragma once

#include "milter/config_reader.h"
#include "milter/settings.h"

#include <string>

namespace callforward::milter {

void read_shared_store(const setting& from, const std::string& store, cache_settings& s);
void read_store_user(const setting& from, cache_settings& s);
void read_store_password(const setting& from, cache_settings& s);

}  // namespace callforward::milter
