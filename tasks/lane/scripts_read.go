package lane

// asideLimit is how many entries one read puts aside at most: some milliseconds
// of Redis.
const asideLimit = 2000

// workSource defines what other scripts begin with: whether a drain would find
// anything in the lane now. The streams of entries aside are named from the key
// held, with which they share the slot.
const workSource = `
local function aside(account)
	return KEYS[8] .. ':' .. string.gsub(account, '.', function(c)
		return string.format('%02x', string.byte(c))
	end)
end
local function free()
	if redis.call('EXISTS', KEYS[8]) == 0 then return nil end
	for _, account in ipairs(redis.call('HKEYS', KEYS[8])) do
		if redis.call('HEXISTS', KEYS[7], account) == 0 then return account end
	end
end
local function work()
	if redis.call('HEXISTS', KEYS[7], '*') == 1 then return false end
	return redis.call('XLEN', KEYS[1]) > 0 or free() ~= nil
end
`

// readSource reads from the head of a lane until a number of entries or of
// bytes is reached, whichever comes first, and at least one entry.
//
// Entries of an account that is paused, and of one that has entries aside still,
// are put aside on the way, under their own ids: so the order of each account
// holds, whoever reads, and the others go on. What stands aside of an account
// that goes on is read by turns with the lane.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
// ARGV[1] -> most entries
// ARGV[2] -> bytes after which no further chunk is read
// ARGV[3] -> most entries that are put aside
//
// Returns {1 when they stand aside or 0, {{id, {field, value, ..}}, ..}}. A
// paused lane, and one that put aside all it may, gives none.
const readSource = workSource + `
local log, bell, paused, held = KEYS[1], KEYS[4], KEYS[7], KEYS[8]
if redis.call('HEXISTS', paused, '*') == 1 then return {0, {}} end
local most, budget, bytes, from = tonumber(ARGV[1]), tonumber(ARGV[2]), 0, '-'
local stream, apart, moved = log, nil, 0
local account = free()
if account and (redis.call('XLEN', log) == 0 or redis.call('HINCRBY', bell, 'turn', 1) % 2 == 1) then
	stream = aside(account)
	if redis.call('XLEN', stream) == 0 then
		redis.call('HDEL', held, account)
		stream = log
	end
end
if stream == log then
	for _, key in ipairs({paused, held}) do
		for _, a in ipairs(redis.call('HKEYS', key)) do
			apart = apart or {}
			apart[a] = true
		end
	end
end
local function putAside(entry)
	local e
	for i = 1, #entry[2], 2 do
		if entry[2][i] == 'e' then e = entry[2][i + 1] end
	end
	local a = e and string.sub(e, 18, 33)
	if not (a and apart[a]) then return false end
	local added = redis.pcall('XADD', aside(a), entry[1], unpack(entry[2]))
	if type(added) == 'table' and added.err then
		redis.call('XADD', aside(a), '*', unpack(entry[2]))
	end
	redis.call('XDEL', log, entry[1])
	redis.call('HINCRBY', held, a, 1)
	moved = moved + 1
	return true
end
local out = {}
while #out < most and bytes < budget and moved < tonumber(ARGV[3]) do
	local asked = math.min(16, most - #out)
	local chunk = redis.call('XRANGE', stream, from, '+', 'COUNT', asked)
	for _, entry in ipairs(chunk) do
		if not (apart and putAside(entry)) then
			for _, v in ipairs(entry[2]) do bytes = bytes + #v end
			if #out > 0 and bytes > budget then return {stream == log and 0 or 1, out} end
			out[#out + 1] = entry
		end
	end
	if #chunk < asked then break end
	from = '(' .. chunk[#chunk][1]
end
return {stream == log and 0 or 1, out}
`

// releaseSource removes applied entries that stood aside. Running it again
// changes nothing.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
// ARGV[1] -> account, 16 bytes
// ARGV[2,4,..] -> stream id of an applied entry
// ARGV[3,5,..] -> bytes 1 to 16 of the entry: its write id
//
// Returns the number of removed entries.
const releaseSource = workSource + `
local log, bell, born, n, held = KEYS[1], KEYS[4], KEYS[5], KEYS[6], KEYS[8]
local account, removed = ARGV[1], 0
local stream = aside(account)
for i = 2, #ARGV, 2 do
	local found = redis.call('XRANGE', stream, ARGV[i], ARGV[i])[1]
	local e = ''
	if found then
		for f = 1, #found[2], 2 do
			if found[2][f] == 'e' then e = found[2][f + 1] end
		end
	end
	if found and string.sub(e, 2, 17) == ARGV[i + 1] then
		removed = removed + redis.call('XDEL', stream, ARGV[i])
		local contact = string.sub(e, 18, 49)
		if redis.call('HGET', born, contact) == ARGV[i + 1] then
			redis.call('HDEL', born, contact)
		end
	end
end
local left = redis.call('XLEN', stream)
if left == 0 then
	redis.call('DEL', stream)
	redis.call('HDEL', held, account)
else
	redis.call('HSET', held, account, left)
end
redis.call('HINCRBY', bell, 'out', removed)
if redis.call('XLEN', log) == 0 and redis.call('EXISTS', held) == 0 then
	redis.call('DEL', born, n)
elseif redis.call('HINCRBY', n, account, -removed) <= 0 then
	redis.call('HDEL', n, account)
end
return removed
`
