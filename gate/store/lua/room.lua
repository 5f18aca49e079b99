-- Shared by every script of a room: included first, never run by itself. What the caller says, what the store keeps, the bucket
-- and the seats; crowd.lua has who is called, visit.lua how a script begins and ends.
--
-- KEYS   1 line     hash: counters, bucket, what is known of the crowd
--        2 ready    zset: ticket id -> place; called visitors who are at the door
--        3 due      zset: ticket id -> room time at which it was asked to knock again
--        4 seats    zset: pass id -> room time at which it expires
--        5 revoked  zset: pass id -> room time at which it was given back
--        6 spent    prefix of the bitmaps of used tickets, and itself the zset of used tickets without a number
--        7 seen     prefix of the bitmaps of tickets that were seen again since they were given, one bit a place
--        8 late     zset: ticket id -> working time at which it left the door without a pass
--        9 moved    zset: ticket id -> epoch * 2^40 + number, given to those who came too late
--       10 invited  zset: ticket id -> group * 2^32 + its turn there; not called yet
--       11 called   prefix of the zsets of groups: ticket id -> room time by which it must have heard that it was called
--       12 uses     prefix of the hashes of invitations: ticket id -> epoch:number
-- ARGV   what the room grants:
--        1 step, 2 cost   the bucket gains `step` units per microsecond, a token costs `cost` units (both whole)
--        3 burst, 4 active (-1: no cap), 5 session (us), 6 mode
--        7 opens, 8 closes (us, store's clock; 0: none), 9 draw (0 or 1), 10 maximum (-1: none), 11 grace (us)
--        12 groups   `tag share;` of each, the first one first
--        what the caller remembers of this room (epoch 0: nothing):
--        13 epoch, 14 last, 15 serving, 16 inside, 17 birth
--        18 least   the epoch must be at least this: tickets were given without the store in the one before
--        19 drawn, 20 seed, 21 left (-1: unknown), 22 admitted
--        23 quiet   us since the caller sent its last call that was answered, by its own steady clock (-1: there was none):
--                   more cannot have passed since anybody's last call
--        24 offer   a seed for the draw, if there is none yet
--        25 server  which server this is, as it says itself (gate/store/server.py); '': unknown
--        and from 26 on, mine(1), …: the script's own
--
-- Room time is the store's clock in microseconds plus `skew`, which takes up its steps: room time never goes back, and never
-- ahead by more than has passed. Working time is how much of it the room was letting visitors in.
-- The Python twin is gate/core/ledger.py; a test holds the two together.

local LINE, READY, DUE, SEATS, REVOKED, SPENT = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local SEEN, LEFT, MOVED, INVITED, CALLED, USES = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]

