-- Changes bans or moderators, and tells the servers.
--
-- KEYS  epoch, feed, what is to be changed
-- ARGV  the command, without its key
-- Returns how much was changed, and the id of the entry that tells the servers.

return {redis.call(ARGV[1], KEYS[3], unpack(ARGV, 2)), tell('*', 'kind', 'standing')}
