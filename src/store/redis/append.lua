-- Appends a message, or the removal of one, to its room and to the feed under one id.
--
-- A script runs alone, so nothing comes between the checks and the append, and the order of the
-- feed is the order of the ids.
--
-- KEYS  feed, stream of the room, rooms by the time of their newest entry, idempotency keys of the
--       room, epoch, token of this attempt, and of a message for which the name has
--       to be free: servers
-- ARGV  epoch, room, entries retained (0: all), milliseconds that an idle room is kept (0: for
--       good), id before which entries are too old (or ""), entries of the feed, kind, and
--         message: name, author or "", member (0 or 1), text, idempotency key or "", what the names of
--         rosters begin with, and the name's field in them
--         removal: id of the removed message, by
-- Returns "new", "old", "taken", "none" or "epoch"; the entry's id; and of a new message whether its
-- sender is a member, of an old entry its fields.
--
-- Each entry has the last id that its room had `evicted` when it came: the newest one has the room's
-- low-water mark.

local feed, room, rooms, keys, epoch, token, servers = unpack(KEYS)
local current, name, retained, ttl, oldest, feed_length, kind = unpack(ARGV)
local TOKEN_MS = 60000

local function field(fields, wanted)
    for i = 1, #fields, 2 do
        if fields[i] == wanted then return fields[i + 1] end
    end
    return ''
end

-- Evicts the entries that a range has, and returns the last of their ids. An idempotency key is
-- forgotten with the entry that it was last used for.
local function evict(from, to, ...)
    local last
    for _, entry in ipairs(redis.call('XRANGE', room, from, to, ...)) do
        local key = field(entry[2], 'key')
        if key ~= '' and redis.call('HGET', keys, key) == entry[1] then
            redis.call('HDEL', keys, key)
        end
        redis.call('XDEL', room, entry[1])
        last = entry[1]
    end
    return last
end

-- The low-water mark of the room. A room that is made anew may have had entries until it expired.
local function mark()
    local newest = redis.call('XREVRANGE', room, '+', '-', 'COUNT', 1)[1]
    if newest then return field(newest[2], 'evicted') end
    if tonumber(ttl) == 0 then return '0-0' end
    return string.format('%.0f-0', math.max(0, redis.call('TIME')[1] * 1000 - ttl))
end

local function add(evicted, key, ...)
    if oldest ~= '' then
        evicted = evict('-', '(' .. oldest) or evicted
    end
    local excess = tonumber(retained) > 0 and redis.call('XLEN', room) + 1 - retained or 0
    if excess > 0 then
        evicted = evict('-', '+', 'COUNT', excess) or evicted
    end
    local id = redis.call('XADD', feed, 'MAXLEN', feed_length, '*', 'evicted', evicted, ...)
    redis.call('XADD', room, id, 'evicted', evicted, ...)
    if key ~= '' then redis.call('HSET', keys, key, id) end
    local ms = string.match(id, '^%d+')
    redis.call('ZADD', rooms, ms, name)
    if tonumber(ttl) > 0 then
        redis.call('PEXPIRE', room, ttl)
        redis.call('PEXPIRE', keys, ttl)
        redis.call('ZREMRANGEBYSCORE', rooms, '-inf', string.format('(%.0f', ms - ttl))
    end
    return id
end

-- A server that does not know of lost entries yet must not append after them.
if redis.call('HGET', epoch, 'id') ~= current then return {'epoch', '', {}} end

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
    for _, server in ipairs(servers and member == '0' and redis.call('SMEMBERS', servers) or {}) do
        local holder = redis.call('HGET', prefix .. server, name_field)
        if holder then
            if string.match(holder, '^%S+') ~= author then return {'taken', '', {}} end
            member = '1'
        end
    end
    local id = add(mark(), key, 'kind', kind, 'room', name, 'name', speaker, 'author', author,
        'member', member, 'text', text, 'key', key)
    redis.call('SET', token, id .. ' ' .. member, 'PX', TOKEN_MS)
    return {'new', id, {'member', member}}
end

local removed, by = unpack(ARGV, 8)
local message = redis.call('XRANGE', room, removed, removed)[1]
if not message or field(message[2], 'kind') ~= 'message' then
    for _, later in ipairs(redis.call('XRANGE', room, removed, '+')) do
        if field(later[2], 'removed') == removed then return {'old', later[1], later[2]} end
    end
    return {'none', '', {}}
end
local key, evicted = field(message[2], 'key'), mark()
redis.call('XDEL', room, removed)
redis.call('XDEL', feed, removed)
return {'new', add(evicted, key, 'kind', kind, 'room', name, 'removed', removed, 'by', by, 'key', key), {}}
