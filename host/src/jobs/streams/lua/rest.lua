-- Whoever dies from now on, while the job waits for its turn, did not die of it.
-- KEYS: job. Returns 1 or 0.
return redis.call('HDEL', KEYS[1], 'begun')
