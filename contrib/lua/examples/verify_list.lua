-- lua verify_list.lua < addresses: which of these have no mailbox? One address a line.
--
-- They are asked side by side, over few connections: the session keeps them, and adapts to what each host bears. In
-- batches, for the time that a question waits for a connection counts as its own.
local callforward = require("callforward")

local batch = 500
local session = callforward.session()
local unknown = 0

local function ask(questions)
    for _, answer in ipairs(session:query_many(questions)) do
        local detail = answer.detail
        if detail.outcome == "undeliverable" then
            unknown = unknown + 1
            print(detail.rcptto .. "  no: " .. answer.err)
        elseif detail.outcome == "undetermined" then
            print(detail.rcptto .. "  ask again later: " .. answer.err)
        end
    end
end

local function empty()
    return { mailfrom = "", timeout = 120, host = os.getenv("VERIFY_HOST"), port = os.getenv("VERIFY_PORT") }
end

local questions = empty()
for line in io.lines() do
    local address = line:match("^%s*(.-)%s*$")
    if address ~= "" then questions[#questions + 1] = { rcptto = address } end
    if #questions == batch then
        ask(questions)
        questions = empty()
    end
end
ask(questions)
session:close()
os.exit(unknown == 0 and 0 or 1)
