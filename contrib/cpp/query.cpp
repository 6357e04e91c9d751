// query RECIPIENT [HOST [PORT]]: does the server that would get the mail take this recipient?
//
// Without CMake: c++ -std=c++17 query.cpp $(pkg-config --cflags --libs callforward) -o query
#include <callforward/callforward.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: query RECIPIENT [HOST [PORT]]\n";
        return 64;
    }
    callforward::query_options options;
    options.rcptto = argv[1];
    if (argc > 2) options.host = argv[2];
    if (argc > 3) options.port = static_cast<std::uint16_t>(std::atoi(argv[3]));
    try {
        const auto result = callforward::query(options);
        std::cout << callforward::to_string(result.outcome) << "; " << callforward::describe(result)
                  << '\n';
        switch (result.outcome) {
            case callforward::outcome::deliverable:
                return 0;
            case callforward::outcome::undeliverable:
                return 1;
            case callforward::outcome::undetermined:
                return 75;
        }
    } catch (const std::invalid_argument& wrong) {
        std::cerr << "query: " << wrong.what() << '\n';
        return 64;
    }
    return 70;
}
