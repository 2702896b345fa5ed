-- All changes of job records; each call is atomic. Called as  EVALSHA sha 0 operation arguments-as-JSON ; returns JSON.
--
--   signalml:job:<id>               record of a job: a hash
--   signalml:job:<id>:units         its units: name -> {queue, state, attempt, token, worker, at, stop, parts}
--   signalml:job:<id>:events        its events for clients: a stream
--   signalml:index:<kind>:<state>   job ids, in the order of their creation
--   signalml:dataset:<name>         ids of the jobs of a dataset, in the same order
--   signalml:ready:<queue>          waiting units, by the time of their turn
--   signalml:leases                 leased units, by the end of their lease
--   signalml:take:<call>            unit that was given to a call, for the time in which the call can be repeated
--   signalml:cancelling             jobs that are being cancelled, by the time at which they end in any case
--   signalml:exclusive:<key>        the only job that holds this key
--   signalml:idempotency:<key>      job that was created with this key, and digest of the request
--   signalml:seconds:<what>:<kind>  histograms of waiting and running times
--   signalml:fence                  the last token
--   signalml:swept                  time of the last sweep
--   signalml:lease_time             time for leases, in ms; see below
--   signalml:turn                   the latest turn that was given
--
-- The clock is the server's, so clocks of the workers do not matter. It can be set back or forward. So leases do not end
-- at a time of this clock but at a *lease time*, which only sweeps advance: by the time since the sweep before, never by
-- less than nothing, and never by more than `gap_ms`. A lease that a worker renews every second lives on, and the lease of
-- a dead worker ends after some sweeps, whatever the clock shows. Times in records are for people only.
--
-- A unit is `ready`, `leased` or `done`. Each lease
-- has a token, larger than all tokens before. Only a call with the present token of a unit can change it. A lease ends
-- in one of five ways:
--
--   call.succeed, call.advance      the work is done
--   call.release                    SIGTERM: the unit is ready again, and the attempt does not count
--   call.fail                       an error in the work: the job fails
--   end_lease, in a sweep           not renewed: the unit is ready again; after the third attempt the job fails
--   remove_unit                     the job is being cancelled

local P = 'signalml:'
local STATES = {'queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled'}
local ENDED = {succeeded = true, failed = true, cancelled = true}
local BUCKETS = {0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 7200}
local EVENTS_KEPT = 5000
-- Time in which a worker can repeat a call of `take`.
local ANSWERED_S = 600
-- Maximum number of nudges that one sweep sends to a queue. More nudges than idle processes have no effect.
local NUDGES_AT_ONCE = 200
-- Minimum time between progress events of parts. With an event for each part, the stream would lose the beginning of a
-- long job.
local PROGRESS_INTERVAL_MS = 500
-- Each part of a job has its turn this much later than the part before it, so that parts of several jobs alternate.
local TURN_MS = 100

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function job_key(id) return P .. 'job:' .. id end
local function units_key(id) return P .. 'job:' .. id .. ':units' end
local function events_key(id) return P .. 'job:' .. id .. ':events' end
local function ready_key(queue) return P .. 'ready:' .. queue end
local function lease_time()
  redis.call('SET', P .. 'lease_time', now, 'NX')
  return tonumber(redis.call('GET', P .. 'lease_time'))
end
local function member(id, unit) return id .. '/' .. unit end
local function field(id, name) return redis.call('HGET', job_key(id), name) end

local function set(id, fields)
  for name, value in pairs(fields) do redis.call('HSET', job_key(id), name, value) end
  redis.call('HINCRBY', job_key(id), 'revision', 1)
end

-- Return the next turn. Turns follow each other, also if the clock is set back.
local function next_turn()
  local turn = math.max(now, tonumber(redis.call('GET', P .. 'turn') or 0) + 1)
  redis.call('SET', P .. 'turn', turn)
  return turn
end

local function add_event(id, what, data)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', what, 'data', cjson.encode(data))
end

local function add_log(id, sentence) add_event(id, 'log', {message = sentence, at_ms = now}) end

