-- Changes a server's roster: who is connected there.
--
-- A roster is a hash that expires unless its server renews it. Its field `ROOM:NAME`, in which the
-- name is folded, is `AUTHOR NAME`; its field `ROOM` is how many listen there; its field `@AUTHOR` is
-- where an author was last seen, `ADDRESS NAME`. Whoever is in a roster owns the name, so no other author
-- gets into one with it.
--
-- KEYS  epoch, feed, servers, roster of this server
-- ARGV  epoch, server, milliseconds until the roster expires, mode, and fields with their new values
--       ("" removes one)
--         claim: all of them, or none if a name is somebody else's, here or elsewhere
--         change: those that are nobody else's elsewhere
--         all: the same, of a roster that begins anew
-- Returns "epoch"; or "taken" and a name's field; or "ok" and the id of the entry that tells the others.

local _, _, servers, roster = unpack(KEYS)
local current, server, expiry, mode = unpack(ARGV)
local prefix = string.sub(roster, 1, -#server - 1)

-- A server that does not know of lost entries yet must not take names after them.
if redis.call('HGET', epoch, 'id') ~= current then return {'epoch', ''} end

local others = {}
for _, other in ipairs(redis.call('SMEMBERS', servers)) do
    if redis.call('EXISTS', prefix .. other) == 0 then
        redis.call('SREM', servers, other)
    elseif other ~= server or mode == 'claim' then
        others[#others + 1] = prefix .. other
    end
end

local function is_free(field, value)
    if value == '' or not string.find(field, ':', 1, true) then return true end
    for _, other in ipairs(others) do
        local holder = redis.call('HGET', other, field)
        if holder and string.match(holder, '^%S+') ~= string.match(value, '^%S+') then return false end
    end
    return true
end

local changes = {}
for i = 5, #ARGV, 2 do
    local field, value = ARGV[i], ARGV[i + 1]
    if is_free(field, value) then
        changes[#changes + 1] = {field, value}
    elseif mode == 'claim' then
        return {'taken', field}
    end
end
if mode == 'all' then redis.call('DEL', roster) end
for _, change in ipairs(changes) do
    if change[2] == '' then
        redis.call('HDEL', roster, change[1])
    else
        redis.call('HSET', roster, change[1], change[2])
    end
end
redis.call('PEXPIRE', roster, expiry)
redis.call('SADD', servers, server)
return {'ok', tell('*', 'kind', 'presence', 'server', server, 'mode', mode, 'ms', expiry,
    'changes', #changes > 0 and cjson.encode(changes) or '[]')}
