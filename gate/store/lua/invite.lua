-- The bearer of an invitation gets a turn in a group. Safe to repeat: the same ticket has the same turn, and uses it up once.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 ticket id, 27 the group's tag, 28 the invitation's id, 29 its uses (0: any number),
--          30 its end (s, Unix time), 31 and 32 the epoch and number that the ticket has now (0: it is a new one)
-- Returns  the state (see close), then: status (invited, used-up, or spent: that ticket has had its pass, or gave it back), the
--          ticket's number, its epoch
-- @include room
-- @include crowd
-- @include visit

local DAY = 86400
local id, tag, uses = mine(1), tonumber(mine(2)), tonumber(mine(4))
local old_epoch, old = tonumber(mine(6)), tonumber(mine(7))
open()

-- One ticket is one pass: a place in the common line, also one that it was moved to, ends when the turn takes its place. What is
-- spent by its id, as turns in groups are, needs no mark here.
local moved = tonumber(redis.call('ZSCORE', MOVED, id) or 0)
local function replace_common()
  if old > 0 and old < AWAY then mark_spent(id, old_epoch, old) end
  if moved > 0 then mark_spent(id, math.floor(moved / MOVING), moved % MOVING) end
end
local function had_pass()
  if moved > 0 then return is_spent(id, math.floor(moved / MOVING), moved % MOVING) end
  return old > 0 and old < AWAY and is_spent(id, old_epoch, old)
end

if redis.call('ZSCORE', REVOKED, id) or redis.call('ZSCORE', SPENT, id) then return close('spent', '0', '0') end
local key = USES .. ':' .. mine(3)
local known = redis.call('HGET', key, id)
if known then
  replace_common()
  local epoch, number = string.match(known, '(%d+):(%d+)')
  return close('invited', number, epoch)
end
if had_pass() then return close('spent', '0', '0') end
if uses > 0 and redis.call('HLEN', key) >= uses then return close('used-up', '0', '0') end
local group = group_of(tag) or new_group(tag)
replace_common()
group.last = group.last + 1
local number = GROUPED + group.last * 1024 + tag
redis.call('HSET', key, id, whole(line.epoch) .. ':' .. whole(number))
redis.call('EXPIREAT', key, whole(tonumber(mine(5)) + DAY)) -- what ends it is a gate's clock, which may be behind
redis.call('ZADD', INVITED, whole(tag * 4294967296 + group.last), id)
redis.call('EXPIRE', INVITED, MARKS)
call_ahead()
return close('invited', whole(number), whole(line.epoch))
