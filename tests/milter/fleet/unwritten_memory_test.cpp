// Without memory a change is put whole or not at all, and none that waits is lost for it.
#include "milter/fleet/unwritten_changes.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

namespace {

thread_local std::size_t until_failure = 0;  // 0: never

}  // namespace

void* operator new(std::size_t size) {
    if (until_failure > 0 && --until_failure == 0) throw std::bad_alloc();
    void* const memory = std::malloc(size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void* operator new[](std::size_t size) {
    return operator new(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}

using namespace callforward;
using namespace std::chrono_literals;
using milter::fleet::unwritten_changes;
using milter::verdicts::change;

namespace {

constexpr std::chrono::steady_clock::time_point start{1000h};

std::string numbered(int n) {
    return "somebody.with.a.long.name" + std::to_string(n) + "@some.example.test";
}

std::string names_of(unwritten_changes& changes) {
    std::string names;
    for (const auto& each : changes.begin(100, start)) names += each.what.name + ' ';
    return names;
}

}  // namespace

TEST_CASE("a change that finds no memory is not put, and takes none of those that wait with it") {
    const std::vector<change> again{{change::kind::forget_address, numbered(1)}};
    const std::vector<change> more{{change::kind::forget_address, numbered(7)},
                                   {change::kind::forget_domain, "some.other.example.test"},
                                   {change::kind::forget_address, numbered(0)}};
    const std::vector<change> all{{change::kind::forget_all, {}},
                                  {change::kind::declare, numbered(9)}};
    for (const auto& what : {again, more, all}) {
        bool fails = true;
        for (std::size_t which = 1; fails; ++which) {
            unwritten_changes changes;
            for (int i = 0; i < 5; ++i) {
                changes.put({{change::kind::forget_address, numbered(i)}}, start);
            }
            const std::string before = names_of(changes);
            until_failure = which;
            try {
                changes.put(what, start);
                fails = false;
            } catch (const std::bad_alloc&) {
            }
            until_failure = 0;
            if (!fails) break;
            CHECK(names_of(changes) == before);
            CHECK(changes.size() == 5);
            const auto other = smtpclient::mailbox::parse(numbered(7)).value();
            CHECK_FALSE(changes.concerns(other));
            changes.written(changes.begin(100, start));
            CHECK(changes.size() == 0);
            changes.put({{change::kind::forget_domain, "else.test"}}, start);
            CHECK_FALSE(changes.concerns(smtpclient::mailbox::parse(numbered(1)).value()));
        }
    }
}
