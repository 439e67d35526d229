"""What a `RedisStore` has its server do: one Lua script an operation, each of them one atomic step.

The keys of a script share one hash tag, so that it runs on a cluster. Time is the server's. Redis 5 and
Valkey know all that is used here. An account is a hash: who opened it (`o`), its window, sums and slices, as
`total` keeps them for the other stores. A hold is a key: what its reserve was answered, then `settled`.
"""

from typing import Final

__all__ = ["FREE", "LEASE", "PACE", "RESERVE", "SETTLE", "SWAP"]

_TIME: Final = """
local function read_time()
  local parts = redis.call('TIME')
  return tonumber(parts[1]) + tonumber(parts[2]) / 1000000
end
local function exact(number) return string.format('%.17g', number) end
"""

_ACCOUNTS: Final = (
    _TIME
    + """
local SLICES, MOST = 32, 9007199254740991
local function whole(number) return string.format('%.0f', number) end

local function found(key)
  local f = redis.call('HMGET', key, 'o', 'w', 'l', 'h', 'c', 'm', 't', 'b', 's')
  if not f[1] then return nil end
  local account = {opened = f[1], window = tonumber(f[2]), latest = tonumber(f[3]), ahead = tonumber(f[4]),
    sums = {tonumber(f[5]), tonumber(f[6]), tonumber(f[7]), tonumber(f[8])}, slices = {}}
  for i, c, m, t, b in string.gmatch(f[9], '(%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+);') do
    account.slices[tonumber(i)] = {tonumber(c), tonumber(m), tonumber(t), tonumber(b)}
  end
  return account
end

local function write(key, account)
  local slices = {}
  for index, slice in pairs(account.slices) do
    slices[#slices + 1] = string.format('%.0f %.0f %.0f %.0f %.0f;', index, unpack(slice))
  end
  for n = 1, 4 do account.sums[n] = math.max(0, math.min(account.sums[n], MOST)) end
  local window = ''
  if account.window then window = exact(account.window) end
  redis.call('HSET', key, 'o', account.opened, 'w', window, 'l', whole(account.latest), 'h',
    whole(account.ahead), 'c', whole(account.sums[1]), 'm', whole(account.sums[2]), 't',
    whole(account.sums[3]), 'b', whole(account.sums[4]), 's', table.concat(slices))
end

local function slide(account, time)
  if not account.window then return end
  local index = math.floor(time * SLICES / account.window) + account.ahead
  if index < account.latest - SLICES then
    account.ahead = account.ahead + account.latest - index
    index = account.latest
  end
  account.latest = math.max(account.latest, index)
  for known, slice in pairs(account.slices) do
    if known < account.latest - SLICES then
      for n = 1, 4 do account.sums[n] = account.sums[n] - slice[n] end
      account.slices[known] = nil
    end
  end
end

local function note(account, index, extra)
  local slice = account.slices[index] or {0, 0, 0, 0}
  account.slices[index] = slice
  for n = 1, 4 do slice[n] = slice[n] + extra[n] end
end

local function roll(account, window, time)
  slide(account, time)
  account.window, account.slices, account.latest, account.ahead = window, {}, 0, 0
  if window then
    slide(account, time)
    note(account, account.latest, account.sums)
  end
end

local function told(account)
  local sums = account.sums
  return table.concat({account.opened, whole(account.latest), whole(sums[1]), whole(sums[2]), whole(sums[3]),
    whole(sums[4])}, ' ')
end

local function drop(first)
  for n = first, #KEYS do redis.call('UNLINK', KEYS[n]) end
end
"""
)

