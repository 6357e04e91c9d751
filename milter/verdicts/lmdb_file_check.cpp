#include "milter/verdicts/lmdb_file_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

namespace callforward::milter::verdicts {

namespace {

using page_number = std::uint64_t;

constexpr page_number no_page = ~page_number{0};
constexpr std::size_t page_header = 16;
constexpr std::size_t node_header = 8;
constexpr std::uint16_t branch = 0x01;
constexpr std::uint16_t leaf = 0x02;
constexpr std::uint16_t overflow = 0x04;
constexpr std::uint16_t meta_flag = 0x08;
constexpr std::uint16_t big_data = 0x01;      // of a node: its data are on overflow pages
constexpr std::uint16_t integer_keys = 0x08;  // of a database
constexpr unsigned deepest = 32;

struct damage {  // thrown and caught in this file: a walk has one way out
    std::string why;
};
struct trouble {  // the file cannot be read
    int error;
};

template <class Number>
Number number_at(const std::vector<char>& bytes, std::size_t at) {
    Number n{};
    if (at + sizeof n > bytes.size()) throw damage{"a number outside of its page"};
    std::memcpy(&n, bytes.data() + at, sizeof n);
    return n;
}

struct database {  // MDB_db
    std::uint32_t pad;
    std::uint16_t flags;
    std::uint16_t depth;
    std::uint64_t branch_pages;
    std::uint64_t leaf_pages;
    std::uint64_t overflow_pages;
    std::uint64_t entries;
    page_number root;
};
static_assert(sizeof(database) == 48);

struct meta {  // MDB_meta
    std::uint32_t magic;
    std::uint32_t version;
    std::uint64_t address;
    std::uint64_t map_size;
    database free_pages;
    database main;
    page_number last_page;
    std::uint64_t transaction;
};
static_assert(sizeof(meta) == 136);

struct node {
    std::size_t at = 0;
    std::size_t size = 0;  // as it lies in its page
    std::uint16_t flags = 0;
    std::string_view key;
    std::string_view data;  // of a leaf
    page_number child = 0;  // of a branch
};

class checker {
public:
    explicit checker(int file) : file_(file) {
        struct stat about {};
        if (::fstat(file_, &about) != 0) throw trouble{errno};
        if (!S_ISREG(about.st_mode)) throw damage{"not a regular file"};
        size_ = static_cast<std::uint64_t>(about.st_size);
    }

    [[nodiscard]] bool empty() const { return size_ == 0; }

    void run() {
        meta_ = newest_meta();
        if (meta_.free_pages.flags != integer_keys || meta_.main.flags != 0) {
            throw damage{"not a database of this program"};
        }
        // The last pages may have been freed before they were written, but not many of them.
        if (meta_.last_page < 1 || meta_.last_page > size_ / page_size_ + most_unwritten) {
            throw damage{"pages are missing"};
        }
        owned_.assign(meta_.last_page + 1, false);
        owned_[0] = owned_[1] = true;
        walk_database(meta_.main, false);
        walk_database(meta_.free_pages, true);
    }

    [[nodiscard]] std::uint64_t transaction() { return newest_meta().transaction; }

private:
    static constexpr page_number most_unwritten = 1U << 16U;

    [[nodiscard]] std::vector<char> read(std::uint64_t at, std::size_t count) const {
        std::vector<char> bytes(count);
        std::size_t got = 0;
        while (got < count) {
            const ssize_t n =
                ::pread(file_, bytes.data() + got, count - got, static_cast<off_t>(at + got));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) throw trouble{errno};
            if (n == 0) throw damage{"the file ends too early"};
            got += static_cast<std::size_t>(n);
        }
        return bytes;
    }

    [[nodiscard]] meta meta_at(std::uint64_t at) const {
        const auto bytes = read(at, page_header + sizeof(meta));
        const auto m = number_at<meta>(bytes, page_header);
        const bool flagged = (number_at<std::uint16_t>(bytes, 10) & meta_flag) != 0;
        if (!flagged || m.magic != 0xBEEFC0DEU) throw damage{"not an LMDB file"};
        if (m.version != 1) throw damage{"an LMDB file of another version"};
        const std::uint32_t page = m.free_pages.pad;
        if (page < 512 || page > 65536 || (page & (page - 1)) != 0) throw damage{"its page size"};
        return m;
    }

