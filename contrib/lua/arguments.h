// Arguments of the module's functions, read from Lua tables into plain values.
//
// What is wrong raises a Lua error that names the function, the argument and what it should be.
// Only raw access, so that no metamethod runs in between, and strings only where strings belong:
// the views stay valid while the table is unchanged.
#pragma once

#include <lua.hpp>

#include "asking.h"

namespace callforward::lua {

// The named fields of the table at `index`; those at numbers are left alone where `list` is true,
// and an error where not. Fields that are absent keep their value in `into`.
void read_question(lua_State* l, int index, const char* function, bool list, question& into);
// Raises an error unless the question names a recipient.
void require_recipient(lua_State* l, const char* function, const question& q);
// No table at `index` leaves all defaults.
void read_session(lua_State* l, int index, const char* function, session_wishes& into);

}  // namespace callforward::lua
