-- Puts a document of orders in force if its version is the next one (or, with `any`, a higher one), and writes it down.
--
-- KEYS     1 document (hash: version, json), 2 audit (list, newest first)
-- ARGV     1 version, 2 json, 3 audit entry as json, or "", 4 `next` or `any`, 5 how many audit entries to keep
-- Returns  1 taken, or 0: another version is in force; then that version and its json
local have = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
local version = tonumber(ARGV[1])
local taken = 0
if version == have + 1 or (ARGV[4] == 'any' and version > have) then
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'json', ARGV[2])
  if ARGV[3] ~= '' then
    redis.call('LPUSH', KEYS[2], ARGV[3])
    redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[5]) - 1)
  end
  taken = 1
end
local now = redis.call('HMGET', KEYS[1], 'version', 'json')
return {taken, now[1] or '0', now[2] or ''}
