-- Gives out the next `count` numbers of a room, as one block; fewer, or none, where the line would be longer than its maximum.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 count (1 or more)
-- Returns  the state (see close), then: the first number of the block, its epoch, how many
-- @include room
-- @include crowd
-- @include visit

open()
local first = line.last + 1
local count = tonumber(mine(1))
if MAXIMUM >= 0 then count = math.max(0, math.min(count, MAXIMUM - waiting())) end
line.last = line.last + count
call_ahead()
return close(whole(first), whole(line.epoch), whole(count))
