// The tool's side of the control socket: one request at a time, over a unix socket, JSON both ways.
//
// Whatever goes wrong is a tool_error with the exit code of sysexits(3) and a sentence that says
// what to do: 69 when nobody answers at the socket, 78 for a configuration the daemon refuses, 64
// for a request it does not understand.
#pragma once

#include <nlohmann/json.hpp>

#include <map>
#include <stdexcept>
#include <string>

namespace callforward::tool {

using json = nlohmann::ordered_json;

class tool_error : public std::runtime_error {
public:
    tool_error(int exit_code, const std::string& what)
        : std::runtime_error(what), exit_code_(exit_code) {}
    [[nodiscard]] int exit_code() const { return exit_code_; }

private:
    int exit_code_;
};

// As far as can be seen there is none: no socket, or nobody who listens at it.
class no_daemon : public tool_error {
public:
    explicit no_daemon(const std::string& what);
};

struct daemon_options {
    std::string socket;  // "": that of the configuration
    std::string config;  // "": the default file, if it is there
    bool json = false;
};

struct control_place {
    std::string path;
    std::string mistake;    // in the configuration, so that the path is only the usual one
    bool was_said = false;  // by --socket
};
// --socket, or what [control] socket of the configuration says. Throws tool_error.
[[nodiscard]] control_place control_socket(const daemon_options& o);

class daemon_client {
public:
    explicit daemon_client(const daemon_options& o) : place_(control_socket(o)) {}

    using parameters = std::map<std::string, std::string>;
    [[nodiscard]] json get(const std::string& path, const parameters& with = {}) const;
    [[nodiscard]] json post(const std::string& path, const json& body) const;
    [[nodiscard]] const std::string& socket() const { return place_.path; }

private:
    control_place place_;
};

// Of an answer: text as it is, other values as JSON; "" where it is null or not there.
[[nodiscard]] std::string text_at(const json& answer, const char* name);

}  // namespace callforward::tool