RESERVE: Final = (
    _ACCOUNTS
    + """
-- KEYS: the hold, the accounts, what is to be dropped
-- ARGV: id of the hold, its ms, retention, number of accounts, 4 amounts, then of each account 4 limits,
--   window, end; '' for none
local repeated = redis.call('GET', KEYS[1])
if repeated then return repeated end
local count = tonumber(ARGV[4])
drop(count + 2)
local time, known = read_time(), {}
local amounts = {tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])}

local function refills_in(account, n, over)
  if not account.window then return '' end
  local indexes = {}
  for index in pairs(account.slices) do indexes[#indexes + 1] = index end
  table.sort(indexes)
  for _, index in ipairs(indexes) do
    over = over - account.slices[index][n]
    if over <= 0 then
      return exact(math.max(0, (index - account.ahead + SLICES + 1) * account.window / SLICES - time))
    end
  end
  return ''
end

for place = 1, count do
  local key, base = KEYS[place + 1], 2 + 6 * place
  local window, ends_at = tonumber(ARGV[base + 5]), tonumber(ARGV[base + 6])
  local account = known[key] or found(key)
    or {opened = ARGV[1], window = window, latest = 0, ahead = 0, sums = {0, 0, 0, 0}, slices = {}}
  local ahead = account.ahead
  if account.window ~= window then roll(account, window, time) end
  slide(account, time)
  known[key] = account
  account.ends_at = ends_at
  for n = 1, 4 do
    local most = tonumber(ARGV[base + n])
    if most and account.sums[n] + amounts[n] > most then
      local refill = ''
      if amounts[n] <= most then refill = refills_in(account, n, account.sums[n] + amounts[n] - most) end
      if refill == '' and ends_at then refill = exact(math.max(0, ends_at - time)) end
      if redis.call('EXISTS', key) == 1 then
        if account.ahead ~= ahead then write(key, account) end
        if not account.window and not ends_at then redis.call('PEXPIRE', key, whole(ARGV[3] * 1000)) end
      end
      return {place, n, refill, told(account)}
    end
  end
end
local answers = {}
for key, account in pairs(known) do
  for n = 1, 4 do account.sums[n] = account.sums[n] + amounts[n] end
  if account.window then note(account, account.latest, amounts) end
  write(key, account)
  if account.ends_at then
    redis.call('PEXPIREAT', key, whole(math.max(account.ends_at, time + 60) * 1000))
  else
    redis.call('PEXPIRE', key, whole((account.window and 2 * account.window or ARGV[3]) * 1000 + 1000))
  end
end
for place = 1, count do answers[place] = told(known[KEYS[place + 1]]) end
local answer = table.concat(answers, ',')
redis.call('SET', KEYS[1], answer, 'PX', ARGV[2])
return answer
"""
)

SETTLE: Final = (
    _ACCOUNTS
    + """
-- KEYS: the hold, the accounts, what is to be dropped
-- ARGV: ms for which it is known to be settled, number of accounts, 4 amounts taken, 4 used, then of each
--   account who opened it and the slice it was taken in
local state = redis.call('GET', KEYS[1])
if state == 'settled' then return '' end
redis.call('SET', KEYS[1], 'settled', 'PX', ARGV[1])
local count = tonumber(ARGV[2])
drop(count + 2)
local time, answers = read_time(), {}
for place = 1, count do
  local key, base = KEYS[place + 1], 9 + 2 * place
  local account = found(key)
  if account and account.opened == ARGV[base] then
    slide(account, time)
    local taken_in, less, more = tonumber(ARGV[base + 1]), {}, {}
    local slice = account.slices[taken_in]
    for n = 1, 4 do
      local extra = tonumber(ARGV[6 + n]) - tonumber(ARGV[2 + n])
      less[n], more[n] = math.min(0, extra), math.max(0, extra)
      if not state or (account.window and not slice) then less[n] = 0 end
      if account.window and slice then less[n] = math.max(less[n], -slice[n]) end
      account.sums[n] = account.sums[n] + less[n] + more[n]
    end
    if account.window then
      if slice then note(account, taken_in, less) end
      note(account, account.latest, more)
    end
    write(key, account)
    answers[#answers + 1] = told(account)
  else
    answers[#answers + 1] = '-'
  end
end
return table.concat(answers, ',')
"""
)

PACE: Final = (
    _TIME
    + """
-- KEYS: the rate. ARGV: interval, burst, longest wait, precision
local interval, burst, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now, precision = read_time(), tonumber(ARGV[4])
local due, at = now, now
local known = redis.call('HMGET', KEYS[1], 'due', 'at')
if known[1] then due, at = tonumber(known[1]), tonumber(known[2]) end
local is_behind = at - now > burst * interval + longest
if is_behind then due = due - (at - now) end
local wait = due - (burst - 1) * interval - now
local is_admitted = wait <= longest + precision
if is_admitted then due = math.max(now, due) + interval end
if is_admitted or is_behind then
  redis.call('HSET', KEYS[1], 'due', exact(due), 'at', exact(now))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', (due - now) * 1000 + 1000))
end
return {is_admitted and 1 or 0, exact(wait)}
"""
)

SWAP: Final = """
-- KEYS: the value. ARGV: version it has, version it gets, ms, '1' for a value and not none, the value
local version = redis.call('HGET', KEYS[1], 'n') or '0'
if version == ARGV[2] then return 1 end
if version ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], 'n', ARGV[2], 'v', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
"""

LEASE: Final = (
    _TIME
    + """
-- KEYS: the lease. ARGV: owner, seconds
local now, seconds = read_time(), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'o', 'u', 's')
if known[1] and known[1] ~= ARGV[1] then
  local till, longest = tonumber(known[2]), tonumber(known[3])
  if till > now then
    if till > now + longest then
      redis.call('HSET', KEYS[1], 'u', exact(now + longest))
      redis.call('PEXPIRE', KEYS[1], string.format('%.0f', longest * 1000))
    end
    return 0
  end
end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'u', exact(now + seconds), 's', ARGV[2])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(1, seconds * 1000)))
return 1
"""
)

FREE: Final = """
-- KEYS: the lease. ARGV: owner
if redis.call('HGET', KEYS[1], 'o') == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1
"""
