-- A called ticket asks for its pass. The lowest place among those at the door takes the next token. Safe to repeat: the
-- same ticket gets the same seat, and pays once.
--
-- KEYS     see room.lua
-- ARGV     1-14 see room.lua; 15 ticket id, 16 its epoch, 17 its number
-- Returns  the state (see close), then: status (entered, waiting, spent), expires (us, store's clock),
--          due (us from now), ask again (us from now), reason
-- @include room
-- @include door

local id, epoch, number = ARGV[15], tonumber(ARGV[16]), tonumber(ARGV[17])
open()

local function spent() return close('spent', '0', '0', '0', 'rate') end

if redis.call('ZSCORE', REVOKED, id) then return spent() end
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
local late = seat > t and is_late(seat)
if seat > t and not late then return close('entered', whole(seat - line.skew), '0', '0', 'pass') end -- it has its pass already
if not late and is_spent(id, epoch, number) then return spent() end

if MODE ~= 'auto' and MODE ~= 'open' then return close('waiting', '0', whole(20 * SECOND), whole(20 * SECOND), MODE) end

-- Its place: the number; a ticket given without the store stands behind all numbers of its epoch, by its time.
local place = number
if number >= AWAY then
  local base = tonumber(redis.call('HGET', LINE, 'base:' .. whole(epoch)))
  if not base then base = epoch < line.epoch and 0 or line.serving end -- forgotten with another loss: it has waited long enough
  place = base + (number - AWAY) / AWAY
end
if math.floor(place) > line.serving then
  call_ahead()
  if math.floor(place) > line.serving then
    local wait = 20 * SECOND
    if STEP > 0 then wait = math.ceil((place - line.serving) * share() * COST / STEP) end
    return close('waiting', '0', whole(wait), whole(math.floor(math.max(SECOND, math.min(wait / 4, 20 * SECOND)))), 'line')
  end
end

if number < AWAY and mark_knocked(epoch, number) then -- its first knock
  local call = call_of(number)
  if redis.call('ZSCORE', READY, id) then -- at the door since it came, and here it is again
    line.expected, line.came = line.expected + 1, line.came + 1
  elseif call and call.knocked < call.count then
    call.knocked = call.knocked + 1
  else
    line.came = line.came + 1
  end
end

if late then
  redis.call('ZREM', SEATS, id)
  mark_unspent(id, epoch, number)
end
local before, kept = stand(id, place)
local need = before + kept + 1
if line.level >= need * COST and free_seats() >= need then
  redis.call('ZREM', READY, id)
  redis.call('ZREM', DUE, id)
  ready = ready - 1
  admit(id)
  mark_spent(id, epoch, number)
  call_ahead()
  return close('entered', whole(raw + SESSION), '0', '0', 'rate')
end
local due, ask, reason = wait_at_the_door(id, before, kept)
call_ahead()
return close('waiting', '0', due, ask, reason)
