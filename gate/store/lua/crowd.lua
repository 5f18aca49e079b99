-- Who is in line, who of them is present, and who is called: included after room.lua, never run by itself.
-- The Python twins are gate/core/presence.py, gate/core/calls.py, gate/core/groups.py and gate/core/room.py.

local SETTLE = 45000000    -- a visitor who came back at all has been seen again within this long
local LOOK = 8.0           -- seconds of rate that are called ahead: more than it takes to hear of it, and to come back once
local LEAST_SHARE = 0.02   -- no fewer than this share of those called are taken to be present,
local MOST_SEEN = 0.6      -- and no more than this of those who were seen again: who is far away looks seldom, and is late
local TURNOVER = 30.0      -- seconds over which it is measured how fast seats are taken
local SOONEST = 250000     -- microseconds until the gates know of a call
local MANY = 16            -- calls of a kind that are kept apart

-- ---------------------------------------------------------------- presence: one bit a place, in chunks

local function chunk_key(chunk) return SEEN .. ':' .. whole(chunk) end

-- Set bits among the first `many` of a chunk. Redis counts bytes; the bits of the last one are looked at here.
local function first_bits(key, many)
  local bytes, rest, sum = math.floor(many / 8), many % 8, 0
  if bytes > 0 then sum = redis.call('BITCOUNT', key, 0, bytes - 1) end
  if rest > 0 then
    local byte = string.byte(redis.call('GETRANGE', key, bytes, bytes)) or 0
    for i = 1, rest do
      if byte >= 128 then sum, byte = sum + 1, byte - 128 end
      byte = byte * 2
    end
  end
  return sum
end

-- The place of the `want`-th bit above `after` and up to `upto`, and `want`; or `upto`, and how many there are.
local function nth_bit(after, upto, want)
  local found, place = 0, after + 1
  while place <= upto do
    local chunk = math.floor(place / CHUNK)
    local key, from = chunk_key(chunk), place % CHUNK
    local final = math.min(upto, chunk * CHUNK + CHUNK - 1)
    local before = 0
    if from > 0 then before = first_bits(key, from) end
    local here = first_bits(key, final % CHUNK + 1) - before
    if found + here >= want then
      local rank, low, high = want - found + before, 0, CHUNK / 8 - 1
      while low < high do
        local middle = math.floor((low + high) / 2)
        if redis.call('BITCOUNT', key, 0, middle) >= rank then high = middle else low = middle + 1 end
      end
      local bit = low * 8
      rank = rank - first_bits(key, bit)
      local byte = string.byte(redis.call('GETRANGE', key, low, low))
      while true do
        if byte >= 128 then rank, byte = rank - 1, byte - 128 end
        if rank == 0 then return chunk * CHUNK + bit, want end
        byte, bit = byte * 2, bit + 1
      end
    end
    found, place = found + here, final + 1
  end
  return upto, found
end

local function bits_between(after, upto)
  local _, found = nth_bit(after, upto, math.huge)
  return found
end

-- Numbers that were given long ago count only where they have been seen again.
local function settle()
  while marks[1] and marks[1].at + SETTLE <= t do
    local upto = table.remove(marks, 1).last
    touched.marks = true
    local from = math.max(line.settled, line.serving, line.blind)
    if upto > from then line.seen = line.seen + bits_between(from, upto) end
    line.settled = math.max(line.settled, upto)
  end
end

-- Uncalled numbers of which nobody knows yet whether they are present.
local function fresh()
  return math.max(0, line.blind - line.serving) + line.last - math.max(line.settled, line.blind, line.serving)
end

local function forget(first, last)
  for chunk = first, last do redis.call('DEL', chunk_key(chunk)) end
end

-- ---------------------------------------------------------------- calls
-- A call is {at, after, upto, count, knocked, heard, known, sure}: `count` people above `after` who may come, all of whom heard
-- of it at `heard`; `known` of them had been seen again. `sure`: all of them had, and nobody else was counted.

