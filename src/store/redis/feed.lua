-- Begins every script that writes to the feed, which all servers follow. Its first keys are those of
-- the epoch and of the feed.

-- What a server may miss without having to load the rooms anew: so many entries, and bytes beside the
-- oldest. The last ones stay, however large: who has missed any then finds a whole read.
local FEED_ENTRIES, FEED_BYTES, FEED_LEAST = 10000, 4 * 1024 * 1024, 64
-- What Redis takes at most for an entry with its idempotency key: beside its strings, which have a few
-- bytes each, and a third more where memory is not cut to measure.
local ENTRY_BYTES, STRING_BYTES, SLACK = 100, 4, 4 / 3

local epoch, feed = KEYS[1], KEYS[2]

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function bytes_of(...)
    local bytes = 0
    for _, text in ipairs({...}) do bytes = bytes + STRING_BYTES + #tostring(text) end
    return ENTRY_BYTES + math.floor(bytes * SLACK)
end

local function field(entry, wanted)
    for i = 1, #entry[2], 2 do
        if entry[2][i] == wanted then return entry[2][i + 1] end
    end
    return ''
end

local function number(entry, wanted) return tonumber(field(entry, wanted)) or 0 end

-- Adds an entry to the feed and returns its id. The entry says how many bytes were ever `fed`.
local function tell(id, ...)
    local fed = redis.call('HINCRBY', epoch, 'fed', bytes_of(...))
    id = redis.call('XADD', feed, 'MAXLEN', FEED_ENTRIES, id, 'fed', fed, ...)
    while redis.call('XLEN', feed) > FEED_LEAST do
        local oldest = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
        if fed - number(oldest, 'fed') <= FEED_BYTES then break end
        redis.call('XDEL', feed, oldest[1])
    end
    return id
end