local function observe(what, kind, milliseconds)
  local key, seconds = P .. 'seconds:' .. what .. ':' .. kind, math.max(0, milliseconds) / 1000
  redis.call('HINCRBYFLOAT', key, 'sum', seconds)
  redis.call('HINCRBY', key, 'count', 1)
  for _, bound in ipairs(BUCKETS) do
    redis.call('HINCRBY', key, tostring(bound), seconds <= bound and 1 or 0)
  end
end

local function move(id, state)
  local kind, before = field(id, 'kind'), field(id, 'state')
  if before then redis.call('ZREM', P .. 'index:' .. kind .. ':' .. before, id) end
  redis.call('ZADD', P .. 'index:' .. kind .. ':' .. state, 0, id)
  set(id, {state = state})
  if not ENDED[state] then add_event(id, 'state', {state = state, attempt = tonumber(field(id, 'attempt'))}) end
end

local function unit_of(id, name)
  local found = redis.call('HGET', units_key(id), name)
  return found and cjson.decode(found)
end

local function keep(id, name, unit) redis.call('HSET', units_key(id), name, cjson.encode(unit)) end

local function make_ready(id, name, unit, turn)
  unit.state, unit.worker = 'ready', ''
  keep(id, name, unit)
  redis.call('ZREM', P .. 'leases', member(id, name))
  redis.call('ZADD', ready_key(unit.queue), next_turn() + (turn or 0) * TURN_MS, member(id, name))
end

local function fresh(queue, at, stop)
  return {queue = queue, state = 'ready', attempt = 0, token = 0, worker = '', at = at, stop = stop, parts = {}}
end

-- Return the unit if its token is valid, and the status of the lease: held, cancelling or lost.
local function held(a)
  local state = field(a.job, 'state')
  local unit = state and unit_of(a.job, a.unit)
  if not unit or unit.state ~= 'leased' or unit.token ~= a.token then return nil, 'lost' end
  return unit, state == 'cancelling' and 'cancelling' or 'held'
end

local function each_unit(id, visit)
  local found = redis.call('HGETALL', units_key(id))
  for i = 1, #found, 2 do visit(found[i], cjson.decode(found[i + 1])) end
end

local function finish(id, state, fields)
  -- Decode before the first write, so that invalid JSON changes nothing.
  local event = {state = state, attempt = tonumber(field(id, 'attempt')),
    error = fields.error and cjson.decode(fields.error), summary = fields.summary and cjson.decode(fields.summary)}
  each_unit(id, function(name, unit)
    redis.call('ZREM', P .. 'leases', member(id, name))
    redis.call('ZREM', ready_key(unit.queue), member(id, name))
  end)
  redis.call('DEL', units_key(id))
  redis.call('ZREM', P .. 'cancelling', id)
  local exclusive = field(id, 'exclusive')
  if exclusive ~= '' and redis.call('GET', P .. 'exclusive:' .. exclusive) == id then
    redis.call('DEL', P .. 'exclusive:' .. exclusive)
  end
  fields.ended_ms = now
  set(id, fields)
  move(id, state)
  local started = field(id, 'started_ms')
  if started ~= '' then observe('run', field(id, 'kind'), now - started) end
  add_event(id, 'end', event)
end

local function leased_units(id)
  local count = 0
  each_unit(id, function(_, unit) if unit.state == 'leased' then count = count + 1 end end)
  return count
end

-- Remove a unit of a job that is being cancelled. The last one ends the job.
local function remove_unit(id, name)
  redis.call('HDEL', units_key(id), name)
  redis.call('ZREM', P .. 'leases', member(id, name))
  if leased_units(id) == 0 then finish(id, 'cancelled', {}) end
end

local call = {}

