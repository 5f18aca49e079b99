-- How a visitor stands at the door: included after room.lua, never run by itself. The Python twin is gate/core/ledger.py.

-- True the first time.
local function mark_knocked(epoch, number)
  local key, bit = bits_of(epoch, number)
  if redis.call('SETBIT', key, bit, 1) == 1 then return false end
  redis.call('EXPIRE', key, 4 * DAY)
  return true
end

-- A seat was given a while ago, and its visitor asks for it again: the answer was lost. A token that was taken then and is
-- used only now lets one more in than the law allows, if the bucket has been full in between: it is to be paid again.
local function is_late(seat)
  local given = seat - SESSION
  return t - given > LATE and t - given < LOST and line.full > given and (MODE == 'auto' or MODE == 'open')
end

-- When the token for the visitor behind `before` others is due, microseconds from now.
local function due_in(before)
  if STEP == 0 then return 60 * SECOND end
  return math.max(1, math.ceil(((before + 1) * COST - line.level) / STEP))
end

-- When to ask again for something that is due in `wait`: just before, or far sooner when it is far away. In whole seconds,
-- because that is how it is said (Retry-After, the refresh of a page).
local function told(wait)
  if wait <= 5 * SECOND then return math.max(1, math.floor((wait - MARGIN) / SECOND)) * SECOND end
  return math.floor(math.min(math.max(4, wait / 4 / SECOND), 20)) * SECOND
end

-- Puts a visitor at the door. Returns how many stand before it there, and how many are kept a token because they have been
-- called before it and may come any moment; when the bucket is full no token is kept for them.
local function stand(id, place)
  redis.call('ZADD', READY, exact(place), id)
  ready = redis.call('ZCARD', READY)
  local kept = 0
  if not is_full() then kept = math.floor(on_the_way(place) + 0.5) end
  return redis.call('ZRANK', READY, id), kept
end

-- What a visitor at the door is told when there is nothing for it now: due (us from now), ask again (us from now), reason.
local function wait_at_the_door(id, before, kept)
  local free, need = free_seats(), before + kept + 1
  local due, reason
  if free <= 0 or (free < need and line.level >= need * COST) then
    reason = 'active'
    due = math.floor(math.max(SECOND, math.min(need * SESSION / math.max(1, ACTIVE), 5 * SECOND)))
  else
    reason = 'rate'
    due = due_in(need - 1)
  end
  if line.level >= COST and free >= 1 then -- something is free, and kept for one who has yet to knock
    local full = due
    if STEP > 0 then full = math.ceil((BURST * COST - line.level) / STEP) end
    if before > 0 then
      local late = t - tonumber(redis.call('ZSCORE', DUE, redis.call('ZRANGE', READY, 0, 0)[1]) or t)
      due = math.min(due, GRACE - late + 1, math.max(PATIENCE - late + 1, full))
    elseif kept > 0 then
      due = math.min(due, calls[1].heard - t + 1, full)
    end
    due = math.max(1, due)
  end
  local ask = told(due)
  redis.call('ZADD', DUE, whole(t + ask), id)
  return whole(due), whole(ask), reason
end
