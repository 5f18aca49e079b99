-- Who is in line, who of them is present, and who is called: included after room.lua, never run by itself.
-- The Python twins are gate/core/presence.py, gate/core/calls.py, gate/core/groups.py and the ledger.

local SETTLE = 45000000    -- a visitor who came back at all has been seen again within this long
local LOOK = 8.0           -- seconds of rate that are called ahead: more than it takes to hear of it, and to come back once
local LEAST_SHARE = 0.02   -- no fewer than this share of those called are taken to be present,
local MOST_SEEN = 0.6      -- and no more than this of those who were seen again: who is far away looks seldom, and is late
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
  for i = #calls, 1, -1 do
    if calls[i].heard < t then
      local call = table.remove(calls, i)
      if call.sure == 1 then
        line.expected_seen, line.came_seen = line.expected_seen + call.count, line.came_seen + call.knocked
      else
        line.expected, line.came = line.expected + call.count, line.came + call.knocked
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

-- Of those who had been seen again: all, until it turns out otherwise. The first half of the time nobody can have come.
local function share_seen()
  local came, expected = line.came_seen, line.expected_seen
  for _, call in ipairs(calls) do
    if call.sure == 1 then
      came = came + call.knocked
      expected = expected + math.max(call.knocked, call.count * math.max(0, 2 * heard_of(call) - 1))
    end
  end
  return math.max(LEAST_SHARE, math.min(1, (came + 2) / (expected + 2)))
end

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
  local sum = 0
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
local function hearing(number, told)
  local poll = 30.0
  if STEP > 0 then poll = math.min(poll, math.max(2.0, 0.2 * told * (number - line.through) / per_second())) end
  return math.floor((2.5 + 1.3 * poll) * SECOND)
end

-- Calls `count` people up to `number`, `known` of whom were seen again. Those called within half a second, or when there are
-- many, are one call.
local function call_up_to(number, count, known, sure, told)
  if count > 0 then
    local heard, newest, many = t + hearing(number, told), nil, 0
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
  if not call and place ~= math.floor(place) then -- a member of a group stands between two numbers
    for i = #calls, 1, -1 do
      local one = calls[i]
      if one.sure == 1 and one.after < place and one.knocked < one.count then
        call = one
        break
      end
    end
  end
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

local function group_of(tag)
  for _, group in ipairs(groups) do
    if group.tag == tag then return group end
  end
end

-- The groups somebody of whom waits, with their shares; first those that the room has, in their order.
local function queue_of_groups()
  local queue = {}
  for _, each in ipairs(SHARES) do
    local group = group_of(each.tag)
    if group then queue[#queue + 1] = {group = group, share = each.share} end
  end
  for _, group in ipairs(groups) do
    local known = false
    for _, each in ipairs(queue) do known = known or each.group == group end
    if not known then queue[#queue + 1] = {group = group, share = COMMON} end -- the room has it no more
  end
  return queue
end

-- The next `many` of a group get their places: right behind the numbers called so far, in their order.
local function call_group(group, many, told)
  local first = group.tag * 4294967296 + group.serving + 1
  local low, high = whole(first), whole(first + many - 1)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', INVITED, low, high)) do
    line.front = math.max(line.front + 1 / 4096, line.serving + 0.25 + 1 / 8192) -- never a whole number
    redis.call('ZADD', PLACED, exact(line.front), id)
  end
  redis.call('EXPIRE', PLACED, 4 * DAY)
  redis.call('ZREMRANGEBYSCORE', INVITED, low, high)
  group.serving = group.serving + many
  group.credit = group.credit - many
  call_up_to(line.serving, many, many, 1, told)
end

-- Calls from the groups and the common line by their shares: for everyone who is expected of the common line, a group is owed
-- `share / COMMON` calls. What one does not use goes to the others.
local function call_by_shares(want, told)
  local queue, part = queue_of_groups(), math.max(1, want / 8)
  while want > 0 do
    local called, owed = 0, 0.0
    for _, each in ipairs(queue) do
      local group = each.group
      local many = math.min(group.last - group.serving, math.floor(group.credit), math.ceil(want))
      if many >= 1 and want > 0 then
        call_group(group, many, told)
        called, want = called + many, want - many
      end
      if group.last == group.serving then group.credit = 0 else owed = owed + each.share end
    end
    if want > 0 then
      local some = call_common(math.min(want, part), told)
      want = want - some
      local gain = some / COMMON
      if some == 0 then
        if owed == 0 then return end
        gain = called == 0 and part / owed or 0
      end
      for _, each in ipairs(queue) do
        if each.group.last > each.group.serving then each.group.credit = each.group.credit + gain * each.share end
      end
    end
  end
end

-- Moves `serving` so that enough present visitors stand at the door, however few of those called come.
local function call_ahead()
  if refusal() then return end
  local invited = uninvited() > 0
  if line.last == line.serving and not invited then return end
  local tokens = math.min(math.floor(line.level / COST), math.max(0, free_seats()))
  local want = tokens + math.max(2, LOOK * per_second()) - ready - on_the_way(math.huge)
  if want <= 0 then return end
  local told = present()
  if invited then call_by_shares(want, told) else call_common(want, told) end
end
