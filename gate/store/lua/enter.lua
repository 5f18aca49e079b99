-- A newcomer where nobody waits uncalled: a number, and at once a seat if there is a token that nobody at the door,
-- or on the way to it, is about to take.
--
-- KEYS     see room.lua
-- ARGV     1-12 see room.lua; 13 ticket id
-- Returns  the state (see close), then: status (entered, waiting), number, epoch, expires (us, store's clock),
--          due (us from now), ask again (us from now), reason
-- @include room

local id = ARGV[13]
open()
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
line.last = line.last + 1
local number = line.last
if seat > t then -- the same call again, its answer was lost
  mark_spent(id, line.epoch, number)
  return close('entered', whole(number), whole(line.epoch), whole(seat - line.skew), '0', '0', 'rate')
end
local function waiting(due, ask, reason)
  return close('waiting', whole(number), whole(line.epoch), '0', whole(due), whole(ask), reason)
end
if MODE ~= 'auto' and MODE ~= 'open' then return waiting(20 * SECOND, 20 * SECOND, MODE) end
if line.serving < number - 1 then
  call_ahead()
  return waiting(SECOND, SECOND, 'line')
end

local before = ready + on_the_way()
local has_token, free = line.level >= (before + 1) * COST, free_seats()
if has_token and free >= before + 1 then
  line.serving = number
  admit(id)
  mark_spent(id, line.epoch, number)
  return close('entered', whole(number), whole(line.epoch), whole(raw + SESSION), '0', '0', 'rate')
end
call_ahead()
if has_token or free <= 0 then return waiting(2 * SECOND, 2 * SECOND, 'active') end
local due = due_in(before)
return waiting(due, told(due), 'rate')
