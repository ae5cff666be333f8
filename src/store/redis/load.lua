-- Loads a room: what its newest entry says of it, and the newest entries up to an id.
--
-- KEYS  epoch, feed, stream of the room
-- ARGV  the id, entries at most
-- Returns the fields of the newest entry, or nothing if the room has none; and entries, newest first.

local _, _, room = unpack(KEYS)
local last, most = unpack(ARGV)
local newest = redis.call('XREVRANGE', room, '+', '-', 'COUNT', 1)[1]
return {newest and newest[2] or false, redis.call('XREVRANGE', room, last, '-', 'COUNT', most)}
