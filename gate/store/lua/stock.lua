-- Notes how much is left to sell.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 how much
-- Returns  the state (see close)
-- @include room
-- @include crowd
-- @include visit

open()
line.stock = tonumber(mine(1)) + 1
return close()
