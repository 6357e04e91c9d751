-- luarocks make contrib/lua/callforward-0.1.0-1.rockspec   (in the source folder, with libcallforward installed;
-- elsewhere than in /usr or /usr/local: CALLFORWARD_DIR=PREFIX besides)
package = "callforward"
version = "0.1.0-1"
source = {
    url = "file://callforward-0.1.0.tar.gz",
}
description = {
    summary = "Ask the server that would get the mail whether it takes a recipient",
    detailed = [[
        An SMTP call-forward: a conversation up to RCPT TO, without sending anything. One call, many at once, or a
        session that keeps connections. Scripts for Momentum's msys.beta.rcptto_proxy run unchanged.
    ]],
    license = "BSD-2-Clause",
}
dependencies = {
    "lua >= 5.1, < 5.5",
}
external_dependencies = {
    CALLFORWARD = {
        header = "callforward/callforward.h",
        library = "callforward",
    },
}
build = {
    type = "builtin",
    modules = {
        callforward = {
            sources = {
                "contrib/lua/arguments.cpp",
                "contrib/lua/asking.cpp",
                "contrib/lua/callforward_lua.cpp",
            },
            incdirs = { "contrib/lua", "$(CALLFORWARD_INCDIR)" },
            libdirs = { "$(CALLFORWARD_LIBDIR)" },
            libraries = { "callforward", "stdc++" },
        },
        ["msys.beta.rcptto_proxy"] = "contrib/lua/msys/beta/rcptto_proxy.lua",
    },
}
