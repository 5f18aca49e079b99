-- How every script that changes a room begins, with open(), and ends, with close(): included after crowd.lua.
-- The Python twin is gate/core/ledger.py.

local opened       -- `serving` as the script began

-- Pairs and groups are few and change seldom: they are written only when `touched`. A call of an older gate has six fields.
local function pairs_of(text, into, first, second)
  for a, b in string.gmatch(text, '(%d+),(%d+);') do into[#into + 1] = {[first] = tonumber(a), [second] = tonumber(b)} end
end

local function text_of_pairs(from, first, second)
  local parts = {}
  for i, one in ipairs(from) do parts[i] = whole(one[first]) .. ',' .. whole(one[second]) .. ';' end
  return table.concat(parts)
end

local CALL = '(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),?(%d*),?(%d*);'
local function calls_of(text)
  for at, after, upto, count, knocked, heard, known, sure in string.gmatch(text, CALL) do
    calls[#calls + 1] = {at = tonumber(at), after = tonumber(after), upto = tonumber(upto), count = tonumber(count),
      knocked = tonumber(knocked), heard = tonumber(heard), known = tonumber(known) or 0, sure = tonumber(sure) or 0}
  end
end

local CALL_TEXT = '%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%d;'
local function text_of_calls()
  local parts = {}
  for i, one in ipairs(calls) do
    parts[i] = string.format(CALL_TEXT, one.at, one.after, one.upto, one.count, one.knocked, one.heard, one.known, one.sure)
  end
  return table.concat(parts)
end

local function text_of_groups()
  local parts = {}
  for i, one in ipairs(groups) do
    parts[i] = string.format('%d,%.0f,%.0f,%.17g;', one.tag, one.last, one.serving, one.credit)
  end
  return table.concat(parts)
end

-- How many of the members called come: a text of its own, which an older gate neither reads nor writes.
local function members_of(text)
  for entry in string.gmatch(text, '[^;]+') do
    local tag, expected, came = string.match(entry, '^(%d+),([^,]+),([^:]+)')
    local group = group_of(tonumber(tag))
    if group then
      group.expected, group.came = tonumber(expected), tonumber(came)
      for at, upto, count, knocked, heard in string.gmatch(entry, ':(%d+),(%d+),(%d+),(%d+),(%d+)') do
        group.calls[#group.calls + 1] = {at = tonumber(at), upto = tonumber(upto), count = tonumber(count),
          knocked = tonumber(knocked), heard = tonumber(heard), known = tonumber(count)}
      end
    end
  end
end

local function text_of_members()
  local parts = {}
  for _, one in ipairs(groups) do
    parts[#parts + 1] = string.format('%d,%.17g,%.17g', one.tag, one.expected, one.came)
    for _, call in ipairs(one.calls) do
      parts[#parts + 1] = string.format(':%.0f,%.0f,%.0f,%.0f,%.0f', call.at, call.upto, call.count, call.knocked, call.heard)
    end
    parts[#parts + 1] = ';'
  end
  return table.concat(parts)
end

-- A new epoch: what is numbered from now on stands behind everything numbered so far.
local function turn(epoch)
  local before = whole(line.epoch)
  redis.call('HSET', LINE, 'base:' .. before, whole(line.last), 'when:' .. before, whole(math.floor(raw / 1000) - AWAY_ORIGIN))
  line.epoch, line.base = epoch, line.last
end

-- What was numbered so far is not known to be present or not.
local function lose_sight() line.blind, line.seen = line.last, 0 end

-- The first two words of what a server says of itself: which run of it this is, and which history its data has.
local function server_name() return string.match(SERVER, '^%S+ %S+') or '' end

local function birth_of_a_line()
  line = {}
  for _, name in ipairs(FIELDS) do line[name] = 0 end
  line.epoch, line.birth, line.level, line.step, line.cost = math.max(1, MEMORY.least), raw, BURST * COST, STEP, COST
  line.burst, line.stamp, line.full, line.longest, line.seed, line.server = BURST, raw, raw, SESSION, '', server_name()
  if MEMORY.epoch > 0 then -- the store lost it: the bucket comes back empty, numbers go on, old seats are held free
    line.epoch = MEMORY.epoch
    line.last, line.serving, line.level = MEMORY.last, MEMORY.serving, -RETURN * STEP
    line.lost, line.lost_until = MEMORY.inside, raw + SESSION
    line.drawn, line.seed, line.stock = MEMORY.drawn, MEMORY.seed, MEMORY.left + 1
    lose_sight()
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

local function catch_up()
  line.last, line.serving = math.max(line.last, MEMORY.last), math.max(line.serving, MEMORY.serving)
  line.level, line.stamp = 0, t
  if MEMORY.drawn > 0 or (line.drawn <= 0 and MEMORY.seed ~= '') then -- the first draw is the one that counts
    line.drawn, line.seed = MEMORY.drawn, MEMORY.seed
  end
  if line.stock == 0 then line.stock = MEMORY.left + 1 end
  lose_sight()
  turn(MEMORY.epoch + 1)
end

-- The line was last written, at `written`, on another server: what that one said last may be lost without anybody here knowing
-- it, a replica's promotion or a restart. Not where the keys moved from one node of a cluster to another: that loses nothing.
local function may_have_lost(written)
  local before, name = line.server, server_name()
  if name == '' or name == before then return false end
  line.server = name
  if before == '' then return false end
  local run, history = string.match(before, '^(%S+) (%S+)$')
  local now, mine, forebear, started = string.match(SERVER, '^(%S+) (%S+) (%S+) (%d+)$')
  return now ~= run and (mine == history or forebear == history or written < tonumber(started))
end

-- What was given since then may be given again: in another epoch, and tokens not at all.
local function begin_anew()
  line.level, line.stamp = math.min(line.level, 0), t
  turn(math.max(line.epoch + 1, MEMORY.least))
end

-- Everybody numbered before the opening is drawn, once. From then on bits and marks are by place. -1: there was nobody, or
-- nothing was promised before the opening, because the room got its draw when it had opened: who stands there keeps the place.
local function draw()
  if not DRAW or line.drawn > 0 then return end
  if raw < OPENS then
    if line.seed == '' then line.seed = OFFER end
    line.drawn = 0 -- also where the opening was put off
  elseif line.drawn == 0 then
    line.drawn = line.seed ~= '' and line.last > 0 and line.last or -1
  else
    return
  end
  if line.drawn > 0 then
    forget(0, math.floor(line.last / CHUNK))
    marks, touched.marks = {{at = t, last = line.last}}, true
    line.settled, line.blind, line.seen = 0, 0, 0
  end
end

-- Who leaves the door without a pass keeps the place for the room's grace.
local function purge()
  local patience = runs_over() and PATIENCE or GRACE
  local overdue = redis.call('ZRANGEBYSCORE', DUE, '-inf', '(' .. whole(t - patience), 'LIMIT', 0, PURGE)
  if #overdue > 0 then
    for _, id in ipairs(overdue) do
      local place = tonumber(redis.call('ZSCORE', READY, id) or 0.5)
      if place == math.floor(place) and place < BEHIND then
        local key, bit = bits_of(line.epoch, place)
        if redis.call('GETBIT', key, bit) == 0 then line.expected = line.expected + 1 end -- came once, and never again
      end
      redis.call('ZADD', LEFT, whole(line.worked), id)
    end
    redis.call('EXPIRE', LEFT, MARKS)
    redis.call('ZREM', DUE, unpack(overdue))
    redis.call('ZREM', READY, unpack(overdue))
  end
  redis.call('ZREMRANGEBYSCORE', SEATS, '-inf', '(' .. whole(t - SEAT_SLACK))
  ready = redis.call('ZCARD', READY)
  for _, group in ipairs(groups) do
    redis.call('ZREMRANGEBYSCORE', called_key(group), '-inf', '(' .. whole(t))
    coming = coming + redis.call('ZCARD', called_key(group))
  end
end

-- Loads the line as it stands now.
local function open()
  clock()
  local found = redis.call('HMGET', LINE, unpack(TEXTS))
  for i, name in ipairs(TEXTS) do loaded[name] = found[i] or '' end
  calls_of(loaded.calls)
  pairs_of(loaded.marks, marks, 'at', 'last')
  pairs_of(loaded.reached, reached, 'at', 'serving')
  for tag, last, serving, credit in string.gmatch(loaded.groups, '(%d+),(%d+),(%d+),([^;]+);') do
    local group = new_group(tonumber(tag))
    group.last, group.serving, group.credit = tonumber(last), tonumber(serving), tonumber(credit)
  end
  members_of(loaded.members)
  found = redis.call('HMGET', LINE, unpack(FIELDS))
  if not found[1] then
    birth_of_a_line()
    t = raw
  else
    line = {seed = loaded.seed, server = loaded.server}
    for i, name in ipairs(FIELDS) do
      local value = tonumber(found[i]) or 0 -- written by an older gate, which did not know of it
      line[name], loaded[name] = value, value
      if name == 'blind' and not found[i] then line.blind = line.last end
    end
    local lost = may_have_lost(line.stamp - line.skew)
    t = raw + line.skew
    if t < line.stamp then
      line.skew = line.skew + line.stamp - t
      t = line.stamp
    elseif QUIET >= 0 and t > line.stamp + QUIET + STEP_AHEAD then -- a burst is for a quiet time, not for a clock that was set
      line.skew = line.skew - (t - line.stamp - QUIET)
      t = line.stamp + QUIET
    end
    if is_behind_memory() then catch_up() elseif lost then begin_anew() end
    if t < line.lost_until and raw < line.birth + 2 * SECOND and MEMORY.epoch > 0 and MEMORY.epoch < line.epoch then
      line.lost = math.max(line.lost, MEMORY.inside) -- this one had heard of more seats before the loss
    end
    if line.epoch < MEMORY.least then turn(MEMORY.least) end
  end
  opened = line.serving
  -- The first write must be one that a full store refuses: after a write, and removing is one, it would let all pass.
  redis.call('HSET', LINE, 'stamp', whole(t))
  loaded.stamp = t
  draw()
  measure()
  refill()
  if not refusal() then line.worked = line.worked + math.min(t - line.stamp, 10 * SECOND) end
  line.stamp = t
  line.longest = math.max(line.longest, SESSION)
  settle()
  while reached[1] and reached[1].at + KEEPS <= line.worked do
    line.forfeit, touched.reached = table.remove(reached, 1).serving, true
  end
  purge()
end

-- Ends a script: writes what has changed, and tells the state.
local function close(...)
  line.through = math.max(line.through, line.serving - ready - unheard()) -- never back, so that no place ever grows
  local newest = marks[#marks]
  if line.last > (newest and newest.last or line.settled) and (not newest or t - newest.at >= SETTLE / 16) then
    marks[#marks + 1], touched.marks = {at = t, last = line.last}, true
  end
  newest = reached[#reached]
  if line.serving > (newest and newest.serving or line.forfeit) and (not newest or line.worked - newest.at >= KEEPS / 16) then
    reached[#reached + 1], touched.reached = {at = line.worked, serving = line.serving}, true
  end
  local passed = math.floor(line.serving / CHUNK) - 1
  if passed >= math.floor(opened / CHUNK) then forget(math.floor(opened / CHUNK), passed) end
  local changed = {}
  for i = 1, #FIELDS do
    local name = FIELDS[i]
    if line[name] ~= loaded[name] then
      changed[#changed + 1] = name
      changed[#changed + 1] = exact(line[name])
    end
  end
  local texts = {calls = text_of_calls(), seed = line.seed, server = line.server,
    groups = #groups > 0 and text_of_groups() or loaded.groups,
    members = #groups > 0 and text_of_members() or loaded.members,
    marks = touched.marks and text_of_pairs(marks, 'at', 'last') or loaded.marks,
    reached = touched.reached and text_of_pairs(reached, 'at', 'serving') or loaded.reached}
  for _, name in ipairs(TEXTS) do
    if texts[name] ~= loaded[name] then
      changed[#changed + 1] = name
      changed[#changed + 1] = texts[name]
    end
  end
  if #changed > 0 then redis.call('HSET', LINE, unpack(changed)) end
  return {whole(raw), whole(line.epoch), whole(line.last), whole(line.serving), whole(line.birth), whole(ready),
    whole(waiting()), whole(line.through), whole(inside()), exact(line.level / COST), whole(line.admitted), exact(present()),
    whole(line.drawn), line.seed, whole(line.stock - 1), texts.groups, whole(line.base), ...}
end
