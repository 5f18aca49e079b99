-- Can the store be written to? (A replica, a full one or one that cannot save says no here, and would to us.)
--
-- KEYS     1 a key of our own
-- ARGV     none
-- Returns  1
redis.call('SET', KEYS[1], '1', 'PX', 1000)
return 1
