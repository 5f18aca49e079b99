-- A newcomer where nobody waits uncalled: a number, and a seat at once if nobody is in line. Else it stands in line like
-- everybody, and when its number is called right away, at the door.
--
-- KEYS     see room.lua
-- ARGV     1-14 see room.lua; 15 ticket id
-- Returns  the state (see close), then: status (entered, waiting), number, epoch, expires (us, store's clock),
--          due (us from now), ask again (us from now), reason
-- @include room
-- @include door

local id = ARGV[15]
open()
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
local number = tonumber(redis.call('ZSCORE', READY, id) or 0)
local again = number > 0 and number == math.floor(number) -- the same call again, its answer was lost
if not again then
  line.last = line.last + 1
  number = line.last
end
if seat > t then -- the same again, and the number is one too many
  if line.serving == number - 1 then line.serving = number end
  mark_spent(id, line.epoch, number)
  return close('entered', whole(number), whole(line.epoch), whole(seat - line.skew), '0', '0', 'rate')
end
local function waiting(due, ask, reason)
  return close('waiting', whole(number), whole(line.epoch), '0', due, ask, reason)
end
if MODE ~= 'auto' and MODE ~= 'open' then return waiting(whole(20 * SECOND), whole(20 * SECOND), MODE) end

if line.serving == number - 1 and ready == 0 and unheard() == 0 and line.level >= COST and free_seats() >= 1 then
  line.serving = number
  admit(id)
  mark_spent(id, line.epoch, number)
  return close('entered', whole(number), whole(line.epoch), whole(raw + SESSION), '0', '0', 'rate')
end
call_ahead()
if number > line.serving then return waiting(whole(2 * SECOND), whole(2 * SECOND), 'line') end
local call = call_of(number)
if call and not again then call.count = call.count - 1 end -- it is here, and not to be expected
local before, kept = stand(id, number)
return waiting(wait_at_the_door(id, before, kept))
