#include "milter/log_queue.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace callforward::milter;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t smallest = log_queue::longest_line + 64;

std::vector<std::string> lines_of(const log_queue::batch& taken) {
    std::vector<std::string> lines;
    taken.for_each([&](const log_queue::line& l) { lines.emplace_back(l.text); });
    return lines;
}

}  // namespace

TEST_CASE(
    "Lines come out as they went in, with their level and time, also across the end of the ring") {
    log_queue queue(smallest);
    log_queue::batch taken;
    const log_queue::time_point when{12345s};
    for (int round = 0; round < 300; ++round) {
        const std::string text(static_cast<std::size_t>(500 + round),
                               static_cast<char>('a' + round % 26));
        queue.push(log_level::warning, when, text);
        queue.push(log_level::info, when + 1s, "");
        REQUIRE(queue.take(taken));
        CHECK(taken.lost() == 0);
        std::vector<log_queue::line> lines;
        taken.for_each([&](const log_queue::line& l) { lines.push_back(l); });
        REQUIRE(lines.size() == 2);
        CHECK(lines[0].text == text);
        CHECK(lines[0].level == log_level::warning);
        CHECK(lines[0].when == when);
        CHECK(lines[1].text.empty());
        CHECK(lines[1].level == log_level::info);
    }
}

TEST_CASE("When there is no room the oldest lines are lost, and counted") {
    log_queue queue(smallest);
    const std::string text(10000, 'x');
    for (int i = 0; i < 20; ++i) queue.push(log_level::info, {}, std::to_string(i) + ' ' + text);
    log_queue::batch taken;
    REQUIRE(queue.take(taken));
    const auto lines = lines_of(taken);
    CHECK(taken.lost() == 20 - lines.size());
    REQUIRE(lines.size() == 6);
    CHECK(lines.front().starts_with("14 "));
    CHECK(lines.back().starts_with("19 "));
    queue.push(log_level::info, {}, "next");
    REQUIRE(queue.take(taken));
    CHECK(taken.lost() == 0);
}

TEST_CASE("A line is kept up to its longest") {
    log_queue queue(smallest);
    queue.push(log_level::info, {}, std::string(log_queue::longest_line + 1, 'x'));
    log_queue::batch taken;
    REQUIRE(queue.take(taken));
    CHECK(lines_of(taken).front().size() == log_queue::longest_line);
}

TEST_CASE("A reader gets all lines of several writers, and then the end") {
    log_queue queue(1 << 20);
    std::vector<std::thread> writers;
    for (int w = 0; w < 4; ++w) {
        writers.emplace_back([&queue] {
            for (int i = 0; i < 1000; ++i) queue.push(log_level::info, {}, "a line of some length");
        });
    }
    std::size_t read = 0;
    std::size_t lost = 0;
    std::thread reader([&] {
        log_queue::batch taken;
        while (queue.take(taken)) {
            lost += taken.lost();
            read += lines_of(taken).size();
            queue.rest(1ms);
        }
    });
    for (auto& writer : writers) writer.join();
    queue.close();
    reader.join();
    CHECK(read + lost == 4000);
    CHECK(lost == 0);
}
