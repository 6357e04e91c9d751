// The fuzz targets without a fuzzer: stored inputs, and changed ones that a seeded generator makes
// of them, so that every build checks the targets' laws, with any compiler and sanitizer.
//
//   fuzz-replay [--changes N] [--seed N] [--target NAME] CORPUS-FOLDER
//
// Runs each target over CORPUS-FOLDER/NAME/*, and for each input over N changes of it. An input
// that breaks a law ends it: its name, and its bytes in hexadecimal, are printed first.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#define CALLFORWARD_FUZZ_TARGET(name) extern "C" int name(const std::uint8_t*, std::size_t);
CALLFORWARD_FUZZ_TARGETS
#undef CALLFORWARD_FUZZ_TARGET

namespace {

using bytes = std::vector<std::uint8_t>;
using function = int (*)(const std::uint8_t*, std::size_t);

struct target {
    std::string_view name;
    function run;
};
#define CALLFORWARD_FUZZ_TARGET(name) target{#name, name},
const std::vector<target> targets{CALLFORWARD_FUZZ_TARGETS};
#undef CALLFORWARD_FUZZ_TARGET

// What runs now, for the handler of signals.
std::string current_name;
const bytes* current = nullptr;

void say(const char* text) {
    static_cast<void>(!write(STDERR_FILENO, text, std::strlen(text)));
}

extern "C" void on_abort(int number) {
    std::signal(number, SIG_DFL);  // after this, the end
    constexpr std::string_view digits = "0123456789abcdef";
    say("fuzz-replay: a law is broken by an input made of ");
    say(current_name.c_str());
    say("; its bytes: ");
    for (const std::uint8_t b : *current) {
        const std::array<char, 3> two{digits[b >> 4U], digits[b & 0x0fU], '\0'};
        say(two.data());
    }
    say("\n");
}

bytes read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class changer {
public:
    explicit changer(std::uint64_t seed) : random_(seed) {}

    // A few small changes, as a fuzzer makes them; other: some bytes of another input.
    bytes changed(bytes input, const bytes& other) {
        for (std::size_t n = 1 + below(4); n > 0; --n) change(input, other);
        return input;
    }
    std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

private:
    void change(bytes& input, const bytes& other) {
        const std::size_t at = below(input.size() + 1);
        const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
        const bool inside = at < input.size();
        switch (below(6)) {
            case 0:
                if (inside) *place = static_cast<std::uint8_t>(*place ^ (1U << below(8)));
                break;
            case 1:
                if (inside) *place = static_cast<std::uint8_t>(random_());
                break;
            case 2:
                input.insert(place, static_cast<std::uint8_t>(random_()));
                break;
            case 3: {
                const std::size_t length = std::min(input.size() - at, below(16));
                input.erase(place, place + static_cast<std::ptrdiff_t>(length));
                break;
            }
            case 4: {
                const std::size_t from = below(other.size());
                const std::size_t length = std::min(other.size() - from, below(64));
                const auto begin = other.begin() + static_cast<std::ptrdiff_t>(from);
                input.insert(place, begin, begin + static_cast<std::ptrdiff_t>(length));
                break;
            }
            default:
                input.resize(at);
        }
    }

    std::mt19937_64 random_;
};

struct counts {
    std::size_t stored = 0;
    std::size_t changed = 0;
};

counts replay(const target& t,
              const std::filesystem::path& folder,
              std::size_t changes,
              std::uint64_t seed) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry);
    std::sort(files.begin(), files.end());
    std::vector<bytes> inputs;
    std::transform(files.begin(), files.end(), std::back_inserter(inputs), read_file);
    changer change(seed);
    counts done;
    for (std::size_t i = 0; i < inputs.size(); ++i, ++done.stored) {
        current_name = files[i].string();
        current = &inputs[i];
        t.run(inputs[i].data(), inputs[i].size());
        for (std::size_t n = 0; n < changes; ++n, ++done.changed) {
            const bytes made = change.changed(inputs[i], inputs[change.below(inputs.size())]);
            current = &made;
            t.run(made.data(), made.size());
        }
    }
    return done;
}

int run(const std::vector<std::string>& arguments) {
    std::size_t changes = 0;
    std::uint64_t seed = 1;
    std::string only;
    std::filesystem::path corpus;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const bool takes = arguments[i].starts_with("--");
        if (takes && i + 1 == arguments.size()) throw std::runtime_error("a value is missing");
        if (arguments[i] == "--changes") {
            changes = std::stoull(arguments[++i]);
        } else if (arguments[i] == "--seed") {
            seed = std::stoull(arguments[++i]);
        } else if (arguments[i] == "--target") {
            only = arguments[++i];
        } else {
            corpus = arguments[i];
        }
    }
    for (const int number : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS}) std::signal(number, on_abort);
    std::size_t ran = 0;
    for (const target& t : targets) {
        if (!only.empty() && t.name != only) continue;
        const counts done = replay(t, corpus / t.name, changes, seed);
        if (done.stored == 0) throw std::runtime_error("no inputs for " + std::string(t.name));
        std::cout << t.name << ": " << done.stored << " stored inputs, " << done.changed
                  << " changed ones\n";
        ++ran;
    }
    if (ran == 0) throw std::runtime_error("no such target");
    return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const std::exception& e) {
        std::cerr << "fuzz-replay: " << e.what() << '\n';
        return EXIT_FAILURE;
    }
}
