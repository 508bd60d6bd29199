package lane

// trimSource removes the applied head of a lane, with what stood for it in the
// counts and marks. It removes up to the last applied entry that still stands
// at its place with its write id: a stream that was lost and begun anew keeps
// its entries. Running it again changes nothing. An emptied lane has no counts
// and no marks, which heals whatever drifted.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
// ARGV[1,4,..] -> stream id of an applied entry, the last one first
// ARGV[2,5,..] -> bytes 1 to 16 of the entry: its write id
// ARGV[3,6,..] -> the stream id that follows it
//
// Returns the number of removed entries.
const trimSource = `
local log, bell, born, n = KEYS[1], KEYS[4], KEYS[5], KEYS[6]
local function payload(entry)
	local fields = entry[2]
	for i = 1, #fields, 2 do
		if fields[i] == 'e' then return fields[i + 1] end
	end
	return ''
end
local last, after
for i = 1, #ARGV, 3 do
	local found = redis.call('XRANGE', log, ARGV[i], ARGV[i])
	if found[1] and string.sub(payload(found[1]), 2, 17) == ARGV[i + 1] then
		last, after = ARGV[i], ARGV[i + 2]
		break
	end
end
if not last then return 0 end
local gone, from = {}, '-'
while from do
	local chunk = redis.call('XRANGE', log, from, last, 'COUNT', 64)
	for _, entry in ipairs(chunk) do
		local e = payload(entry)
		local account, kind = string.sub(e, 18, 33), string.byte(e, 50)
		gone[account] = (gone[account] or 0) + 1
		if kind == 2 or kind == 4 then
			local contact = string.sub(e, 18, 49)
			if redis.call('HGET', born, contact) == string.sub(e, 2, 17) then
				redis.call('HDEL', born, contact)
			end
		end
	end
	from = chunk[64] and chunk[64][1] ~= last and '(' .. chunk[64][1] or nil
end
local removed
if after == '' then
	removed = redis.call('XTRIM', log, 'MAXLEN', '=', 0)
else
	removed = redis.call('XTRIM', log, 'MINID', '=', after)
end
redis.call('HINCRBY', bell, 'out', removed)
if redis.call('XLEN', log) == 0 and redis.call('EXISTS', KEYS[8]) == 0 then
	redis.call('DEL', born, n)
	return removed
end
for account, count in pairs(gone) do
	if redis.call('HINCRBY', n, account, -count) <= 0 then
		redis.call('HDEL', n, account)
	end
end
return removed
`

// sweepSource looks at one lane. It deletes a lease or claim that would live
// longer than any is made for, and rings for a lane that has entries and
// neither of the two. While the sweep's own claim lives, the lane still counts
// as stalled, and its generation may be rung for once more. Of a claim that
// somebody else made it tells what was served: a lane whose appends claim it
// again and again looks rung for, whether or not anybody hears the bell.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
// ARGV[1] -> longest PTTL of a lease
// ARGV[2] -> longest PTTL of a claim
// ARGV[3] -> PX of a claim
//
// Returns {0 at work or empty, 1 rung for now, 2 rung for by an earlier look,
// 3 claimed by somebody else; generation; number of deleted keys; generation
// served}.
const sweepSource = workSource + `
local log, claim, owner, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local cured = 0
local function cure(key, longest)
	local ttl = redis.call('PTTL', key)
	if ttl == -1 or ttl > tonumber(longest) then
		cured = cured + redis.call('DEL', key)
	end
end
cure(owner, ARGV[1])
cure(claim, ARGV[2])
if not work() or redis.call('EXISTS', owner) == 1 then
	return {0, 0, cured, 0}
end
local served = tonumber(redis.call('HGET', bell, 'served') or '0')
local holder = redis.call('GET', claim)
if holder then
	local state = holder == '` + claimSweep + `' and 2 or 3
	return {state, tonumber(redis.call('HGET', bell, 'gen') or '0'), cured, served}
end
redis.call('SET', claim, '` + claimSweep + `', 'PX', ARGV[3])
return {1, redis.call('HINCRBY', bell, 'gen', 1), cured, served}
`

// claimSweep is the value of a claim that the sweep made.
const claimSweep = "sweep"

// raiseSource raises the last id of a stream that lies behind an offset, and
// creates a missing stream there. It never lowers and never removes an entry.
// Ids are compared as decimal strings: they reach 2^64, Lua numbers do not.
//
// KEYS[1..6] -> log, claim, owner, bell, born, n
// ARGV[1] -> milliseconds of the offset
// ARGV[2] -> sequence number of the offset
//
// Returns 1 when the stream was raised, 0 when it was not behind.
const raiseSource = `
local log = KEYS[1]
local function less(a, b)
	if #a ~= #b then return #a < #b end
	return a < b
end
if redis.call('EXISTS', log) == 1 then
	local info, last = redis.call('XINFO', 'STREAM', log), nil
	for i = 1, #info, 2 do
		if info[i] == 'last-generated-id' then last = info[i + 1] end
	end
	local ms, seq = string.match(last, '^(%d+)-(%d+)$')
	if not (less(ms, ARGV[1]) or (ms == ARGV[1] and less(seq, ARGV[2]))) then return 0 end
end
local id = ARGV[1] .. '-' .. ARGV[2]
redis.call('XADD', log, id, 'raised', '1')
redis.call('XDEL', log, id)
return 1
`

// findSource looks for a write in one stretch of a lane.
//
// KEYS[1..6] -> log, claim, owner, bell, born, n
// ARGV[1] -> start of the stretch
// ARGV[2] -> end of the stretch
// ARGV[3] -> number of entries to look at
// ARGV[4] -> write id and account, or write id alone, as in the entry from its second
// byte on
//
// Returns {entry} when it stands there, else {false, start of the next stretch}
// or, at the end, {}.
const findSource = `
local most = tonumber(ARGV[3])
local chunk = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', most)
for _, entry in ipairs(chunk) do
	local fields = entry[2]
	for i = 1, #fields, 2 do
		if fields[i] == 'e' and string.sub(fields[i + 1], 2, 1 + #ARGV[4]) == ARGV[4] then
			return {entry}
		end
	end
end
if #chunk < most then return {} end
return {false, '(' .. chunk[#chunk][1]}
`

// statSource describes a lane.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
//
// Returns {length, accepted_at of the head or "", server time in microseconds,
// token of the owner or "", generation, served, trimmed ever, entries aside, 1 when
// the lane is paused}.
const statSource = `
local time = redis.call('TIME')
local oldest = ''
local head = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if head then
	for i = 1, #head[2], 2 do
		if head[2][i] == 't' then oldest = head[2][i + 1] end
	end
end
local aside = 0
for _, count in ipairs(redis.call('HVALS', KEYS[8])) do aside = aside + tonumber(count) end
local bell = redis.call('HMGET', KEYS[4], 'gen', 'served', 'out')
return {
	redis.call('XLEN', KEYS[1]), oldest,
	string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2])),
	redis.call('GET', KEYS[3]) or '',
	tonumber(bell[1] or '0'), tonumber(bell[2] or '0'), tonumber(bell[3] or '0'),
	aside, redis.call('HEXISTS', KEYS[7], '*'),
}
`
