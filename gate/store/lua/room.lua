-- Shared by every script of a room: included, never run by itself.
--
-- KEYS   1 line     hash: counters, bucket, what is known of the crowd
--        2 ready    zset: ticket id -> place; called visitors who are at the door
--        3 due      zset: ticket id -> room time by which it must knock again
--        4 seats    zset: pass id -> room time at which it expires
--        5 revoked  zset: pass id -> room time at which it was given back
--        6 spent    prefix of the bitmaps of used tickets, and itself the zset of used tickets without a number
-- ARGV   1 step, 2 cost   the bucket gains `step` units per microsecond, a token costs `cost` units (both whole)
--        3 burst, 4 active (-1: no cap), 5 session (us), 6 mode
--        7 epoch, 8 last, 9 serving, 10 inside, 11 birth   what the caller remembers of this room (epoch 0: nothing)
--        12 least   the epoch must be at least this: tickets were given without the store in the one before
--
-- Room time is the store's clock in microseconds plus `skew`, which grows when the clock steps back: it never does.
-- The Python twin is gate/core/ledger.py; a test holds the two together.

local LINE, READY, DUE, SEATS, REVOKED, SPENT = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local STEP, COST, BURST, ACTIVE = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local SESSION, MODE = tonumber(ARGV[5]), ARGV[6]
local MEMORY = {
  epoch = tonumber(ARGV[7]), last = tonumber(ARGV[8]), serving = tonumber(ARGV[9]),
  inside = tonumber(ARGV[10]), birth = ARGV[11], least = tonumber(ARGV[12]),
}

local SECOND = 1000000
local LEAD = 250000        -- a visitor is asked to knock this long before its token is due; the gate holds it so long
local GRACE = 500000       -- and this long after that its token is somebody else's
local SEAT_SLACK = 2000000 -- a seat outlives its pass by the difference of two clocks
local LAG = 1.0            -- seconds in which a called visitor who is present comes to the door (time constant)
local LOOK = 4.0           -- seconds of rate that are called ahead
local LEAST_SHARE = 0.02   -- no fewer than this share of those called are taken to be present
local CHUNK = 32768        -- numbers per bitmap, two bits each
local AWAY = 137438953472  -- 2^37: numbers from here on are times, given without the store
local PURGE = 1000         -- entries cleaned up per call
local DAY = 86400

local t, raw               -- room time and the store's clock, microseconds
local line                 -- the hash, as numbers
local ready                -- how many are at the door

local function whole(x) return string.format('%.0f', x) end
local function exact(x) return string.format('%.17g', x) end

local FIELDS = {'epoch', 'last', 'serving', 'birth', 'level', 'step', 'cost', 'burst', 'stamp', 'skew', 'admitted',
  'lost', 'lost_until', 'longest', 'coming', 'expected', 'came'}
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
    coming = 0, expected = 0, came = 0}
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
  return MEMORY.last > line.last or (MEMORY.birth ~= '' and MEMORY.birth ~= whole(line.birth))
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
end

local function per_second() return STEP * SECOND / COST end

-- How many of those called come: those expected by now against those who came, older ones counting less.
local function measure()
  local seconds = (t - line.stamp) / SECOND
  local moved = line.coming * (1 - math.exp(-seconds / LAG))
  line.coming = line.coming - moved
  local window = 8.0
  if STEP > 0 then window = math.max(window, 20 / per_second()) end
  local fade = math.exp(-seconds / window)
  line.expected = (line.expected + moved) * fade
  line.came = line.came * fade
end

local function share()
  return math.max(LEAST_SHARE, math.min(1, (line.came + 1) / (line.expected + 1)))
end

-- Called visitors who have not knocked yet, and are expected to.
local function on_the_way() return math.floor(share() * line.coming + 0.5) end

local function purge()
  local overdue = redis.call('ZRANGEBYSCORE', DUE, '-inf', '(' .. whole(t), 'LIMIT', 0, PURGE)
  if #overdue > 0 then
    redis.call('ZREM', DUE, unpack(overdue))
    redis.call('ZREM', READY, unpack(overdue))
  end
  redis.call('ZREMRANGEBYSCORE', SEATS, '-inf', '(' .. whole(t - SEAT_SLACK))
  ready = redis.call('ZCARD', READY)
end

-- Loads the line as it stands now; every script that changes it begins here and ends with close().
local function open()
  clock()
  local found = redis.call('HMGET', LINE, unpack(FIELDS))
  if not found[1] then
    birth_of_a_line()
    t = raw
  else
    line = {}
    for i = 1, #FIELDS do
      local value = tonumber(found[i])
      line[FIELDS[i]], loaded[FIELDS[i]] = value, value
    end
    t = raw + line.skew
    if t < line.stamp then
      line.skew = line.skew + line.stamp - t
      t = line.stamp
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
  local want = math.floor(line.level / COST) + math.max(2, LOOK * per_second()) - ready - present * line.coming
  if want <= 0 then return end
  local more = math.min(uncalled, math.ceil(want / present))
  line.serving = line.serving + more
  line.coming = line.coming + more
end

-- When the token for the visitor behind `before` others is due, microseconds from now.
local function due_in(before)
  if STEP == 0 then return 60 * SECOND end
  return math.max(1, math.ceil(((before + 1) * COST - line.level) / STEP))
end

-- When to ask again for something that is due in `wait`: just before, or far sooner when it is far away.
local function told(wait)
  if wait <= 4 * SECOND + LEAD then return math.max(LEAD, wait - LEAD) end
  return math.floor(math.min(math.max(4 * SECOND, wait / 4), 20 * SECOND))
end

local function bits_of(epoch, number)
  return SPENT .. ':' .. whole(epoch) .. ':' .. whole(math.floor(number / CHUNK)), (number % CHUNK) * 2
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

local function close(...)
  local changed = {}
  for i = 1, #FIELDS do
    local name = FIELDS[i]
    if line[name] ~= loaded[name] then
      changed[#changed + 1] = name
      changed[#changed + 1] = exact(line[name])
    end
  end
  if #changed > 0 then redis.call('HSET', LINE, unpack(changed)) end
  return {whole(raw), whole(line.epoch), whole(line.last), whole(line.serving), whole(line.birth), whole(ready),
    whole(on_the_way()), whole(inside()), exact(line.level / COST), whole(line.admitted), exact(share()), ...}
end
