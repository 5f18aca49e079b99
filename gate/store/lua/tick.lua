-- Calls whom it is time to call, cleans up, and tells the state. Any gate may run it, as often as it likes.
--
-- KEYS     see room.lua
-- ARGV     1-14 see room.lua; 15 since: room time up to which the caller knows what was revoked
-- Returns  the state (see close), then: room time to ask from next time, how long (us) a revocation is kept,
--          and the pass ids revoked since then, oldest first (5000 at most)
-- @include room

open()
local keep = line.longest + 60 * SECOND
redis.call('ZREMRANGEBYSCORE', REVOKED, '-inf', '(' .. whole(t - keep))
redis.call('ZREMRANGEBYSCORE', SPENT, '-inf', '(' .. whole(t - 4 * DAY * SECOND))
call_ahead()
local ids = redis.call('ZRANGEBYSCORE', REVOKED, ARGV[15], '+inf', 'LIMIT', 0, 5000)
local upto = ARGV[15]
if #ids > 0 then upto = redis.call('ZSCORE', REVOKED, ids[#ids]) end
return close(upto, whole(keep), unpack(ids))