    [[nodiscard]] meta newest_meta() {
        const meta first = meta_at(0);
        page_size_ = first.free_pages.pad;
        const meta second = meta_at(page_size_);
        if (second.free_pages.pad != page_size_) throw damage{"its page size"};
        return first.transaction < second.transaction ? second : first;
    }

    void own(page_number page) {
        if (page < 2 || page > meta_.last_page) throw damage{"a page number"};
        if (owned_[page]) throw damage{"a page with two owners"};
        owned_[page] = true;
    }

    void walk_database(const database& db, bool is_free) {
        counted_ = {};
        if (db.root == no_page) {
            if (db.entries != 0 || db.depth != 0) throw damage{"its counts"};
            return;
        }
        if (db.depth == 0 || db.depth > deepest) throw damage{"its depth"};
        is_free_ = is_free;
        walk(db.root, db.depth);
        if (counted_.branch_pages != db.branch_pages || counted_.leaf_pages != db.leaf_pages ||
            counted_.overflow_pages != db.overflow_pages || counted_.entries != db.entries) {
            throw damage{"its counts"};
        }
    }

    void walk(page_number number, unsigned levels) {
        own(number);
        const auto page = read(number * page_size_, page_size_);
        const std::uint16_t wanted = levels == 1 ? leaf : branch;
        if (number_at<page_number>(page, 0) != number ||
            number_at<std::uint16_t>(page, 10) != wanted) {
            throw damage{"the head of a page"};
        }
        const auto nodes = nodes_of(page, wanted);
        if (levels > 1) {
            ++counted_.branch_pages;
            for (const node& n : nodes) walk(n.child, levels - 1);
            return;
        }
        ++counted_.leaf_pages;
        counted_.entries += nodes.size();
        for (const node& n : nodes) look_at_data(n);
    }

    // All nodes of a page, after it is sure that they lie side by side up to its end.
    [[nodiscard]] std::vector<node> nodes_of(const std::vector<char>& page, std::uint16_t kind) {
        const std::size_t lower = number_at<std::uint16_t>(page, 12);
        const std::size_t upper = number_at<std::uint16_t>(page, 14);
        if (lower < page_header + 2 || lower % 2 != 0 || lower > upper || upper > page.size()) {
            throw damage{"the bounds of a page"};
        }
        const std::size_t count = (lower - page_header) / 2;
        if (kind == branch && count < 2 && !is_free_) throw damage{"a branch of one"};
        std::vector<node> nodes;
        for (std::size_t i = 0; i < count; ++i) {
            nodes.push_back(
                node_at(page, number_at<std::uint16_t>(page, page_header + 2 * i), kind));
        }
        // The first key of a branch stands for all before the second, and may be empty.
        for (std::size_t i = kind == branch ? 2 : 1; i < count; ++i) {
            if (!in_order(nodes[i - 1].key, nodes[i].key)) throw damage{"the order of keys"};
        }
        std::vector<std::pair<std::size_t, std::size_t>> places;
        for (const node& n : nodes) places.emplace_back(n.at, n.size);
        std::sort(places.begin(), places.end());
        std::size_t next = upper;
        for (const auto& [at, size] : places) {
            if (at != next) throw damage{"the nodes of a page"};
            next += size;
        }
        if (next != page.size()) throw damage{"the nodes of a page"};
        return nodes;
    }

