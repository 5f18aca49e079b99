-- Gives out the next `count` numbers of a room, as one block.
--
-- KEYS     see room.lua
-- ARGV     1-14 see room.lua; 15 count (1 or more)
-- Returns  the state (see close), then: the first number of the block, its epoch
-- @include room

open()
local first = line.last + 1
line.last = line.last + tonumber(ARGV[15])
call_ahead()
return close(whole(first), whole(line.epoch))