-- How many of those called come: counted when they must have heard of it, older ones counting less.
local function measure()
  local window = 12.0
  if STEP > 0 then window = math.max(window, 20 / per_second()) end
  local fade = math.exp(-((t - line.stamp) / SECOND) / window)
  line.expected, line.came = line.expected * fade, line.came * fade
  line.expected_seen, line.came_seen = line.expected_seen * fade, line.came_seen * fade
  line.flow = line.flow * math.exp(-((t - line.stamp) / SECOND) / TURNOVER)
  for i = #calls, 1, -1 do
    if calls[i].heard < t then
      local call = table.remove(calls, i)
      line.expected_seen = line.expected_seen + call.known
      line.came_seen = line.came_seen + math.min(call.knocked, call.known)
      if call.sure == 0 then
        line.expected, line.came = line.expected + call.count, line.came + call.knocked
      end
    end
  end
  for _, group in ipairs(groups) do
    group.expected, group.came = group.expected * fade, group.came * fade
    for i = #group.calls, 1, -1 do
      if group.calls[i].heard < t then
        local call = table.remove(group.calls, i)
        group.expected, group.came = group.expected + call.count, group.came + call.knocked
      end
    end
  end
end

local function heard_of(call) return math.max(0, t - call.at - SOONEST) / (call.heard - call.at - SOONEST) end

-- Of those nothing is known of: as many as should have heard of it by now against those who knocked. Before anybody could come
-- it is a quarter.
local function share()
  local came, expected = line.came, line.expected
  for _, call in ipairs(calls) do
    if call.sure == 0 then
      came = came + call.knocked
      expected = expected + call.count * heard_of(call)
    end
  end
  return math.max(LEAST_SHARE, math.min(1, (came + 0.5) / (expected + 2)))
end

-- Of those called who had been seen again, how many come: all, until it turns out otherwise. Of `expected` who must have heard of
-- it `came` came, and `calls_there` are under way: the first half of the time nobody can have come, and until all must have heard
-- of it a call tells only that too few came. Where others were called with them, whoever came is taken to be one of these.
local function share_of_seen(came, expected, calls_there)
  for _, call in ipairs(calls_there) do
    if call.known > 0 then
      local knocked, due = math.min(call.knocked, call.known), call.known * (2 * heard_of(call) - 1)
      if due > knocked then came, expected = came + knocked, expected + due end
    end
  end
  return math.max(LEAST_SHARE, math.min(1, (came + 2) / (expected + 2)))
end

local function share_seen() return share_of_seen(line.came_seen, line.expected_seen, calls) end

-- The share of those seen again that is counted on.
local function counted() return math.min(MOST_SEEN, share_seen()) end

-- Called visitors below `place` who have not knocked yet, and are expected to.
local function on_the_way(place)
  local sum, present, seen = 0.0, share(), counted()
  for _, call in ipairs(calls) do
    if call.after + 1 >= place then break end
    local some = seen * call.known
    if call.sure == 0 then some = math.max(some, present * call.count) end
    some = math.max(0, some - call.knocked)
    if call.upto >= place then some = some * (place - 1 - call.after) / (call.upto - call.after) end
    sum = sum + some
  end
  return sum
end

-- Called visitors who may still knock, present or not.
local function unheard()
  local sum = coming
  for _, call in ipairs(calls) do sum = sum + math.max(0, call.count - call.knocked) end
  return sum
end

-- Members of groups who have not been called.
local function uninvited()
  local sum = 0
  for _, group in ipairs(groups) do sum = sum + group.last - group.serving end
  return sum
end

-- Everybody in line: present for all that is known, uncalled, called, or at the door.
local function waiting() return fresh() + line.seen + uninvited() + ready + unheard() end

-- The share of the numbers not yet called that are expected to come, as it is told.
local function present()
  local uncalled = line.last - line.serving
  if uncalled <= 0 then return share() end
  return (fresh() * share() + line.seen * share_seen()) / uncalled
end

-- How long it takes until a visitor who is called now and looks when told has knocked, microseconds. The pages look at the
-- status after 0.15 of the shortest wait, or 2 to 30 seconds, up to 1.3 times that; a cache adds a second, a page's own
-- beat another. `gate/core/wait.py` has the figures; the share may have been higher at the last look.
local function hearing(ahead, told)
  local poll = 30.0
  if STEP > 0 then poll = math.min(poll, math.max(2.0, 0.2 * told * ahead / per_second())) end
  return math.floor((2.5 + 1.3 * poll) * SECOND)
end

