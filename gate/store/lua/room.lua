-- Shared by every script of a room: included, never run by itself.
--
-- KEYS   1 line     hash: counters, bucket, what is known of the crowd
--        2 ready    zset: ticket id -> place; called visitors who are at the door
--        3 due      zset: ticket id -> room time at which it was asked to knock again
--        4 seats    zset: pass id -> room time at which it expires
--        5 revoked  zset: pass id -> room time at which it was given back
--        6 spent    prefix of the bitmaps of used tickets, and itself the zset of used tickets without a number
-- ARGV   1 step, 2 cost   the bucket gains `step` units per microsecond, a token costs `cost` units (both whole)
--        3 burst, 4 active (-1: no cap), 5 session (us), 6 mode
--        7 epoch, 8 last, 9 serving, 10 inside, 11 birth   what the caller remembers of this room (epoch 0: nothing)
--        12 least   the epoch must be at least this: tickets were given without the store in the one before
--        13 quiet   us since the caller sent its last call that was answered, by its own steady clock (-1: there was none):
--                   more cannot have passed since anybody's last call
--        14 admitted  of what the caller remembers: so many had entered
--
-- Room time is the store's clock in microseconds plus `skew`, which takes up its steps: room time never goes back, and never
-- ahead by more than has passed.
-- The Python twin is gate/core/ledger.py; a test holds the two together.

local LINE, READY, DUE, SEATS, REVOKED, SPENT = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local STEP, COST, BURST, ACTIVE = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local SESSION, MODE = tonumber(ARGV[5]), ARGV[6]
local MEMORY = {
  epoch = tonumber(ARGV[7]), last = tonumber(ARGV[8]), serving = tonumber(ARGV[9]),
  inside = tonumber(ARGV[10]), birth = ARGV[11], least = tonumber(ARGV[12]),
  admitted = tonumber(ARGV[14]),
}
local QUIET = tonumber(ARGV[13])

local SECOND = 1000000
local MARGIN = 500000      -- a visitor is asked to knock at least this long before its token is due; the gate holds it so long
local GRACE = 2000000      -- and is expected for this long after the second it was told: a page cannot come back in less than two
local PATIENCE = 500000    -- but only for so long when the bucket is full, and waiting would lose a token
local LATE = 250000        -- an answer is on its way for less than this,
local LOST = 30000000      -- and who did not get it asks again before this
local STEP_AHEAD = 50000   -- a clock that gains more than this on the caller's has been set; less is the way here
local SEAT_SLACK = 2000000 -- a seat outlives its pass by the difference of two clocks
local LOOK = 8.0           -- seconds of rate that are called ahead: more than it takes to hear of it, and to come back once
local LEAST_SHARE = 0.02   -- no fewer than this share of those called are taken to be present
local SOONEST = 250000     -- microseconds until the gates know of a call
local MANY = 16            -- calls that are kept apart
local CHUNK = 32768        -- numbers per bitmap, two bits each
local AWAY = 137438953472  -- 2^37: numbers from here on are times, given without the store
local PURGE = 1000         -- entries cleaned up per call
local DAY = 86400

local t, raw               -- room time and the store's clock, microseconds
local line                 -- the hash, as numbers
local ready                -- how many are at the door
local calls = {}           -- who was called and may not have heard of it yet, oldest first; a call is
                           -- {at, after, upto, count, knocked, heard}: numbers above `after`, all heard of it at `heard`

local function whole(x) return string.format('%.0f', x) end
local function exact(x) return string.format('%.17g', x) end

local FIELDS = {'epoch', 'last', 'serving', 'birth', 'level', 'step', 'cost', 'burst', 'stamp', 'skew', 'admitted',
  'lost', 'lost_until', 'longest', 'expected', 'came', 'through', 'full'}
local loaded = {}          -- the fields as they were, so that only what changed is written

local function clock()
  local now = redis.call('TIME')
  raw = tonumber(now[1]) * SECOND + tonumber(now[2])
end

-- A new epoch: what is numbered from now on stands behind everything numbered so far.
local function turn(epoch)
  redis.call('HSET', LINE, 'base:' .. whole(line.epoch), whole(line.last))
  line.epoch = epoch
end

local function birth_of_a_line()
  line = {epoch = math.max(1, MEMORY.least), last = 0, serving = 0, birth = raw, level = BURST * COST, step = STEP,
    cost = COST, burst = BURST, stamp = raw, skew = 0, admitted = 0, lost = 0, lost_until = 0, longest = SESSION,
    expected = 0, came = 0, through = 0, full = raw}
  if MEMORY.epoch > 0 then -- the store lost it: the bucket comes back empty, numbers go on, old seats are held free
    line.epoch = MEMORY.epoch
    line.last, line.serving, line.level = MEMORY.last, MEMORY.serving, 0
    line.lost, line.lost_until = MEMORY.inside, raw + SESSION
    turn(math.max(MEMORY.epoch + 1, MEMORY.least))
  end
end

