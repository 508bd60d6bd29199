package limit

// takeSource settles and gives back charges of one account, then answers tolls.
//
// The level of a rate is counted in steps times the limit: a unit adds the steps
// of a period, and each step of time drains the limit. So all numbers are whole,
// and below 2^53 up to some 100 million requests a day.
//
// KEYS[1]  -> credits
// KEYS[2]  -> holds
// KEYS[3..] -> rates
// ARGV[1] -> the time in microseconds, or "" for that of the server
// ARGV[2] -> ids to settle
// ARGV[3] -> ids to give back
// ARGV[4] -> number of rates
// ARGV[5..] -> for each rate: limit, steps of a period, microseconds of a step
// then, for each toll: place of its first rate, number of its rates, units, cost,
// ids of the units
//
// ids are 16 bytes each, one after the other; a unit whose id is all zero is free.
//
// Returns {credits left}, then for each toll {allowed, paid, credits left,
// microseconds until one more has room, then for each rate: remaining, microseconds
// until it is whole}. Credits are -1 for an account that is not metered and -2 for
// one that is not known here, which was not charged.
const takeSource = `
local credits, holds = KEYS[1], KEYS[2]
local us = tonumber(ARGV[1])
if not us then
	local time = redis.call('TIME')
	us = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local free = string.rep('\0', 16)
local whole = function(n) return string.format('%.0f', n) end
local split = function(ids, n)
	local list = {}
	for i = 1, n do list[i] = string.sub(ids, i * 16 - 15, i * 16) end
	return list
end
local each = function(list, size, f)
	for i = 1, #list, size do f(i, math.min(#list, i + size - 1)) end
end

local left, before
local known = false
local balance = function()
	if not known then
		known, left = true, redis.call('HGET', credits, 'left')
		if left and left ~= '-' then
			left = tonumber(left)
			before = left
		end
	end
	return before ~= nil
end
local shown = function()
	if not left then return -2 end
	if left == '-' then return -1 end
	return left
end

local settled = split(ARGV[2], #ARGV[2] / 16)
each(settled, 1000, function(i, j) redis.call('HDEL', holds, unpack(settled, i, j)) end)
local back = split(ARGV[3], #ARGV[3] / 16)
local metered = #back > 0 and balance()
each(back, 1000, function(i, j)
	local found = redis.call('HMGET', holds, unpack(back, i, j))
	for k = i, j do
		local hold = found[k - i + 1]
		if hold and metered then left = left + tonumber(string.match(hold, '^%d+')) end
	end
	redis.call('HDEL', holds, unpack(back, i, j))
end)
local out = {{shown()}}

local rates, at = {}, 5
for i = 1, tonumber(ARGV[4]) do
	local r = {limit = tonumber(ARGV[at]), unit = tonumber(ARGV[at + 1]), step = tonumber(ARGV[at + 2])}
	r.cap, r.now, r.level = r.limit * r.unit, math.floor(us / r.step), 0
	local limit, level, last, kept = string.match(redis.call('GET', KEYS[2 + i]) or '', '^(%d+) (%d+) (%d+) (%d+)$')
	if tonumber(limit) == r.limit then
		r.kept = tonumber(kept)
		r.level = math.max(0, tonumber(level) - math.max(0, r.now - tonumber(last)) * r.limit)
		r.dirty = tonumber(last) > r.now -- the clock was set back: follow it
	end
	rates[i], at = r, at + 3
end

local pay = function(units, cost, ids)
	local list, hold, paid = split(ids, units), cost .. ' ' .. whole(us), 0
	while paid < units do
		local fresh, budget, last = {}, left, paid
		while last < units and (list[last + 1] == free or budget >= cost) do
			last = last + 1
			if list[last] ~= free then
				budget = budget - cost
				fresh[#fresh + 1] = list[last]
				fresh[#fresh + 1] = hold
			end
		end
		-- What was held before, by a call whose reply was lost, is not new.
		each(fresh, 1000, function(i, j) left = left - cost * redis.call('HSET', holds, unpack(fresh, i, j)) end)
		if last == paid then
			if redis.call('HEXISTS', holds, list[paid + 1]) == 0 then break end
			last = paid + 1
		end
		paid = last
	end
	return paid
end

for i = at, #ARGV, 5 do
	local first, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
	local allowed, cost, pause = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), 0
	for j = first, first + n - 1 do
		local r = rates[j]
		allowed = math.min(allowed, math.floor((r.cap - r.level) / r.unit))
	end
	allowed = math.max(0, allowed)
	local answer = {allowed, allowed, -1, 0}
	for j = first, first + n - 1 do
		local r = rates[j]
		if allowed > 0 then
			r.level, r.dirty = r.level + allowed * r.unit, true
		end
		local over = r.level + r.unit - r.cap
		if over > 0 then pause = math.max(pause, math.ceil(over / r.limit) * r.step) end
		answer[#answer + 1] = math.max(0, math.floor((r.cap - r.level) / r.unit))
		answer[#answer + 1] = math.ceil(r.level / r.limit) * r.step
	end
	answer[4] = pause
	if cost > 0 then
		if balance() then answer[2] = pay(allowed, cost, ARGV[i + 4]) end
		answer[3] = shown()
	end
	out[#out + 1] = answer
end

for i, r in ipairs(rates) do
	if r.dirty then
		local ttl = math.ceil(r.level / r.limit * r.step / 1000) + 1000
		-- Once a second it is written to disk and to the replicas; in between it
		-- costs no fsync of its own.
		if r.kept and us >= r.kept and us - r.kept < 1000000 then
			redis.set_repl(redis.REPL_NONE)
		else
			r.kept = us
		end
		redis.call('SET', KEYS[2 + i], table.concat({whole(r.limit), whole(r.level), whole(r.now), whole(r.kept)}, ' '), 'PX', whole(ttl))
		redis.set_repl(redis.REPL_ALL)
	end
end
if before and left ~= before then
	redis.call('HSET', credits, 'left', whole(left))
	redis.call('HINCRBY', credits, 'seq', 1)
end
return out
`

// setSource gives an account a balance, unless a newer one was given. Charges on
// their way are dropped: they were of the balance before.
//
// KEYS[1] -> credits
// KEYS[2] -> holds
// ARGV[1] -> left
// ARGV[2] -> epoch
// ARGV[3] -> seq
//
// Returns 1 when it was set, 0 when the stored one is as new.
const setSource = `
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
if epoch >= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'left', ARGV[1], 'epoch', ARGV[2], 'seq', ARGV[3])
return 1
`

// freeSource notes that an account is not metered, unless something is known of
// it. Whatever is set later is newer.
//
// KEYS[1] -> credits
//
// Returns 1 when it was noted.
const freeSource = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'left', '-', 'epoch', '0', 'seq', '0')
return 1
`
