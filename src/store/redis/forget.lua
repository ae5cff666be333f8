-- Forgets the marks of rooms whose entries have all expired. What is left of them is one mark, under
-- the name "": up to there, a room that is made anew may have had entries.
--
-- KEYS  low-water marks of all rooms, and the stream of each room asked about
-- ARGV  the name of each of these rooms

local marks = KEYS[1]

local function parts(id)
    local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(milliseconds), tonumber(sequence)
end

local newest = redis.call('HGET', marks, '') or '0-0'
for i, name in ipairs(ARGV) do
    local mark = redis.call('HGET', marks, name)
    if mark and name ~= '' and redis.call('EXISTS', KEYS[i + 1]) == 0 then
        local last = string.match(mark, '(%S+)$')
        local ms, sequence = parts(last)
        local newest_ms, newest_sequence = parts(newest)
        if ms > newest_ms or (ms == newest_ms and sequence > newest_sequence) then newest = last end
        redis.call('HSET', marks, '', newest)
        redis.call('HDEL', marks, name)
    end
end
