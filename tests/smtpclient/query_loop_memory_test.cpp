// Without memory on the thread of a loop a question is answered all the same, and the program goes
// on. Linked with --wrap=aligned_alloc, from which asio takes all of its memory.
#include "smtpclient/query_loop.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <future>
#include <stdexcept>

namespace {

thread_local std::size_t until_failure = 0;  // 0: never

}  // namespace

// The linker's names for them.
extern "C" void* real_aligned_alloc(std::size_t alignment,
                                    std::size_t size) __asm__("__real_aligned_alloc");
extern "C" void* failing_aligned_alloc(std::size_t alignment,
                                       std::size_t size) __asm__("__wrap_aligned_alloc");

void* failing_aligned_alloc(std::size_t alignment, std::size_t size) {
    if (until_failure > 0 && --until_failure == 0) return nullptr;
    return real_aligned_alloc(alignment, size);
}

using namespace callforward::smtpclient;
using namespace std::chrono_literals;

namespace {

// On the loop's thread, with a completion that needs no question asked.
void in_turn(query_loop& loop, const std::function<void()>& act) {
    query_options nobody;
    nobody.rcptto = "bob";
    loop.start(prepare(nobody), [act](const std::exception_ptr&, const query_result&) { act(); });
}

query_options unreachable() {
    query_options options;
    options.rcptto = "bob@next.test";
    options.host = "unix:/no/such/socket";
    return options;
}

// "answer", or "no memory"; `nth` allocation on the loop's thread fails.
std::string ask(query_loop& loop, std::size_t nth) {
    std::promise<std::string> promise;
    auto answer = promise.get_future();
    in_turn(loop, [nth] { until_failure = nth; });
    loop.start(prepare(unreachable()), [&](const std::exception_ptr& thrown, const query_result&) {
        until_failure = 0;
        promise.set_value(thrown ? "no memory" : "answer");
    });
    return answer.get();
}

}  // namespace

TEST_CASE("a question that finds no memory is answered, and the next one is asked") {
    for (const std::size_t nth : {1, 2}) {  // the call, and asio's frame around it
        query_loop loop({});
        CHECK(ask(loop, nth) == "no memory");
        CHECK(ask(loop, 0) == "answer");
    }
}

TEST_CASE("what a completion throws against its promise does not end the program") {
    query_loop loop({});
    in_turn(loop, [] { throw std::runtime_error("a fault of the program"); });
    CHECK(ask(loop, 0) == "answer");
}
