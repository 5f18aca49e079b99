-- Tells the room whom a worker has let in by itself while the store was away: their tickets are spent, they have their seats,
-- and who was called stays called. The bucket is empty from now on, and stays empty for `hold`: until then other workers may
-- still let visitors in by themselves, and what they let in has been paid with it. Safe to repeat.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 the highest number the worker has called, 27 how many it has told to be
--          through, 28 hold (us); then id, epoch, number and expiry (us, Unix time) of each of them, 1000 at most
-- Returns  the state (see close), then: how many of them were news
-- @include room
-- @include crowd
-- @include visit

open()
line.level = math.min(line.level, -tonumber(mine(3)) * STEP)
line.full = 0 -- what it gave before has been paid with all that was in it
local called = math.min(tonumber(mine(1)), line.last)
if called > line.serving then
  local before = fresh() + line.seen
  local told, upto = present(), math.min(called, line.settled)
  local from = math.max(line.serving, line.blind)
  if upto > from then line.seen = line.seen - bits_between(from, upto) end
  local serving = line.serving
  line.serving = called
  local count = before - fresh() - line.seen
  line.serving = serving
  call_up_to(called, count, 0, 0, told)
end
line.through = math.max(line.through, math.min(tonumber(mine(2)), line.serving)) -- no place grows that was counted there
local news = 0
for i = OWN + 4, #ARGV, 4 do
  local id, epoch, number, expires = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if not is_spent(id, epoch, number) then
    news = news + 1
    line.admitted = line.admitted + 1
    mark_spent(id, epoch, number)
    local call = number < AWAY and call_of(number)
    if call then call.knocked = call.knocked + 1 end
    redis.call('ZREM', READY, id)
    redis.call('ZREM', DUE, id)
    local seat = math.max(tonumber(redis.call('ZSCORE', SEATS, id) or 0), expires + line.skew)
    if not redis.call('ZSCORE', REVOKED, id) and seat > t then redis.call('ZADD', SEATS, whole(seat), id) end
  end
end
ready = redis.call('ZCARD', READY)
return close(whole(news))