function call.submit(a)
  if a.idempotency ~= '' then
    local known = redis.call('GET', P .. 'idempotency:' .. a.idempotency)
    if known then
      local before = cjson.decode(known)
      if before.digest ~= a.digest then return {conflict = 'idempotency', job = before.job} end
      if redis.call('EXISTS', job_key(before.job)) == 1 then return {job = before.job, created = false} end
    end
  end
  local other = a.exclusive ~= '' and redis.call('GET', P .. 'exclusive:' .. a.exclusive)
  if other then
    if field(other, 'state') == 'cancelling' then return {conflict = 'cancelling', job = other} end
    if field(other, 'parameters') ~= a.parameters then return {conflict = 'exclusive', job = other} end
  else
    local waiting = 0
    for _, queue in ipairs(a.queues) do waiting = waiting + redis.call('ZCARD', ready_key(queue)) end
    if waiting >= a.most_waiting then return {conflict = 'full', waiting = waiting} end
  end
  if a.idempotency ~= '' then
    local value = cjson.encode({job = other or a.job, digest = a.digest})
    redis.call('SET', P .. 'idempotency:' .. a.idempotency, value, 'EX', a.idempotency_s)
  end
  if other then return {job = other, created = false} end
  if a.exclusive ~= '' then redis.call('SET', P .. 'exclusive:' .. a.exclusive, a.job) end
  redis.call('HSET', job_key(a.job),
    'id', a.job, 'kind', a.kind, 'attempt', 0, 'parameters', a.parameters, 'created_ms', now, 'started_ms', '',
    'ended_ms', '', 'request_id', a.request_id, 'exclusive', a.exclusive, 'dataset', a.dataset, 'revision', 0)
  if a.dataset ~= '' then redis.call('ZADD', P .. 'dataset:' .. a.dataset, 0, a.job) end
  move(a.job, 'queued')
  make_ready(a.job, 'begin', fresh(a.queue, 0, 1))
  return {job = a.job, created = true}
end

-- Lease a unit that was the next one in its queue. Returns nil if it must not be done any more.
local function lease(a, waiting)
  local id, name = waiting:match('^(.-)/(.+)$')
  local state, unit = field(id, 'state'), unit_of(id, name)
  if not unit or unit.state ~= 'ready' or (state ~= 'queued' and state ~= 'running') then return nil end
  unit.attempt, unit.token = unit.attempt + 1, redis.call('INCR', P .. 'fence')
  unit.state, unit.worker, unit.call = 'leased', a.worker, a.call
  redis.call('SET', P .. 'take:' .. a.call, member(id, name), 'EX', ANSWERED_S)
  keep(id, name, unit)
  redis.call('ZADD', P .. 'leases', lease_time() + a.lease_ms, member(id, name))
  if unit.attempt > tonumber(field(id, 'attempt')) then set(id, {attempt = unit.attempt}) end
  if state == 'queued' then
    if field(id, 'started_ms') == '' then
      set(id, {started_ms = now})
      observe('wait', field(id, 'kind'), now - field(id, 'created_ms'))
    end
    move(id, 'running')
  end
  return {job = id, unit = name, unit_record = unit, record = redis.call('HGETALL', job_key(id))}
end

-- A call that is repeated, because its answer was lost, gets the same unit. A damaged record is passed over.
function call.take(a)
  local answered = redis.call('GET', P .. 'take:' .. a.call)
  if answered then
    local id, name = answered:match('^(.-)/(.+)$')
    local unit = unit_of(id, name)
    if unit and unit.state == 'leased' and unit.call == a.call then
      redis.call('ZADD', P .. 'leases', lease_time() + a.lease_ms, answered)
      return {job = id, unit = name, unit_record = unit, record = redis.call('HGETALL', job_key(id))}
    end
  end
  while true do
    local popped = redis.call('ZPOPMIN', ready_key(a.queue))
    if #popped == 0 then return {} end
    local readable, answer = pcall(lease, a, popped[1])
    if readable and answer then return answer end
  end
end

function call.renew(a)
  local unit, status = held(a)
  if unit then redis.call('ZADD', P .. 'leases', lease_time() + a.lease_ms, member(a.job, a.unit)) end
  return {status = status}
end

function call.progress(a)
  local unit, status = held(a)
  if not unit then return {status = status} end
  local fields = {step = a.step, done = a.done, total = a.total, message = a.message, updated_ms = now}
  if field(a.job, 'step') ~= a.step then fields.step_ms = now end
  set(a.job, fields)
  add_event(a.job, 'progress', {step = a.step, done = a.done, total = a.total, message = a.message})
  return {status = status}
end

function call.log(a)
  local unit, status = held(a)
  if unit then add_log(a.job, a.message) end
  return {status = status}
end

-- Store values that later attempts must use unchanged, such as the version of the dataset.
function call.pin(a)
  local unit, status = held(a)
  if unit then set(a.job, a.fields) end
  return {status = status}