-- The caller knows more than the store: a restart from an old copy, a failover to a replica that lagged behind, or a
-- line that a forgetful gate began anew.
local function is_behind_memory()
  if MEMORY.epoch ~= line.epoch then return MEMORY.epoch > line.epoch end
  if MEMORY.birth ~= '' and MEMORY.birth ~= whole(line.birth) then return true end
  return MEMORY.last > line.last or MEMORY.admitted > line.admitted
end

local function refill()
  local cap = line.burst * line.cost
  local need = cap - line.level
  if line.step > 0 and need > 0 then
    local elapsed = t - line.stamp
    if elapsed >= need / line.step then
      line.level = cap
    else
      line.level = math.min(cap, line.level + elapsed * line.step)
    end
  end
  if COST ~= line.cost then
    local tokens = math.floor(line.level / line.cost)
    local part = line.level - tokens * line.cost
    line.level = tokens * COST + math.min(COST - 1, math.floor(part * COST / line.cost))
  end
  line.step, line.cost, line.burst = STEP, COST, BURST
  line.level = math.min(line.level, BURST * COST)
  if line.level >= BURST * COST then line.full = t end
end

local function per_second() return STEP * SECOND / COST end

-- How many of those called come: counted when they must have heard of it, older ones counting less.
local function measure()
  local window = 12.0
  if STEP > 0 then window = math.max(window, 20 / per_second()) end
  local fade = math.exp(-((t - line.stamp) / SECOND) / window)
  line.expected, line.came = line.expected * fade, line.came * fade
  for i = #calls, 1, -1 do
    if calls[i].heard < t then
      local call = table.remove(calls, i)
      line.expected, line.came = line.expected + call.count, line.came + call.knocked
    end
  end
end

-- As many as should have heard of it by now against those who knocked. Before anybody could come it is a quarter.
local function share()
  local came, expected = line.came, line.expected
  for _, call in ipairs(calls) do
    came = came + call.knocked
    expected = expected + call.count * math.max(0, t - call.at - SOONEST) / (call.heard - call.at - SOONEST)
  end
  return math.max(LEAST_SHARE, math.min(1, (came + 0.5) / (expected + 2)))
end

-- Called visitors below `place` who have not knocked yet, and are expected to.
local function on_the_way(place)
  local sum, present = 0.0, share()
  for _, call in ipairs(calls) do
    if call.after + 1 >= place then break end
    local some = math.max(0, present * call.count - call.knocked)
    if call.upto >= place then some = some * (place - 1 - call.after) / (call.upto - call.after) end
    sum = sum + some
  end
  return sum
end

-- Called visitors who may still knock, present or not.
local function unheard()
  local sum = 0
  for _, call in ipairs(calls) do sum = sum + math.max(0, call.count - call.knocked) end
  return sum
end

-- How long it takes until a visitor who is called now and looks when told has knocked, microseconds. The pages look at the
-- status after 0.15 of the shortest wait, or 2 to 30 seconds, up to 1.3 times that; a cache adds a second, a page's own
-- beat another. `gate/core/wait.py` has the figures; the share may have been higher at the last look.
local function hearing(number)
  local poll = 30.0
  if STEP > 0 then poll = math.min(poll, math.max(2.0, 0.2 * share() * (number - line.through) / per_second())) end
  return math.floor((2.5 + 1.3 * poll) * SECOND)
end

