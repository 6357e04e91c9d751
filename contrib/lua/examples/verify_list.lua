-- lua verify_list.lua < addresses: which of these have no mailbox? One address a line.
--
-- All are asked side by side, over few connections: the session keeps them, and adapts to what each host bears.
local callforward = require("callforward")

local questions = { mailfrom = "", timeout = 120, host = os.getenv("VERIFY_HOST"), port = os.getenv("VERIFY_PORT") }
for line in io.lines() do
    local address = line:match("^%s*(.-)%s*$")
    if address ~= "" then questions[#questions + 1] = { rcptto = address } end
end

local session = callforward.session()
local unknown = 0
for _, answer in ipairs(session:query_many(questions)) do
    local detail = answer.detail
    if detail.outcome == "undeliverable" then
        unknown = unknown + 1
        print(detail.rcptto .. "  no: " .. answer.err)
    elseif detail.outcome == "undetermined" then
        print(detail.rcptto .. "  ask again later: " .. answer.err)
    end
end
session:close()
os.exit(unknown == 0 and 0 or 1)
