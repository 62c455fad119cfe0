-- Rates of several doors by the generic cell rate algorithm, with this server's clock.
-- KEYS: the set of doors, then one for each question.
-- ARGV: this door's name, for how long a door counts without a word (us), how many doors it believes
-- there are, until when it waits for the answer (us), then for each question the time between two
-- requests (us), the burst, what to charge, and what is wanted.
-- Answers the time (us) and the number of doors, then for each question what is granted, and when
-- nothing is, the time until there is something (us). Answers nothing when nobody waits any more.
local time = redis.call('TIME')
-- Since 2023: small enough for a fraction of a microsecond in a double.
local now = (time[1] - 1672531200) * 1000000 + time[2]
-- What lay here while this server stood still must not count a door that has long been alone.
if now > tonumber(ARGV[4]) then return {} end
local function text(number) return string.format('%.3f', number) end
redis.call('ZADD', KEYS[1], text(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], 60000)
local doors = redis.call('ZCARD', KEYS[1])
-- Who is believed to be there and does not ask holds to its part alone: the others leave it that.
local part = math.max(1, ARGV[3] / doors)
local answer = {now, doors}
for i = 2, #KEYS do
  local at = 4 * i - 4
  local interval, burst = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local charge, wanted = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local depth = interval * burst
  interval = interval * part
  local known = tonumber(redis.call('GET', KEYS[i]) or '0') or 0
  -- A clock that was set back must not refuse everybody for hours.
  local due = math.min(math.max(known, now), now + depth * (1 + 2 * doors))
  due = math.max(due + charge * interval, now)
  local granted = math.floor((now + depth - due) / interval + 0.001)
  granted = math.max(0, math.min(granted, wanted))
  due = due + granted * interval
  local wait = 0
  if granted == 0 then wait = math.max(0, math.ceil(due + interval - depth - now)) end
  if due > now then
    redis.call('SET', KEYS[i], text(due), 'PX', string.format('%d', math.ceil((due - now) / 1000)))
  elseif known > 0 then
    redis.call('DEL', KEYS[i])
  end
  answer[#answer + 1] = granted
  answer[#answer + 1] = wait
end
return answer
