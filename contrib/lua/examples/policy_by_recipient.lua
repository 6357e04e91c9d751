-- [policy] script: a recipient decides where, as whom and how seriously it is verified.

-- Mailboxes that live beside the main server of their domain.
local archive = { ["invoices@example.com"] = true, ["scans@example.com"] = true }

-- Domains that moved last week: watch what would be refused, refuse nothing yet.
local watched = { ["new.example.com"] = true }

function before(envelope)
    local rcpt = envelope.rcpt:lower()
    -- Bounce addresses are made up for each message (VERP); the next hop takes all of them.
    if rcpt:find("^bounce%-[%w=]+@") then
        return { skip = "bounce address" }
    end
    if archive[rcpt] then
        return { route = { "[192.0.2.25]:25", "[192.0.2.26]:25" } }
    end
    -- Lists send with a new sender each time, and a new sender is a new question: ask as the null sender.
    if envelope.sender:find("-owner@", 1, true) then
        return { sender = "null" }
    end
    if watched[envelope.domain] then
        return { mode = "monitor" }
    end
end
