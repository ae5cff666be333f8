-- Keeps and takes codes by which a person takes a session to another device.
--
-- KEYS  codes by the time of their end, owners of codes, what codes carry
-- ARGV  now in milliseconds, code, and to keep it: end, session, address, what it carries, most codes
--       of an address, most codes in all
-- Returns, of a code that is taken: session and what it carried; otherwise, and if there is no such code,
-- nothing.

local codes, owners, carried = unpack(KEYS)
local now, code, ends, session, address, body, of_address, in_all = unpack(ARGV)

local function drop(which)
    redis.call('ZREM', codes, which)
    redis.call('HDEL', owners, which)
    redis.call('HDEL', carried, which)
end

for _, old in ipairs(redis.call('ZRANGEBYSCORE', codes, '-inf', now)) do drop(old) end

if not ends then
    local owner = redis.call('HGET', owners, code)
    if not owner then return false end
    local found = {string.match(owner, '^%S+'), redis.call('HGET', carried, code)}
    drop(code)
    return found
end

-- Oldest first.
local all, own = {}, {}
for _, old in ipairs(redis.call('ZRANGE', codes, 0, -1)) do
    local owner, at = string.match(redis.call('HGET', owners, old), '^(%S+) (%S+)$')
    if owner == session then
        drop(old)
    else
        all[#all + 1] = old
        if at == address then own[#own + 1] = old end
    end
end
if #own >= tonumber(of_address) or #all >= tonumber(in_all) then drop(own[1] or all[1]) end
redis.call('ZADD', codes, ends, code)
redis.call('HSET', owners, code, session .. ' ' .. address)
redis.call('HSET', carried, code, body)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ends - now) end
return false
