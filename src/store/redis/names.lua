-- Claims, renews and gives up names.
--
-- A name's key has the author whose it is and the server that renewed it last, and expires.
--
-- KEYS  epoch, names
-- ARGV  epoch, mode, server, milliseconds, and the author of each name
--         claim: all of the names or none
--         renew: each name that is nobody else's
--         shorten: lets the names expire sooner that this server renewed last; at once after 0
-- Returns {"ok" or "epoch", the places of names that are somebody else's}.

local current, mode, server, milliseconds = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'id') ~= current then return {'epoch'} end

local result = {'ok'}
local mine = {}
for i = 2, #KEYS do
    local author = ARGV[i + 3]
    local value = author .. ' ' .. server
    local holder = redis.call('GET', KEYS[i])
    if mode == 'claim' or mode == 'renew' then
        if holder and string.sub(holder, 1, #author) ~= author then
            result[#result + 1] = tostring(i - 2)
        else
            mine[#mine + 1] = {KEYS[i], value}
        end
    elseif holder == value then
        redis.call('PEXPIRE', KEYS[i], milliseconds)
    end
end
if mode == 'renew' or #result == 1 then
    for _, name in ipairs(mine) do
        redis.call('SET', name[1], name[2], 'PX', milliseconds)
    end
end
return result
