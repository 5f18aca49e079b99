-- Notes tickets that were seen again since they were given, in a batch. Whoever was not is not waited for when its turn comes.
--
-- KEYS     see room.lua
-- ARGV     1-25 see room.lua; 26 the draw that the places were counted with (0: there was none), then the places, 2000 at most
-- Returns  the state (see close); where its draw is another one, those who took part in it are to be noted again
-- @include room
-- @include crowd
-- @include visit

open()
local drawn, written = tonumber(mine(1)), {}
for i = OWN + 2, #ARGV do
  local place = tonumber(ARGV[i])
  if place > line.serving and place <= line.last and (place > line.drawn or drawn == line.drawn) then
    local key = chunk_key(math.floor(place / CHUNK))
    if redis.call('SETBIT', key, place % CHUNK, 1) == 0 then
      written[key] = true
      if place > line.blind and place <= line.settled then line.seen = line.seen + 1 end
    end
  end
end
for key in pairs(written) do redis.call('EXPIRE', key, MARKS) end
return close()
