// Is this file a whole LMDB database? Asked before liblmdb maps it.
//
// liblmdb believes what it reads: a damaged page makes it read or write outside its memory, or stop
// the process. So the file is read by pages, with bounds, and every page that the newest meta page
// leads to is looked at: numbers, flags, offsets, order of keys, overflow pages, the list of free
// pages, that no page has two owners, and that the counts agree. Format 1 of LMDB 0.9 (lmdb.h,
// mdb.c: MDB_page, MDB_node, MDB_meta). Contents of records are not looked at: they have checksums
// of their own. Memory: one page a level, and a bit a page. Reads the whole file once.
#pragma once

#include <string>

namespace callforward::milter::verdicts {

enum class file_state {
    missing,  // or empty: liblmdb makes a new database of it
    good,
    damaged,  // or something else
    unknown,  // cannot be read, or another process was writing all the time
};

struct file_check {
    file_state state = file_state::unknown;
    std::string why;  // unless good
};

[[nodiscard]] file_check check_lmdb_file(const std::string& path);

}  // namespace callforward::milter::verdicts
