#include "milter/tool/daemon_client.h"

#include "milter/config.h"
#include "milter/descriptor.h"
#include "milter/unix_address.h"
#include "smtpclient/printable.h"

#include <grp.h>
#include <httplib.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <cerrno>
#include <system_error>

namespace callforward::tool {

namespace {

constexpr int patience_seconds = 90;  // a call-forward may take 60

// Why nobody answers, as an errno; 0: somebody is there. The library's own errors do not tell a
// missing socket from a forbidden one.
int why_unreachable(const std::string& path) {
    const auto address = milter::unix_address(path);
    if (!address) return ENAMETOOLONG;
    const milter::descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* const generic = reinterpret_cast<const sockaddr*>(&*address);
    return ::connect(probe.get(), generic, sizeof *address) == 0 ? 0 : errno;
}

// Whose group may use the socket: its own, or, where even that is hidden, that of its folder.
std::string group_of(const std::string& path) {
    struct stat about {};
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    if (::stat(path.c_str(), &about) != 0 && ::stat(folder.c_str(), &about) != 0) return {};
    const group* const found = about.st_gid == 0 ? nullptr : ::getgrgid(about.st_gid);
    return found == nullptr ? "" : found->gr_name;
}

[[noreturn]] void unreachable(const control_place& at) {
    const std::string& path = at.path;
    const int error = why_unreachable(path);
    const std::string why =
        error == 0 ? "it gave no answer" : std::generic_category().message(error);
    if (!at.mistake.empty()) {
        throw tool_error(EX_CONFIG,
                         at.mistake + "\nSo the daemon's socket is not known, and at " + path +
                             " nobody answers: " + why +
                             ". What runs goes on with what it has read before.");
    }
    const std::string told = "cannot reach the daemon at " + path + ": " + why + ". ";
    if (error == EACCES) {
        const std::string name = group_of(path);
        throw tool_error(EX_UNAVAILABLE,
                         told + "Be root, or a user in the " +
                             (name.empty() ? "socket's group." : "group " + name + '.'));
    }
    const std::string advice =
        "Is callforward-milter running? If its configuration is another, say -c FILE, or --socket "
        "PATH.";
    if (error == ENOENT || error == ECONNREFUSED) {
        const std::string_view more =
            at.was_said ? ""
                        : " If [control] socket has just been changed, it listens at the old one "
                          "until it is restarted.";
        throw no_daemon((told + advice).append(more));
    }
    throw tool_error(EX_UNAVAILABLE, told + advice);
}

int exit_code_for(int status) {
    constexpr int bad_request = 400;
    constexpr int unprocessable = 422;
    if (status == bad_request) return EX_USAGE;
    return status == unprocessable ? EX_CONFIG : EX_TEMPFAIL;
}

template <class Request>
json ask(const control_place& at, Request request) {
    httplib::ClientImpl client(at.path, 80);
    client.set_address_family(AF_UNIX);
    client.set_default_headers({{"Host", "localhost"}});
    client.set_read_timeout(patience_seconds);
    const httplib::Result result = request(client);
    if (!result) unreachable(at);
    json body = json::parse(result->body, nullptr, false);
    if (body.is_discarded()) {
        throw tool_error(EX_PROTOCOL,
                         "the daemon's answer is not understood; is it of another release?");
    }
    constexpr int first_failure = 400;
    if (result->status < first_failure) return body;
    const auto error = body.find("error");
    const std::string why = error != body.end() && error->is_string()
                                ? error->get<std::string>()
                                : "HTTP status " + std::to_string(result->status);
    throw tool_error(exit_code_for(result->status), why);
}

}  // namespace

no_daemon::no_daemon(const std::string& what) : tool_error(EX_UNAVAILABLE, what) {}

control_place control_socket(const daemon_options& o) {
    if (!o.socket.empty()) return {o.socket, {}, true};
    const bool named = !o.config.empty();
    const std::string file = named ? o.config : milter::default_file;
    try {
        const auto s = milter::load_settings(file, {}, !named);
        if (!s.control.socket.empty()) return {s.control.socket, {}};
    } catch (const milter::config_error& e) {
        // The daemon may run with what was there before, and may have said there where it listens.
        if (!named) return {milter::control_settings{}.socket, e.what()};
        throw tool_error(EX_CONFIG, e.what());
    }
    throw no_daemon("[control] socket is \"\" in " + file +
                    ": this daemon has no control socket; kill -HUP makes it read the file all "
                    "the same");
}

json daemon_client::get(const std::string& path, const parameters& with) const {
    httplib::Params query;
    for (const auto& [name, value] : with) query.emplace(name, value);
    return ask(place_, [&](httplib::ClientImpl& client) {
        return client.Get(path.c_str(), query, httplib::Headers{});
    });
}

json daemon_client::post(const std::string& path, const json& body) const {
    const std::string text = body.dump(-1, ' ', false, json::error_handler_t::replace);
    return ask(place_, [&](httplib::ClientImpl& client) {
        return client.Post(path.c_str(), text, "application/json");
    });
}

std::string text_at(const json& answer, const char* name) {
    const auto found = answer.find(name);
    if (found == answer.end() || found->is_null()) return {};
    return found->is_string() ? found->get<std::string>() : found->dump();
}

}  // namespace callforward::tool
