-- callforward under the name of Momentum's module, so that a script written for that one runs unchanged:
-- require("msys.beta.rcptto_proxy") also sets the global msys.beta.rcptto_proxy.
local callforward = require("callforward")

local proxy = { query = callforward.query }

local msys = rawget(_G, "msys") or {}
rawset(_G, "msys", msys)
msys.beta = msys.beta or {}
msys.beta.rcptto_proxy = proxy

return proxy
