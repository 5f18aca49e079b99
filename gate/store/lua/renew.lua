-- Extends a seat by a session from now. An unknown seat is added again (the pass in hand is signed and valid, the store
-- may have lost it), a revoked one is not.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 pass id
-- Returns  the state (see close), then: expires (us, store's clock), or 0: revoked
-- @include room
-- @include crowd
-- @include visit

local id = mine(1)
open()
if redis.call('ZSCORE', REVOKED, id) then return close('0') end
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
if seat == 0 then line.lost = math.max(0, line.lost - 1) end
local expires = math.max(seat, t + SESSION)
redis.call('ZADD', SEATS, whole(expires), id)
return close(whole(expires - line.skew))
