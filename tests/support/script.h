// SMTP dialogues as plain text (tests/scripts/*.smtp), parsed into values: what a server says, what
// it waits for, and what the call-forward must make of it. No sockets here: the loopback server
// (script_server.h) and the sans-IO player of the dialogue tests play the same steps.
//
// One step a line: "S: text" ("S<: text" without CRLF, both with the escapes of unescape()), "C:
// text" (literal, a final * matches any rest), "TLS", "TLS garbage", "CLOSE", "RESET", "STALL",
// "NEXT". Before the steps "? key = value", as the last line "= outcome reason stage". "#" begins a
// comment line. Control characters other than tab are an error. Anything that is not understood
// throws script_error with file and line.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::testing {

enum class step_kind {
    server,       // send text
    client,       // wait for the line text
    tls,          // a handshake as server
    tls_garbage,  // answer the ClientHello with bytes that are no ServerHello
    close,        // FIN, under TLS without close_notify
    reset,        // RST; before the client has spoken it may see a failed connect instead
    stall,        // read on and answer nothing until the client leaves
    next,         // the following steps play on the client's next connection
};

struct script_step {
    step_kind kind = step_kind::server;
    std::string text;  // server: the bytes, line end included; client: the line without its end
    bool any_rest = false;  // client: the line only has to begin with text
    std::size_t line = 0;   // in the file, from 1

    // What the step would look like in a script, for messages.
    [[nodiscard]] std::string source() const;
};

struct script_result {
    std::string outcome;  // deliverable, undeliverable or undetermined
    std::string reason;
    std::string stage;
};

struct script {
    std::string name;                             // the file's name without folder and ".smtp"
    std::map<std::string, std::string> settings;  // only keys that the parser knows
    std::vector<script_step> steps;
    script_result result;

    // The setting, or otherwise when the script does not give it.
    [[nodiscard]] std::string setting(const std::string& key, std::string_view otherwise) const;
};

class script_error : public std::runtime_error {
public:
    script_error(std::string_view file, std::size_t line, std::string_view what);
};

// True when the client's line, without its CRLF, is what the step (of kind client) waits for.
[[nodiscard]] bool matches(const script_step& step, std::string_view line);

[[nodiscard]] script parse_script(std::string_view text, std::string_view file);
[[nodiscard]] script load_script(const std::filesystem::path& file);
// All *.smtp of the folder, sorted by name. An empty or missing folder is an error: a sweep over
// nothing proves nothing.
[[nodiscard]] std::vector<script> load_scripts(const std::filesystem::path& folder);

// \r \n \t \0 \xHH \\ to bytes, and back: escape() leaves printable ASCII and makes everything else
// visible.
[[nodiscard]] std::string unescape(std::string_view text);  // throws std::invalid_argument
[[nodiscard]] std::string escape(std::string_view bytes);

}  // namespace callforward::testing