local STEP, COST, BURST, ACTIVE = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local SESSION, MODE = tonumber(ARGV[5]), ARGV[6]
local OPENS, CLOSES, DRAW = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local MAXIMUM, KEEPS = tonumber(ARGV[10]), tonumber(ARGV[11])
local SHARES, COMMON = {}, 1.0 -- of the groups, first one first, and of the common line
for tag, share in string.gmatch(ARGV[12], '(%d+) ([^;]+);') do
  SHARES[#SHARES + 1] = {tag = tonumber(tag), share = tonumber(share)}
  COMMON = COMMON - tonumber(share)
end
local MEMORY = {
  epoch = tonumber(ARGV[13]), last = tonumber(ARGV[14]), serving = tonumber(ARGV[15]),
  inside = tonumber(ARGV[16]), birth = ARGV[17], least = tonumber(ARGV[18]),
  drawn = tonumber(ARGV[19]), seed = ARGV[20], left = tonumber(ARGV[21]),
  admitted = tonumber(ARGV[22]),
}
local QUIET, OFFER, SERVER, OWN = tonumber(ARGV[23]), ARGV[24], ARGV[25], 25
local function mine(i) return ARGV[OWN + i] end

local SECOND = 1000000
local MARGIN = 500000      -- a visitor is asked to knock at least this long before its token is due; the gate holds it so long
local GRACE = 2000000      -- and is expected for this long after the second it was told: a page cannot come back in less than two
local PATIENCE = 500000    -- but only for so long when the bucket runs over, and waiting would lose a token
local RETURN = 4000000     -- after a loss or an opening, all who look when told have come to the door within this long
local LATE = 250000        -- an answer is on its way for less than this,
local LOST = 30000000      -- and who did not get it asks again before this
local STEP_AHEAD = 50000   -- a clock that gains more than this on the caller's has been set; less is the way here
local SEAT_SLACK = 2000000 -- a seat outlives its pass by the difference of two clocks
local CHUNK = 32768        -- numbers per bitmap
local AWAY = 137438953472  -- 2^37: numbers from here on are times, given without the store
local AWAY_ORIGIN = 1767225600000 -- 2026-01-01, Unix milliseconds
local GROUPED = 35184372088832 -- 2^45: numbers from here on are turns in a group: 1024 * turn + the group's tag
local BEHIND = 8796093022208 -- 2^43: members of groups stand from here on, until it is their group's turn
local MOVING = 1099511627776 -- 2^40: a number of another epoch is this much further
local PURGE = 1000         -- entries cleaned up per call
local MARKS = 34 * 86400  -- seconds; outlives every ticket by a day (gate/core/line.py)

local t, raw               -- room time and the store's clock, microseconds
local line                 -- the hash
local ready                -- how many are at the door
local calls = {}           -- who was called and may not have heard of it yet, oldest first (crowd.lua)
local marks = {}           -- {at, last}: at this room time the highest number given was this, oldest first
local reached = {}         -- {at, serving}: at this working time everybody up to there had been called, oldest first
local groups = {}          -- {tag, last, serving, credit, expected, came, calls}: turns given, called, and admissions it is owed;
                           -- how many of those called came; {at, upto, count, knocked, heard} of those who may still come
local coming = 0           -- members of groups who were called, and may come any moment

local function whole(x) return string.format('%.0f', x) end
local function exact(x) return string.format('%.17g', x) end

local TEXTS = {'calls', 'marks', 'reached', 'groups', 'members', 'seed', 'server'}
local FIELDS = {'epoch', 'last', 'serving', 'birth', 'level', 'step', 'cost', 'burst', 'stamp', 'skew', 'admitted',
  'lost', 'lost_until', 'longest', 'expected', 'came', 'through', 'full', 'expected_seen', 'came_seen', 'drawn', 'stock',
  'blind', 'settled', 'seen', 'worked', 'forfeit', 'base', 'flow'}
local loaded = {}          -- the fields as they were, so that only what changed is written
local touched = {}         -- the lists that changed

local function clock()
  local now = redis.call('TIME')
  raw = tonumber(now[1]) * SECOND + tonumber(now[2])
end

-- Why nobody is let in now, or nil.
local function refusal()
  if MODE == 'hold' then return 'hold' end
  if MODE ~= 'auto' and MODE ~= 'open' then return 'room-closed' end
  if raw < OPENS then return 'not-open' end
  if CLOSES > 0 and raw >= CLOSES then return 'sale-over' end
end

-- When to ask again then, microseconds from now, in whole seconds.
local function pause(reason)
  local wait = 20 * SECOND
  if reason == 'not-open' then wait = math.min(wait, math.ceil((OPENS - raw) / SECOND) * SECOND) end
  return whole(wait)
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


-- Seats of visitors who were inside when the store lost its state, and have not been heard of since.
local function lost_seats() return t < line.lost_until and line.lost or 0 end

local function inside() return redis.call('ZCARD', SEATS) + lost_seats() end

local function free_seats()
  if ACTIVE < 0 then return math.huge end
  return ACTIVE - inside()
end

-- The bucket is full, and whatever waits now is a token lost. Where seats are what is scarce, nothing is lost by it; and
-- just after the opening a full bucket is not for the quickest.
local function runs_over()
  return line.level >= BURST * COST and free_seats() * COST >= line.level and raw >= OPENS + RETURN
end

-- Gives ticket `id` its seat, and takes the token for it.
local function admit(id)
  line.level = line.level - COST
  line.admitted, line.flow = line.admitted + 1, line.flow + 1
  redis.call('ZADD', SEATS, whole(t + SESSION), id)
end

-- Two bits a number: has knocked (by its place), is spent (by the number itself).
local function bits_of(epoch, number)
  return SPENT .. ':' .. whole(epoch) .. ':' .. whole(math.floor(number / CHUNK)), (number % CHUNK) * 2
end

local function mark_spent(id, epoch, number)
  if number >= AWAY then
    redis.call('ZADD', SPENT, whole(t), id)
    redis.call('EXPIRE', SPENT, MARKS)
  else
    local key, bit = bits_of(epoch, number)
    redis.call('SETBIT', key, bit + 1, 1)
    redis.call('EXPIRE', key, MARKS)
  end
end

local function is_spent(id, epoch, number)
  if number >= AWAY then return redis.call('ZSCORE', SPENT, id) end
  local key, bit = bits_of(epoch, number)
  return redis.call('GETBIT', key, bit + 1) == 1
end