    [[nodiscard]] node node_at(const std::vector<char>& page,
                               std::size_t at,
                               std::uint16_t kind) const {
        node n;
        n.at = at;
        const std::uint32_t low = number_at<std::uint16_t>(page, at);
        const std::uint32_t high = number_at<std::uint16_t>(page, at + 2);
        n.flags = number_at<std::uint16_t>(page, at + 4);
        const std::size_t key_size = number_at<std::uint16_t>(page, at + 6);
        const std::size_t data_size = low | high << 16U;
        std::size_t here = 0;
        if (kind == branch) {
            n.child = data_size | page_number{n.flags} << 32U;
        } else {
            if ((n.flags & ~big_data) != 0) throw damage{"the flags of a node"};
            here = (n.flags & big_data) != 0 ? sizeof(page_number) : data_size;
        }
        n.size = node_header + key_size + here;
        if (at + n.size > page.size()) throw damage{"the size of a node"};
        n.size += n.size % 2;
        const bool integer = is_free_ && !(kind == branch && key_size == 0);
        if (key_size > 511 || (integer && key_size != 8)) throw damage{"the size of a key"};
        if (kind == leaf && key_size == 0) throw damage{"the size of a key"};
        n.key = {page.data() + at + node_header, key_size};
        n.data = {n.key.data() + key_size, here};
        if ((n.flags & big_data) != 0 && kind == leaf) n.child = data_size;
        return n;
    }

    [[nodiscard]] bool in_order(std::string_view a, std::string_view b) const {
        if (!is_free_) return a < b;
        std::uint64_t first = 0;
        std::uint64_t second = 0;
        std::memcpy(&first, a.data(), std::min(a.size(), sizeof first));
        std::memcpy(&second, b.data(), std::min(b.size(), sizeof second));
        return first < second;
    }

    void look_at_data(const node& n) {
        if ((n.flags & big_data) == 0) {
            if (is_free_) look_at_free_list(n.data);
            return;
        }
        page_number first = 0;
        std::memcpy(&first, n.data.data(), sizeof first);
        const std::size_t size = n.child;
        const page_number count = (page_header + size - 1) / page_size_ + 1;
        for (page_number i = 0; i < count; ++i) own(first + i);
        counted_.overflow_pages += count;
        const auto head = read(first * page_size_, page_header);
        if (number_at<page_number>(head, 0) != first ||
            number_at<std::uint16_t>(head, 10) != overflow ||
            number_at<std::uint32_t>(head, 12) != count) {
            throw damage{"the head of overflow pages"};
        }
        const auto data = read(first * page_size_ + page_header, size);
        if (is_free_) look_at_free_list({data.data(), data.size()});
    }

    void look_at_free_list(std::string_view data) {
        std::vector<page_number> pages(data.size() / sizeof(page_number));
        if (pages.empty() || data.size() % sizeof(page_number) != 0) throw damage{"a free list"};
        std::memcpy(pages.data(), data.data(), data.size());
        if (pages[0] != pages.size() - 1) throw damage{"a free list"};
        for (std::size_t i = 1; i < pages.size(); ++i) {
            if (i > 1 && pages[i] >= pages[i - 1]) throw damage{"the order of a free list"};
            own(pages[i]);
        }
    }

    int file_;
    std::uint64_t size_ = 0;
    std::size_t page_size_ = 0;
    meta meta_{};
    std::vector<bool> owned_;
    database counted_{};
    bool is_free_ = false;
};

file_check check_open_file(int file) {
    // Another process may write: pages that the newest meta page leads to are not written again
    // before there is a newer one.
    for (int tries = 0; tries < 5; ++tries) {
        checker c(file);
        if (c.empty()) return {file_state::missing, "empty"};
        std::uint64_t before = c.transaction();
        try {
            c.run();
            return {file_state::good, {}};
        } catch (const damage& d) {
            if (c.transaction() == before) return {file_state::damaged, d.why};
        }
    }
    return {file_state::unknown, "another process is writing to it"};
}

}  // namespace

file_check check_lmdb_file(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        const int error = errno;
        const auto state = error == ENOENT ? file_state::missing : file_state::unknown;
        return {state, std::generic_category().message(error)};
    }
    file_check result;
    try {
        result = check_open_file(file);
    } catch (const damage& d) {
        result = {file_state::damaged, d.why};
    } catch (const trouble& t) {
        result = {file_state::unknown, std::generic_category().message(t.error)};
    }
    ::close(file);
    return result;
}

}  // namespace callforward::milter::verdicts
