-- [policy] script: what the next hop said decides what the client is told.

-- A next hop that is often away, behind which nobody is unknown for long.
local patient = { ["lab.example.com"] = true }

function after(envelope, verdict)
    -- This server says 550 for a mailbox over quota. Mail for it may wait.
    if verdict.code == 550 and verdict.text:lower():find("over quota", 1, true) then
        return { action = "tempfail", text = "Mailbox is full, try again later" }
    end
    -- Better queued here than kept by the sender.
    if verdict.class == "unreachable" and patient[envelope.domain] then
        return { action = "accept" }
    end
    -- Same action, other words.
    if verdict.reason == "unknown_user" then
        return { text = "No mailbox of that name; see https://www.example.com/contacts" }
    end
end
