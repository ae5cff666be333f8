-- Says which epoch it is, and begins a new one if Redis may have lost entries that it acknowledged.
--
-- KEYS  epoch, feed, authors' secret
-- ARGV  run id of Redis, 1 if a restart of it loses nothing, newest id of the feed that this server
--       knows, secret of this server
-- Returns {id at which the epoch began, last id of the feed, secret, time in milliseconds}.
--
-- No entry has the id at which an epoch began, and every entry of the epoch has a greater one: this
-- id is the low-water mark of every room.

local _, _, secret = unpack(KEYS)
local run, durable, known, proposed = unpack(ARGV)
local now = now_ms()

-- Where Redis lost it, the servers that run bring it back before another one starts.
redis.call('SETNX', secret, proposed)
secret = redis.call('GET', secret)

local function parts(id)
    local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(milliseconds), tonumber(sequence)
end

local function is_newer(a, b)
    local a_ms, a_seq = parts(a)
    local b_ms, b_seq = parts(b)
    return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

local last = '0-0'
if redis.call('EXISTS', feed) == 1 then
    local info = redis.call('XINFO', 'STREAM', feed)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end

local stored = redis.call('HMGET', epoch, 'id', 'run')
local is_kept = stored[1] and (stored[2] == run or durable == '1')
-- What this server has seen and Redis has not is lost, whatever Redis says of itself.
if is_kept and not is_newer(known, last) then
    if stored[2] ~= run then redis.call('HSET', epoch, 'run', run) end
    return {stored[1], last, secret, now}
end

-- The epoch begins above every id that anybody may have been given.
local begin = math.max(now, parts(last) + 1, parts(known) + 1)
local id, first = string.format('%.0f-0', begin), string.format('%.0f-1', begin)
redis.call('HSET', epoch, 'id', id, 'run', run)
return {id, tell(first, 'kind', 'epoch'), secret, now}
