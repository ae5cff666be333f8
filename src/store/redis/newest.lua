-- Returns the newest id of the feed.

local newest = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
return newest and newest[1] or '0-0'
