// Folders for the daemon's user in places that are root's, /var/lib and /run: made while we are
// still root.
//
// Only where nobody but root can put something else in the place of what is on the way there; links
// that root has made are followed. Elsewhere nothing is made: the user can do that himself, where
// it is his to do. Whoever needs the folder says what is wrong with it. Start-up only.
#pragma once

#include <sys/types.h>

#include <string>

namespace callforward::milter {

// Mode 0750, those above it root's with 0755; one that is there stays as it is. False: it is not
// there. path is absolute.
bool make_folder_for(const std::string& path, uid_t user, gid_t group);

}  // namespace callforward::milter
