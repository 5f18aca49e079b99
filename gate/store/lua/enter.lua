-- A newcomer where nobody waits uncalled: a number, and a seat at once if nobody is in line. Else it stands in line like
-- everybody, and when its number is called right away, at the door. Where the line is at its maximum, nothing.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 ticket id
-- Returns  the state (see close), then: status (entered, waiting, full), number, epoch, expires (us, store's clock),
--          due (us from now), ask again (us from now), reason
-- @include room
-- @include crowd
-- @include visit
-- @include door

local id = mine(1)
open()
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
local late = seat > t and is_late(id, seat)
local number = tonumber(redis.call('ZSCORE', READY, id) or 0)
local again = number > 0 and number == math.floor(number) -- the same call again, its answer was lost
local why = refusal()
local alone = not why and line.serving == line.last and ready == 0 and unheard() == 0 and uninvited() == 0
  and line.level >= COST and seats_for(id) >= 1
if not again then
  if MAXIMUM >= 0 and seat <= t and not alone and waiting() >= MAXIMUM then
    return close('full', '0', whole(line.epoch), '0', '0', '0', 'line-full')
  end
  line.last = line.last + 1
  number = line.last
end
if seat > t and not late then -- the same again, and the number is one too many
  if line.serving == number - 1 then line.serving = number end
  mark_spent(id, line.epoch, number)
  return close('entered', whole(number), whole(line.epoch), whole(seat - line.skew), '0', '0', 'rate')
end
local function waiting_for(due, ask, reason)
  return close('waiting', whole(number), whole(line.epoch), '0', due, ask, reason)
end
if why then return waiting_for(pause(why), pause(why), why) end

if alone and not again then
  line.serving = number
  admit(id)
  mark_spent(id, line.epoch, number)
  return close('entered', whole(number), whole(line.epoch), whole(raw + SESSION), '0', '0', 'rate')
end
call_ahead()
if number > line.serving then return waiting_for(whole(2 * SECOND), whole(2 * SECOND), 'line') end
if not again then
  local call = call_of(number)
  if call then call.count = call.count - 1 end -- it is here, and not to be expected
end
local before, kept = stand(id, number)
return waiting_for(wait_at_the_door(id, before, kept))
