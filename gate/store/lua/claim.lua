-- A called ticket asks for its pass. The lowest place among those at the door takes the next token. Safe to repeat: the
-- same ticket gets the same seat, and pays once.
--
-- KEYS     see room.lua
-- ARGV     1-12 see room.lua; 13 ticket id, 14 its epoch, 15 its number
-- Returns  the state (see close), then: status (entered, waiting, spent), expires (us, store's clock),
--          due (us from now), ask again (us from now), reason
-- @include room

local id, epoch, number = ARGV[13], tonumber(ARGV[14]), tonumber(ARGV[15])
open()

local function spent() return close('spent', '0', '0', '0', 'rate') end

if redis.call('ZSCORE', REVOKED, id) then return spent() end
local seat = tonumber(redis.call('ZSCORE', SEATS, id) or 0)
if seat > t then return close('entered', whole(seat - line.skew), '0', '0', 'rate') end
local key, bit
if number >= AWAY then
  if redis.call('ZSCORE', SPENT, id) then return spent() end
else
  key, bit = bits_of(epoch, number)
  if redis.call('GETBIT', key, bit + 1) == 1 then return spent() end
end

if MODE ~= 'auto' and MODE ~= 'open' then return close('waiting', '0', whole(20 * SECOND), whole(20 * SECOND), MODE) end

-- Its place: the number; a ticket given without the store stands behind all numbers of its epoch, by its time.
local place = number
if number >= AWAY then
  local base = tonumber(redis.call('HGET', LINE, 'base:' .. whole(epoch)) or line.serving)
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

if key and redis.call('SETBIT', key, bit, 1) == 0 then -- its first knock
  redis.call('EXPIRE', key, 4 * DAY)
  local early = math.min(1, line.coming)
  line.coming, line.expected, line.came = line.coming - early, line.expected + early, line.came + 1
end

redis.call('ZADD', READY, exact(place), id)
ready = redis.call('ZCARD', READY)
local before = redis.call('ZRANK', READY, id)
local has_token, free = line.level >= (before + 1) * COST, free_seats()
if has_token and free >= before + 1 then
  redis.call('ZREM', READY, id)
  redis.call('ZREM', DUE, id)
  ready = ready - 1
  admit(id)
  mark_spent(id, epoch, number)
  call_ahead()
  return close('entered', whole(raw + SESSION), '0', '0', 'rate')
end

local due, reason
if has_token or free <= 0 then
  reason = 'active'
  due = math.floor(math.max(SECOND, math.min((before + 1) * SESSION / math.max(1, ACTIVE), 5 * SECOND)))
else
  reason = 'rate'
  due = due_in(before)
end
if before > 0 and line.level >= COST and free >= 1 then -- something is free, and kept for one who has yet to knock
  local head = redis.call('ZRANGE', READY, 0, 0)[1]
  local until_free = tonumber(redis.call('ZSCORE', DUE, head)) - t + 1
  if until_free < due then due = until_free end
end
local ask = told(due)
redis.call('ZADD', DUE, whole(t + ask + GRACE), id)
call_ahead()
return close('waiting', '0', whole(due), whole(ask), reason)