-- Calls `count` people up to `number`, `known` of whom were seen again. Those called within half a second, or when there are
-- many, are one call.
local function call_up_to(number, count, known, sure, told)
  if count > 0 then
    local heard, newest, many = t + hearing(number - line.through, told), nil, 0
    for _, call in ipairs(calls) do
      if call.sure == sure then newest, many = call, many + 1 end
    end
    if not newest or (t - newest.at > 500000 and many < MANY) then
      newest = {at = t, after = line.serving, upto = number, count = 0, knocked = 0, heard = 0, known = 0, sure = sure}
      calls[#calls + 1] = newest
    end
    newest.upto, newest.heard = math.max(newest.upto, number), math.max(newest.heard, heard)
    newest.count, newest.known = newest.count + count, newest.known + known
  end
  line.serving = number
end

-- A call that `place` is in, if anybody of it is still to come.
local function call_of(place)
  for _, call in ipairs(calls) do
    if place > call.after and place <= call.upto and call.knocked < call.count then return call end
  end
end

-- Counts a visitor who knocks for the first time.
local function knock(place)
  local call = call_of(place)
  if call then
    call.knocked = call.knocked + 1
  elseif place > line.settled then
    line.came = line.came + 1
  else
    line.came_seen = line.came_seen + 1
  end
end

-- Calls numbers up to `limit` of whom nothing is known. Returns how many are expected to come.
local function call_fresh(want, limit, told)
  local here, seen = share(), counted()
  local upto = math.min(limit, line.serving + math.ceil(want / here))
  local most, known = math.ceil(want / seen), 0
  upto, known = nth_bit(line.serving, upto, most) -- no more than are wanted of those who are known to be present
  local count = upto - line.serving
  call_up_to(upto, count, known, 0, told)
  return math.max(here * count, seen * known)
end

-- Calls those who have been seen again, and passes by the others.
local function call_seen(want, told)
  local seen = counted()
  local upto, found = nth_bit(line.serving, line.settled, math.ceil(want / seen))
  line.seen = math.max(0, line.seen - found)
  call_up_to(upto, found, found, 1, told)
  return seen * found
end

-- Calls from the common line. Returns how many are expected to come; 0: there is nobody.
local function call_common(want, told)
  local open = want
  if line.serving < line.blind then open = open - call_fresh(open, line.blind, told) end
  if open > 0 and line.serving >= line.blind and line.serving < line.settled then open = open - call_seen(open, told) end
  if open > 0 and line.serving >= math.max(line.blind, line.settled) and line.serving < line.last then
    open = open - call_fresh(open, line.last, told)
  end
  return want - open
end

-- ---------------------------------------------------------------- groups
-- Members of groups are called beside the common line. At the door they stand behind it, each group in a lane of its own; for
-- every one admitted from the common line, a group with somebody there is owed `share / COMMON` admissions, and for each whole
-- one its first member goes to the front. What nobody else uses they take in their lanes' order, and owe it.

local LANE = 4294967296 -- 2^32 turns

local function group_of(tag)
  for _, group in ipairs(groups) do
    if group.tag == tag then return group end
  end
end

local function new_group(tag)
  local group = {tag = tag, last = 0, serving = 0, credit = 0, expected = 0, came = 0, calls = {}}
  groups[#groups + 1] = group
  return group
end

-- The group of one who has a turn. One that the store has forgotten is there again, and that turn counts as called: who is invited
-- from now on comes behind it. nil: the room has no such group any more.
local function recall_group(tag, turn_there)
  local group = group_of(tag)
  for _, each in ipairs(SHARES) do
    if not group and each.tag == tag then group = new_group(tag) end
  end
  if group and turn_there > group.last and group.last == group.serving then
    group.last, group.serving = turn_there, turn_there
  end
  return group
end

-- Where the lane of a group begins, in the order of the groups that the room has, and its share.
local function lane_of(group)
  for i, each in ipairs(SHARES) do
    if each.tag == group.tag then return BEHIND + i * LANE, each.share end
  end
  return BEHIND + (1024 + group.tag) * LANE, COMMON -- the room has it no more
end

local function in_lane(group)
  local first = lane_of(group)
  return redis.call('ZCOUNT', READY, whole(first), whole(first + LANE - 1))
end

local function called_key(group) return CALLED .. ':' .. whole(group.tag) end

-- A place before all numbers, behind those who have one already.
local function in_front()
  local last = redis.call('ZREVRANGEBYSCORE', READY, '(1', '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return last[2] and tonumber(last[2]) + 1 / 1048576 or 1 / 4
end

-- Whom the group is owed an admission goes to the front.
local function promote(group)
  while group.credit >= 1 do
    local first = lane_of(group)
    local id = redis.call('ZRANGEBYSCORE', READY, whole(first), whole(first + LANE - 1), 'LIMIT', 0, 1)[1]
    if not id then
      group.credit = 0
      return
    end
    redis.call('ZADD', READY, exact(in_front()), id)
    group.credit = group.credit - 1
  end
end

-- After an admission: `mine` is the group that took it out of turn; nil and false: it was the common line's.
local function settle_up(mine)
  for _, group in ipairs(groups) do
    if group == mine then
      group.credit = math.max(group.credit - 1, -BURST)
    elseif not mine then
      local _, share = lane_of(group)
      group.credit = group.credit + share / COMMON
      if group.credit >= 1 then promote(group) end
    end
  end
end

-- Of the members called, how many come: counted as in the common line those who had been seen again.
local function share_of(group) return share_of_seen(group.came, group.expected, group.calls) end

-- Called members who have not knocked yet, and are expected to.
local function members_on_the_way(group, present)
  local sum = 0.0
  for _, call in ipairs(group.calls) do sum = sum + math.max(0, present * call.count - call.knocked) end
  return sum
end

-- A member who was called came for the first time.
local function member_knocks(group, turn_there)
  for _, call in ipairs(group.calls) do
    if turn_there > call.upto - call.count and turn_there <= call.upto then
      call.knocked = call.knocked + 1
      return
    end
  end
  group.came = group.came + 1
end

-- Calls members so that of `room` people in all each group has its part; returns what part is left to the common line.
local function call_groups(room)
  local lanes, sum, common = {}, 0.0, ready
  for _, group in ipairs(groups) do
    local standing, present = in_lane(group), share_of(group)
    local here, ahead = standing + members_on_the_way(group, present), standing + redis.call('ZCARD', called_key(group))
    local _, share = lane_of(group)
    common = common - standing
    if here > 0 or group.last > group.serving then
      lanes[#lanes + 1] = {group = group, here = here, ahead = ahead, present = present, share = share}
      sum = sum + share
    end
  end
  if line.last > line.serving or common > 0 then sum = sum + COMMON end
  for _, lane in ipairs(lanes) do
    local group = lane.group
    local many = math.min(group.last - group.serving, math.ceil((room * lane.share / sum - lane.here) / lane.present))
    if many > 0 then
      local first = group.tag * LANE + group.serving + 1
      local low, high = whole(first), whole(first + many - 1)
      local most, heard = t + hearing(many + lane.ahead, lane.present), whole(t + hearing(many + lane.ahead, 1))
      local key, calls_there = called_key(group), group.calls
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', INVITED, low, high)) do
        coming = coming + redis.call('ZADD', key, heard, id) -- 0: called already, in a turn that another link has replaced
      end
      redis.call('EXPIRE', key, MARKS)
      redis.call('ZREMRANGEBYSCORE', INVITED, low, high)
      if not calls_there[1] or (t - calls_there[#calls_there].at > 500000 and #calls_there < MANY) then
        calls_there[#calls_there + 1] = {at = t, count = 0, knocked = 0, heard = 0, known = 0}
      end
      group.serving = group.serving + many
      local newest = calls_there[#calls_there]
      newest.upto, newest.heard = group.serving, math.max(newest.heard, most)
      newest.count, newest.known = newest.count + many, newest.known + many
    end
  end
  if sum == 0 then return 1, common end
  return COMMON / sum, common
end

-- Seats a second that may become free: twice as many as were lately taken, and as many as sessions end.
local function turnover() return math.max(ACTIVE * SECOND / SESSION, 2 * line.flow / TURNOVER) end

-- Moves `serving` so that enough present visitors stand at the door, however few of those called come.
local function call_ahead()
  if refusal() then return end
  local invited = uninvited() > 0
  if line.last == line.serving and not invited then return end
  local look = math.max(2, LOOK * per_second())
  local room, common = math.floor(line.level / COST) + look, ready
  if ACTIVE >= 0 then room = math.min(room, math.max(0, free_seats()) + math.min(look, math.max(2, LOOK * turnover()))) end
  if #groups > 0 then
    local part
    part, common = call_groups(room)
    room = room * part
  end
  local want = room - common - on_the_way(math.huge)
  if want > 0 then call_common(want, present()) end
end
