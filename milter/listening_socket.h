// The milter socket beside libmilter: what is in its way, who may use it, and how to reach it.
//
// libmilter says why it can not listen only to syslog, and takes a unix socket away from a process
// that answers there; so both are looked at first, and so is a descriptor that a service manager
// should have handed over ("fd:N"). Errors are std::runtime_error, one sentence for
// the operator; a group that does not exist is a config_error. Start-up only.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace callforward::milter {

// The path of "unix:/path" or "local:/path"; "" for other kinds.
[[nodiscard]] std::string unix_socket_path(const std::string& socket);
// Removes a stale unix socket; throws when the address is in use, no socket, or can not be had, or
// when descriptor N of "fd:N" is no socket that listens.
void make_room_for(const std::string& socket);
// A connection to what listens there, not inherited by children; the caller closes it. Throws when
// there is nobody, or we may not.
[[nodiscard]] int connect_to(const std::string& socket);
// Nothing when name is "".
[[nodiscard]] std::optional<gid_t> group_named(const std::string& name);
// 0, or why not. Whoever owns the folder may have put something else in the socket's place: only a
// socket is given away, never what a link points to.
[[nodiscard]] int give_socket(const std::string& path, uid_t user, gid_t group);
void give_to_group(const std::string& path, gid_t group);

}  // namespace callforward::milter
