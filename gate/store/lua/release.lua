-- Frees a seat and revokes its pass.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 pass id
-- Returns  the state (see close), then: 1 when there was a seat, else 0
-- @include room
-- @include crowd
-- @include visit

local id = mine(1)
open()
local freed = redis.call('ZREM', SEATS, id)
if redis.call('ZADD', REVOKED, 'NX', whole(t), id) == 1 and freed == 0 then
  line.lost = math.max(0, line.lost - 1)
end
return close(whole(freed))
