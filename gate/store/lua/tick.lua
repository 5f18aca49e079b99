-- Calls whom it is time to call, cleans up, and tells the state. Any gate may run it, as often as it likes.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 since: room time up to which the caller knows what was revoked
-- Returns  the state (see close), then: room time to ask from next time, how long (us) a revocation is kept,
--          and the pass ids revoked since then, oldest first (5000 at most)
-- @include room
-- @include crowd
-- @include visit

open()
local keep = line.longest + 60 * SECOND
redis.call('ZREMRANGEBYSCORE', REVOKED, '-inf', '(' .. whole(t - keep))
redis.call('ZREMRANGEBYSCORE', SPENT, '-inf', '(' .. whole(t - MARKS * SECOND))
redis.call('ZREMRANGEBYSCORE', LEFT, '-inf', whole(line.worked - KEEPS))
local lowest = redis.call('ZRANGE', MOVED, 0, 0, 'WITHSCORES')[2]
while lowest and lowest % MOVING <= line.forfeit do -- numbers go on from epoch to epoch
  redis.call('ZREMRANGEBYSCORE', MOVED, '-inf', whole(math.floor(lowest / MOVING) * MOVING + line.forfeit))
  lowest = redis.call('ZRANGE', MOVED, 0, 0, 'WITHSCORES')[2]
end
call_ahead()
local ids = redis.call('ZRANGEBYSCORE', REVOKED, mine(1), '+inf', 'LIMIT', 0, 5000)
local upto = mine(1)
if #ids > 0 then upto = redis.call('ZSCORE', REVOKED, ids[#ids]) end
return close(upto, whole(keep), unpack(ids))
