-- How a visitor stands at the door: included after visit.lua, never run by itself. The Python twin is gate/core/ledger.py.

-- Where a ticket of the common line stands: at its turn, which is its number unless it was drawn. One that the store gave out
-- and forgot stands behind all that it knew of that epoch; one that was given without the store behind those, by its time
-- (milliseconds, exact within three days of the epoch's end). An epoch whose end was forgotten with another loss: its visitors
-- have waited long enough.
local function place_of(epoch, number, turn_of)
  if number <= line.drawn then return turn_of end
  if number < AWAY and epoch >= line.epoch then return turn_of end
  local base = tonumber(redis.call('HGET', LINE, 'base:' .. whole(epoch)))
  if number >= AWAY then
    if not base then base = epoch < line.epoch and 0 or line.serving end
    local when = tonumber(redis.call('HGET', LINE, 'when:' .. whole(epoch)) or number - AWAY)
    return base + 0.5 + math.max(0, math.min(536870911, number - AWAY - when + 268435456)) / 1073741824
  end
  if not base and number > line.last then base = 0 end
  if base and number > base then return base + math.min(number - base, 1048575) / 2097152 end
  return turn_of
end

-- True the first time.
local function mark_knocked(epoch, place)
  local key, bit = bits_of(epoch, place)
  if redis.call('SETBIT', key, bit, 1) == 1 then return false end
  redis.call('EXPIRE', key, MARKS)
  return true
end

-- A seat was given a while ago, and its visitor asks for it again: the answer was lost. A token that was taken then and is
-- used only now lets one more in than the law allows, if the bucket has been full in between: it is to be paid again. Until it
-- is, the visitor stands at the door; the seat stays taken, for the answer may have come and its pass be in use.
local function is_late(id, seat)
  if refusal() then return false end
  if redis.call('ZSCORE', READY, id) then return true end
  local given = seat - SESSION
  return t - given > LATE and t - given < LOST and line.full > given
end

-- Free seats, as this visitor sees it: who has one needs no other.
local function seats_for(id)
  if redis.call('ZSCORE', SEATS, id) then return math.huge end
  return free_seats()
end

-- When the token for the visitor behind `before` others is due, microseconds from now.
local function due_in(before)
  if STEP == 0 then return 60 * SECOND end
  return math.max(1, math.ceil(((before + 1) * COST - line.level) / STEP))
end

local CLAIMS = 200 -- a second, of those who stand far behind at a long door

-- When to ask again for something that is due in `wait`: just before, or far sooner when it is far away. In whole seconds,
-- because that is how it is said (Retry-After, the refresh of a page). All who had no number when the store was away stand at
-- the door together, and a claim costs the store a good part of a millisecond: the more there are, the longer they are told.
local function told(wait)
  if wait <= 5 * SECOND then return math.max(1, math.floor((wait - MARGIN) / SECOND)) * SECOND end
  return math.floor(math.max(4, math.min(wait / 4 / SECOND, math.max(20, ready / CLAIMS)))) * SECOND
end

-- Puts a visitor at the door. Returns how many stand before it there, and how many are kept a token because they have been
-- called before it and may come any moment; when the bucket runs over no token is kept for them.
local function stand(id, place)
  redis.call('ZADD', READY, exact(place), id)
  ready = redis.call('ZCARD', READY)
  local kept = 0
  if place < BEHIND and not runs_over() then
    local some = on_the_way(place)
    kept = math.floor(some + 0.5)
    if raw < OPENS + RETURN then kept = math.ceil(some) end -- nothing is known yet of those who were called before: keep one more
  end
  return redis.call('ZRANK', READY, id), kept
end

-- What a visitor at the door is told when there is nothing for it now: due (us from now), ask again (us from now), reason.
-- `group`: it stands in that group's lane, and its turn there may come before those of the common line.
local function wait_at_the_door(id, before, kept, group)
  local free, need = seats_for(id), before + kept + 1
  if group then
    local first, share = lane_of(group)
    local ahead = redis.call('ZCOUNT', READY, whole(first), '(' .. redis.call('ZSCORE', READY, id))
    need = math.max(1, math.min(need, math.ceil((ahead + 1 - group.credit) / share)))
  end
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
    if STEP > 0 and free * COST >= line.level then full = math.ceil((BURST * COST - line.level) / STEP) end
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