end

function call.fan_out(a)
  local unit, status = held(a)
  if not unit then return {status = status} end
  unit.state = 'done'
  keep(a.job, a.unit, unit)
  redis.call('ZREM', P .. 'leases', member(a.job, a.unit))
  set(a.job, {open = #a.stops, step = a.step, step_ms = now, updated_ms = now, done = 0, total = a.total, message = ''})
  if status == 'cancelling' then
    remove_unit(a.job, a.unit)
    return {status = status}
  end
  add_event(a.job, 'progress', {step = a.step, done = 0, total = a.total, message = ''})
  for i, stop in ipairs(a.stops) do
    make_ready(a.job, string.format('part-%05d', i - 1), fresh(unit.queue, 0, stop), i - 1)
  end
  if #a.stops == 0 then make_ready(a.job, 'gather', fresh(unit.queue, 0, 1)) end
  return {status = status, nudges = math.max(#a.stops, 1), queue = unit.queue}
end

-- Record one more file with rows of a part. Items before `at` are not done again.
function call.advance(a)
  local unit, status = held(a)
  if not unit then return {status = status} end
  local items = a.at - unit.at
  if items <= 0 then return {status = status} end -- a repeated call, because the first answer was lost
  unit.at = a.at
  table.insert(unit.parts, a.part)
  local done, total = field(a.job, 'done') + items, tonumber(field(a.job, 'total'))
  set(a.job, {done = done, updated_ms = now})
  if done == total or math.abs(now - (field(a.job, 'told_ms') or 0)) >= PROGRESS_INTERVAL_MS then
    set(a.job, {told_ms = now})
    add_event(a.job, 'progress', {step = field(a.job, 'step'), done = done, total = total, message = ''})
  end
  if unit.at < unit.stop then
    keep(a.job, a.unit, unit)
    return {status = status}
  end
  unit.state = 'done'
  keep(a.job, a.unit, unit)
  redis.call('ZREM', P .. 'leases', member(a.job, a.unit))
  local open = redis.call('HINCRBY', job_key(a.job), 'open', -1)
  if status == 'cancelling' then
    if leased_units(a.job) == 0 then finish(a.job, 'cancelled', {}) end
  elseif open == 0 then
    make_ready(a.job, 'gather', fresh(unit.queue, 0, 1))
    return {status = status, nudges = 1, queue = unit.queue}
  end
  return {status = status}
end

-- Return the files of all parts, in order.
function call.parts(a)
  local unit, status = held(a)
  local names, files = {}, {}
  if not unit then return {status = status} end
  each_unit(a.job, function(name, part)
    if name:sub(1, 5) == 'part-' then table.insert(names, {name, part.parts}) end
  end)
  table.sort(names, function(one, other) return one[1] < other[1] end)
  for _, pair in ipairs(names) do for _, file in ipairs(pair[2]) do table.insert(files, file) end end
  return {status = status, files = files}
end

-- Work that is complete succeeds even if the job is being cancelled.
function call.succeed(a)
  local unit, status = held(a)
  if unit then finish(a.job, 'succeeded', {summary = a.summary, result = a.result}) end
  return {status = status}
end

function call.fail(a)
  local unit, status = held(a)
  if not unit then return {status = status} end
  if status == 'cancelling' then remove_unit(a.job, a.unit) else finish(a.job, 'failed', {error = a.error}) end
  return {status = status}
end

-- Return a unit from a worker that stops. The attempt does not count.
function call.release(a)
  local unit, status = held(a)
  if not unit then return {status = status} end
  if status == 'cancelling' then
    remove_unit(a.job, a.unit)
    return {status = status}
  end
  unit.attempt = unit.attempt - 1
  make_ready(a.job, a.unit, unit)
  add_log(a.job, 'The worker stops and returns this work; another worker continues it.')
  return {status = status, nudges = 1, queue = unit.queue}
end

function call.cancel(a)
  local state = field(a.job, 'state')
  if not state or ENDED[state] then return {state = state} end
  local leased = leased_units(a.job)
  if leased == 0 then
    finish(a.job, 'cancelled', {})
    return {state = 'cancelled'}
  end
  if state ~= 'cancelling' then
    each_unit(a.job, function(name, unit)
      if unit.state == 'ready' then
        redis.call('ZREM', ready_key(unit.queue), member(a.job, name))
        redis.call('HDEL', units_key(a.job), name)
      end
    end)
    move(a.job, 'cancelling')
    redis.call('ZADD', P .. 'cancelling', lease_time() + a.patience_ms, a.job)
  end
  return {state = 'cancelling'}
end

local function end_lease(id, name, most)
  local unit = unit_of(id, name)
  if not unit or unit.state ~= 'leased' then
    redis.call('ZREM', P .. 'leases', member(id, name))
  elseif field(id, 'state') == 'cancelling' then
    remove_unit(id, name)
  elseif unit.attempt >= most then
    local detail = string.format(
      'Its process was lost %d times (last worker: %s). It was killed, ran out of memory, or hung.', unit.attempt, unit.worker)
    finish(id, 'failed', {error = cjson.encode({code = 'worker_lost', detail = detail})})
  else
    local sentence = 'Attempt %d was lost with its worker (%s); the work starts again.'
    add_log(id, string.format(sentence, unit.attempt, unit.worker))
    make_ready(id, name, unit)
  end
end

-- End leases that were not renewed, end cancelled jobs whose workers do not stop, and count the missing nudges. A damaged
-- record is passed over and named in the answer, so that it does not stop the others.
function call.sweep(a)
  local before = tonumber(redis.call('GET', P .. 'swept') or now)
  local elapsed, damaged, nudges = now - before, {}, {}
  if elapsed > 0 and elapsed < a.interval_ms then return {nudges = nudges, damaged = damaged} end
  local at = lease_time() + math.max(0, math.min(elapsed, a.gap_ms))
  redis.call('SET', P .. 'swept', now)
  redis.call('SET', P .. 'lease_time', at)
  if elapsed > a.gap_ms then
    -- There was no sweep for a while: the server was unreachable, no worker ran, or the clock was set forward. Leases
    -- could not be renewed, and their workers may be alive.
    for _, each in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
      redis.call('ZADD', P .. 'leases', 'GT', at + a.lease_ms, each)
    end
  end
  for _, each in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', at, 'LIMIT', 0, 1000)) do
    local id, name = each:match('^(.-)/(.+)$')
    if not id or not pcall(end_lease, id, name, a.most_attempts) then
      redis.call('ZREM', P .. 'leases', each)
      table.insert(damaged, each)
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'cancelling', '-inf', at)) do
    if not pcall(finish, id, 'cancelled', {}) then
      redis.call('ZREM', P .. 'cancelling', id)
      table.insert(damaged, id)
    end
  end
  for queue, list in pairs(a.lists) do
    local missing = redis.call('ZCARD', ready_key(queue)) - redis.call('LLEN', list)
    nudges[queue] = math.max(0, math.min(missing, NUDGES_AT_ONCE))
  end
  return {nudges = nudges, damaged = damaged}
end

local function remove_record(id, kind, state)
  local dataset = field(id, 'dataset')
  if dataset and dataset ~= '' then redis.call('ZREM', P .. 'dataset:' .. dataset, id) end
  redis.call('ZREM', P .. 'index:' .. kind .. ':' .. state, id)
  redis.call('DEL', job_key(id), units_key(id), events_key(id))
end

-- Delete records of jobs that ended long ago. Returns their ids, so that their folders can be deleted too. A damaged
-- record is passed over.
function call.prune(a)
  local deleted = {}
  local function ended_ms(id) return tonumber(field(id, 'ended_ms') or 0) or error('no time') end
  for _, kind in ipairs(a.kinds) do
    for state, _ in pairs(ENDED) do
      for _, id in ipairs(redis.call('ZRANGE', P .. 'index:' .. kind .. ':' .. state, 0, a.most - 1)) do
        local readable, ended = pcall(ended_ms, id)
        if readable and ended > now - a.kept_ms then break end
        if readable and pcall(remove_record, id, kind, state) then table.insert(deleted, id) end
      end
    end
  end
  return {deleted = deleted}
end

return cjson.encode(call[ARGV[1]](cjson.decode(ARGV[2])))
