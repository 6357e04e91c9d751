// Envelopes and verdicts as Lua tables, and what a policy script answers as values.
//
// For script.cpp only, within script_state::run(): all of these may leave by Lua's exceptions, with
// a message that names the field. Text of the client, of the MTA and of a next hop goes in as it
// came, except that a next hop's reply is printable.
#pragma once

#include "milter/script.h"

struct lua_State;

namespace callforward::milter {

void push_envelope(lua_State* l, const script_subject& about);
void push_verdict(lua_State* l, const script_verdict& v);

// Of the value on top of the stack, which stays there. Nothing, or no value: no wishes.
void read_wishes(lua_State* l, const policy& now, script_wishes& into);
void read_answer(lua_State* l, script_answer& into);

}  // namespace callforward::milter
