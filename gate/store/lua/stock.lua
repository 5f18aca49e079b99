-- Notes how much is left to sell.
--
-- KEYS     see room.lua
-- ARGV     1-24 see room.lua; 25 how much
-- Returns  the state (see close)
-- @include room
-- @include crowd
-- @include visit

open()
line.stock = tonumber(mine(1)) + 1
return close()
