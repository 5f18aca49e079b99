-- A called ticket asks for its pass. The lowest place among those at the door takes the next token. Safe to repeat: the
-- same ticket gets the same seat, and pays once.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 ticket id, 27 its epoch, 28 its number, 29 its place in the order, 30 the draw that this place
--          was counted with (0: there was none)
-- Returns  the state (see close), then: status (entered, waiting, spent), expires (us, store's clock),
--          due (us from now), ask again (us from now), reason, and the ticket's number and epoch: new ones if it came too late
-- @include room
-- @include crowd
-- @include visit
-- @include door

local id, epoch, number, turn_of = mine(1), tonumber(mine(2)), tonumber(mine(3)), tonumber(mine(4))
open()

local function answer(status, expires, due, ask, reason)
  return close(status, expires, due, ask, reason, whole(number), whole(epoch))
end
local function in_line(wait, ask) return answer('waiting', '0', whole(wait), whole(ask), 'line') end

if redis.call('ZSCORE', REVOKED, id) then return answer('spent', '0', '0', '0', 'rate') end
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
local late = seat > t and is_late(id, seat)
if seat > t and not late then return answer('entered', whole(seat - line.skew), '0', '0', 'pass') end -- it has its pass already
local used = is_spent(id, epoch, number)
if used then
  local moved = tonumber(redis.call('ZSCORE', MOVED, id) or 0)
  if moved > 0 then
    epoch, number = math.floor(moved / MOVING), moved % MOVING
    turn_of, used = number, is_spent(id, epoch, number)
  end
end
if used and not late then return answer('spent', '0', '0', '0', 'rate') end

local why = refusal()
if why then return answer('waiting', '0', pause(why), pause(why), why) end
if number <= line.drawn and tonumber(mine(5)) ~= line.drawn then return in_line(SECOND, SECOND) end -- drawn a moment ago

-- Is it called, and where does it stand? A member whose turn the store has forgotten is called; one whose group the room has no
-- more stands in front.
local place, first, group = turn_of, false, nil
if number >= GROUPED then
  local turn_there = math.floor((number - GROUPED) / 1024)
  group = recall_group((number - GROUPED) % 1024, turn_there)
  local function is_called() return not group or turn_there <= group.serving or turn_there > group.last end
  if not is_called() then call_ahead() end
  if not is_called() then
    local wait = 20 * SECOND
    if STEP > 0 then wait = math.ceil((turn_there - group.serving) * COST / STEP) end
    return in_line(wait, math.floor(math.max(SECOND, math.min(wait / 4, 20 * SECOND))))
  end
  redis.call('ZREM', INVITED, id)
  if group and redis.call('ZREM', called_key(group), id) == 1 then
    coming = coming - 1
    member_knocks(group, turn_there)
  end
  if not redis.call('ZSCORE', READY, id) then
    redis.call('ZADD', READY, exact(group and lane_of(group) + turn_there or in_front()), id)
  end
  if group and group.credit >= 1 then promote(group) end
  place = tonumber(redis.call('ZSCORE', READY, id))
else
  place = place_of(epoch, number, turn_of)
  if math.floor(place) > line.serving then
    call_ahead()
    if math.floor(place) > line.serving then
      local wait = 20 * SECOND
      if STEP > 0 then wait = math.ceil((place - line.serving) * present() * COST / STEP) end
      return in_line(wait, math.floor(math.max(SECOND, math.min(wait / 4, 20 * SECOND))))
    end
  end
  if place <= line.forfeit and not late and not redis.call('ZSCORE', READY, id) then
    local left = tonumber(redis.call('ZSCORE', LEFT, id) or -KEEPS)
    if left + KEEPS <= line.worked then -- called long ago, and not heard of since: to the end of the line
      mark_spent(id, epoch, number)
      line.last = line.last + 1
      epoch, number, place = line.epoch, line.last, line.last
      redis.call('ZADD', MOVED, whole(epoch * MOVING + number), id)
      redis.call('EXPIRE', MOVED, MARKS)
      call_ahead()
      if place > line.serving then return in_line(2 * SECOND, 2 * SECOND) end
    end
  end
  first = place == math.floor(place) and mark_knocked(epoch, place)
end

if first then
  if redis.call('ZSCORE', READY, id) then -- at the door since it came, and here it is again
    line.expected, line.came = line.expected + 1, line.came + 1
  else
    knock(place)
  end
end

local before, kept = stand(id, place)
local need = before + kept + 1
if line.level >= need * COST and seats_for(id) >= need then
  redis.call('ZREM', READY, id)
  redis.call('ZREM', DUE, id)
  ready = ready - 1
  admit(id)
  if place >= BEHIND then settle_up(group) elseif not group then settle_up() end
  mark_spent(id, epoch, number)
  call_ahead()
  return answer('entered', whole(raw + SESSION), '0', '0', 'rate')
end
local due, ask, reason = wait_at_the_door(id, before, kept, place >= BEHIND and group)
call_ahead()
return answer('waiting', '0', due, ask, reason)
