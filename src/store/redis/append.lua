-- Appends a message, or the removal of one, to its room and to the feed under one id.
--
-- A script runs alone, so nothing comes between the checks and the append, and the order of the
-- feed is the order of the ids.
--
-- KEYS  epoch, feed, stream of the room, rooms by the time of their newest entry, idempotency keys of
--       the room, token of this attempt, bans, and of a message for which the name has to be free: servers
-- ARGV  epoch, room, entries and bytes retained, milliseconds that an idle room is kept (0:
--       for good), the last id that is too old ("-": none), kind, and
--         message: name, author or "", member (0 or 1), text, idempotency key or "", what the names of
--         rosters begin with, and the name's field in them
--         removal: id of the removed message, by
-- Returns "new", "old", "banned", "taken", "none" or "epoch"; the entry's id, or for how many
-- milliseconds its author is banned; and of a new message whether its
-- sender is a member, of an old entry its fields.
--
-- Each entry has three values of its room: `evicted`, the low-water mark; `gone`, the bytes of all entries
-- up to that mark; and `total`, the bytes up to and including this entry. The room has `total - gone` bytes.
-- A removed message counts until the entry after it is evicted.

local _, _, room, rooms, keys, token, bans, servers = unpack(KEYS)
local current, name, most_entries, most_bytes, ttl, too_old, kind = unpack(ARGV)
most_entries, most_bytes, ttl = tonumber(most_entries), tonumber(most_bytes), tonumber(ttl)
local TOKEN_MS = 60000

-- A server that does not know of lost entries yet must not append after them.
if redis.call('HGET', epoch, 'id') ~= current then return {'epoch', '', {}} end

local evicted, gone, total = '0-0', 0, 0
local newest = redis.call('XREVRANGE', room, '+', '-', 'COUNT', 1)[1]
if newest then
    evicted, gone, total = field(newest, 'evicted'), number(newest, 'gone'), number(newest, 'total')
elseif ttl > 0 then
    -- It may have had entries until it expired.
    -- No entry has this sequence, so it is the id of none.
    evicted = string.format('%.0f-1048575', math.max(0, now_ms() - ttl))
end

-- Evicts what is beyond the limits. An idempotency key is forgotten with the entry that it was last
-- used for.
local function evict()
    while true do
        local is_full = redis.call('XLEN', room) >= most_entries or total - gone > most_bytes
        local oldest = redis.call('XRANGE', room, '-', is_full and '+' or too_old, 'COUNT', 1)[1]
        if not oldest then return end
        local key = field(oldest, 'key')
        if redis.call('HGET', keys, key) == oldest[1] then redis.call('HDEL', keys, key) end
        redis.call('XDEL', room, oldest[1])
        evicted, gone = oldest[1], number(oldest, 'total')
    end
end

local function add(key, ...)
    -- A key is in the room and in the hash of keys.
    total = total + bytes_of(name, key, key, ...)
    evict()
    local limits = {'evicted', evicted, 'gone', gone, 'total', total}
    local fields = {'kind', kind, 'room', name, 'key', key, ...}
    for _, text in ipairs(limits) do fields[#fields + 1] = text end
    local id = tell('*', unpack(fields))
    redis.call('XADD', room, id, unpack(fields))
    if key ~= '' then redis.call('HSET', keys, key, id) end
    local ms = string.match(id, '^%d+')
    redis.call('ZADD', rooms, ms, name)
    if ttl > 0 then
        redis.call('PEXPIRE', room, ttl)
        redis.call('PEXPIRE', keys, ttl)
        redis.call('ZREMRANGEBYSCORE', rooms, '-inf', string.format('(%.0f', ms - ttl))
    end
    return id
end

if kind == 'message' then
    local speaker, author, member, text, key, prefix, name_field = unpack(ARGV, 8)
    -- The answer to an earlier attempt was lost.
    local done = redis.call('GET', token)
    if done then
        local id, was_member = string.match(done, '^(%S+) (%S+)$')
        return {'new', id, {'member', was_member}}
    end
    local first = key ~= '' and redis.call('HGET', keys, key)
    local entry = first and redis.call('XRANGE', room, first, first)[1]
    if entry then return {'old', first, entry[2]} end
    -- Who sets a ban can remove all that was said before it: nothing comes after it.
    local ban = redis.call('HGET', bans, author)
    local left = ban and cjson.decode(ban)['until'] - now_ms() or 0
    if left > 0 then return {'banned', string.format('%.0f', left), {}} end
    -- Also of a member: its server may have been cut off until the name was somebody else's.
    for _, server in ipairs(servers and redis.call('SMEMBERS', servers) or {}) do
        local holder = redis.call('HGET', prefix .. server, name_field)
        if holder then
            if string.match(holder, '^%S+') ~= author then return {'taken', '', {}} end
            member = '1'
        end
    end
    local id = add(key, 'name', speaker, 'author', author, 'member', member, 'text', text)
    redis.call('SET', token, id .. ' ' .. member, 'PX', TOKEN_MS)
    return {'new', id, {'member', member}}
end

local removed, by = unpack(ARGV, 8)
local message = redis.call('XRANGE', room, removed, removed)[1]
if not message or field(message, 'kind') ~= 'message' then
    for _, later in ipairs(redis.call('XRANGE', room, removed, '+')) do
        if field(later, 'removed') == removed then return {'old', later[1], later[2]} end
    end
    return {'none', '', {}}
end
redis.call('XDEL', room, removed)
redis.call('XDEL', feed, removed)
return {'new', add(field(message, 'key'), 'removed', removed, 'by', by), {}}