-- Calls everybody up to `number`. Those called within half a second, or when there are many, are one call.
local function call_up_to(number)
  local heard, newest = t + hearing(number), calls[#calls]
  if not newest or (t - newest.at > 500000 and #calls < MANY) then
    newest = {at = t, after = line.serving, count = 0, knocked = 0, heard = 0}
    calls[#calls + 1] = newest
  end
  newest.upto, newest.count, newest.heard = number, newest.count + number - line.serving, math.max(newest.heard, heard)
  line.serving = number
end

local function call_of(number)
  for _, call in ipairs(calls) do
    if number > call.after and number <= call.upto then return call end
  end
end

local function is_full() return line.level >= BURST * COST end

local function bits_of(epoch, number)
  return SPENT .. ':' .. whole(epoch) .. ':' .. whole(math.floor(number / CHUNK)), (number % CHUNK) * 2
end

local function purge()
  local patience = is_full() and PATIENCE or GRACE
  local overdue = redis.call('ZRANGEBYSCORE', DUE, '-inf', '(' .. whole(t - patience), 'LIMIT', 0, PURGE)
  if #overdue > 0 then
    for _, id in ipairs(overdue) do
      local number = tonumber(redis.call('ZSCORE', READY, id) or 0.5)
      if number == math.floor(number) then
        local key, bit = bits_of(line.epoch, number)
        if redis.call('GETBIT', key, bit) == 0 then line.expected = line.expected + 1 end -- came once, and never again
      end
    end
    redis.call('ZREM', DUE, unpack(overdue))
    redis.call('ZREM', READY, unpack(overdue))
  end
  redis.call('ZREMRANGEBYSCORE', SEATS, '-inf', '(' .. whole(t - SEAT_SLACK))
  ready = redis.call('ZCARD', READY)
end

-- Loads the line as it stands now; every script that changes it begins here and ends with close().
local function open()
  clock()
  local found = redis.call('HMGET', LINE, 'calls', unpack(FIELDS))
  loaded.calls = table.remove(found, 1) or ''
  for at, after, upto, count, knocked, heard in string.gmatch(loaded.calls, '(%d+),(%d+),(%d+),(%d+),(%d+),(%d+);') do
    calls[#calls + 1] = {at = tonumber(at), after = tonumber(after), upto = tonumber(upto), count = tonumber(count),
      knocked = tonumber(knocked), heard = tonumber(heard)}
  end
  if not found[1] then
    birth_of_a_line()
    t = raw
  else
    line = {}
    for i = 1, #FIELDS do
      local value = tonumber(found[i]) or 0 -- written by an older gate, which did not know of it
      line[FIELDS[i]], loaded[FIELDS[i]] = value, value
    end
    t = raw + line.skew
    if t < line.stamp then
      line.skew = line.skew + line.stamp - t
      t = line.stamp
    elseif QUIET >= 0 and t > line.stamp + QUIET + STEP_AHEAD then -- a burst is for a quiet time, not for a clock that was set
      line.skew = line.skew - (t - line.stamp - QUIET)
      t = line.stamp + QUIET
    end
    if is_behind_memory() then
      line.last, line.serving = math.max(line.last, MEMORY.last), math.max(line.serving, MEMORY.serving)
      line.level, line.stamp = 0, t
      turn(MEMORY.epoch + 1)
    end
    if line.epoch < MEMORY.least then turn(MEMORY.least) end
  end
  -- The first write must be one that a full store refuses: after a write, and removing is one, it would let all pass.
  redis.call('HSET', LINE, 'stamp', whole(t))
  loaded.stamp = t
  measure()
  refill()
  line.stamp = t
  line.longest = math.max(line.longest, SESSION)
  purge()
end

-- Seats of visitors who were inside when the store lost its state, and have not been heard of since.
local function lost_seats() return t < line.lost_until and line.lost or 0 end

local function inside() return redis.call('ZCARD', SEATS) + lost_seats() end

local function free_seats()
  if ACTIVE < 0 then return math.huge end
  return ACTIVE - inside()
end

-- Moves `serving` so that enough present visitors stand at the door, however few of those called come.
local function call_ahead()
  local uncalled = line.last - line.serving
  if uncalled <= 0 or (MODE ~= 'auto' and MODE ~= 'open') then return end
  local present = share()
  local tokens = math.min(math.floor(line.level / COST), math.max(0, free_seats()))
  local want = tokens + math.max(2, LOOK * per_second()) - ready - on_the_way(math.huge)
  if want > 0 then call_up_to(line.serving + math.min(uncalled, math.ceil(want / present))) end
end

-- Gives ticket `id` its seat, and takes the token for it.
local function admit(id)
  line.level = line.level - COST
  line.admitted = line.admitted + 1
  redis.call('ZADD', SEATS, whole(t + SESSION), id)
end

local function mark_spent(id, epoch, number)
  if number >= AWAY then
    redis.call('ZADD', SPENT, whole(t), id)
    redis.call('EXPIRE', SPENT, 4 * DAY)
  else
    local key, bit = bits_of(epoch, number)
    redis.call('SETBIT', key, bit + 1, 1)
    redis.call('EXPIRE', key, 4 * DAY)
  end
end

local function mark_unspent(id, epoch, number)
  if number >= AWAY then return redis.call('ZREM', SPENT, id) end
  local key, bit = bits_of(epoch, number)
  redis.call('SETBIT', key, bit + 1, 0)
end

local function is_spent(id, epoch, number)
  if number >= AWAY then return redis.call('ZSCORE', SPENT, id) end
  local key, bit = bits_of(epoch, number)
  return redis.call('GETBIT', key, bit + 1) == 1
end

-- Ends a script: writes what has changed, and tells the state.
local function close(...)
  line.through = math.max(line.through, line.serving - ready - unheard()) -- never back, so that no place ever grows
  local changed = {}
  for i = 1, #FIELDS do
    local name = FIELDS[i]
    if line[name] ~= loaded[name] then
      changed[#changed + 1] = name
      changed[#changed + 1] = exact(line[name])
    end
  end
  local text = ''
  for _, call in ipairs(calls) do
    text = text .. whole(call.at) .. ',' .. whole(call.after) .. ',' .. whole(call.upto) .. ',' .. whole(call.count) .. ','
      .. whole(call.knocked) .. ',' .. whole(call.heard) .. ';'
  end
  if text ~= loaded.calls then
    changed[#changed + 1] = 'calls'
    changed[#changed + 1] = text
  end
  if #changed > 0 then redis.call('HSET', LINE, unpack(changed)) end
  return {whole(raw), whole(line.epoch), whole(line.last), whole(line.serving), whole(line.birth), whole(ready),
    whole(unheard()), whole(line.through), whole(inside()), exact(line.level / COST), whole(line.admitted), exact(share()),
    ...}
end
