-- The bearer of an invitation gets a turn in a group. Safe to repeat: the same ticket has the same turn, and uses it up once.
--
-- KEYS     see room.lua
-- ARGV     1-24 see room.lua; 25 ticket id, 26 the group's tag, 27 the invitation's id, 28 its uses (0: any number),
--          29 its end (s, Unix time)
-- Returns  the state (see close), then: status (invited, used-up, or spent: that ticket's pass is over or was given back), the
--          ticket's number, its epoch
-- @include room
-- @include crowd
-- @include visit

local id, tag, uses = mine(1), tonumber(mine(2)), tonumber(mine(4))
open()
if redis.call('ZSCORE', REVOKED, id) or redis.call('ZSCORE', SPENT, id) then return close('spent', '0', '0') end
local key = USES .. ':' .. mine(3)
local known = redis.call('HGET', key, id)
if known then
  local epoch, number = string.match(known, '(%d+):(%d+)')
  return close('invited', number, epoch)
end
if uses > 0 and redis.call('HLEN', key) >= uses then return close('used-up', '0', '0') end
local group = group_of(tag)
if not group then
  group = {tag = tag, last = 0, serving = 0, credit = 0}
  groups[#groups + 1] = group
end
group.last = group.last + 1
local number = GROUPED + group.last * 1024 + tag
redis.call('HSET', key, id, whole(line.epoch) .. ':' .. whole(number))
redis.call('EXPIREAT', key, mine(5))
redis.call('ZADD', INVITED, whole(tag * 4294967296 + group.last), id)
redis.call('EXPIRE', INVITED, 4 * DAY)
call_ahead()
return close('invited', whole(number), whole(line.epoch))
