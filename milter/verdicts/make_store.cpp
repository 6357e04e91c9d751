// Which store [cache] store names: make_store() of cache.h.
#include "milter/verdicts/cache.h"
#include "milter/verdicts/lmdb_store.h"

#include <algorithm>

namespace callforward::milter::verdicts {

std::string directory_of(const cache_settings& settings) {
    constexpr std::string_view lmdb = "lmdb:";
    return settings.store.starts_with(lmdb) ? settings.store.substr(lmdb.size()) : "";
}

std::unique_ptr<store> make_store(const cache_settings& settings) {
    lmdb_options options;
    options.directory = directory_of(settings);
    if (options.directory.empty()) return std::make_unique<no_store>();
    // A record is 200 to 400 bytes, and pages are two thirds full.
    const std::size_t entries = settings.capacity + settings.undeliverable_capacity;
    options.map_size = std::max<std::size_t>(entries, 65536) * 1024;
    options.stale = settings.stale;
    options.remembered = settings.undeliverable_max;
    return std::make_unique<lmdb_store>(options);
}

}  // namespace callforward::milter::verdicts
