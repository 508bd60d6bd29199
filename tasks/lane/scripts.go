package lane

import "github.com/redis/go-redis/v9"

// scripts are the Lua programs of this package, with their digests.
type scripts struct {
	append, enter, renew, leave, read, trim *redis.Script
	release, sweep, raise, find, stat       *redis.Script
}

func newScripts() scripts {
	return scripts{
		append:  redis.NewScript(appendSource),
		enter:   redis.NewScript(enterSource),
		renew:   redis.NewScript(renewSource),
		leave:   redis.NewScript(leaveSource),
		read:    redis.NewScript(readSource),
		trim:    redis.NewScript(trimSource),
		release: redis.NewScript(releaseSource),
		sweep:   redis.NewScript(sweepSource),
		raise:   redis.NewScript(raiseSource),
		find:    redis.NewScript(findSource),
		stat:    redis.NewScript(statSource),
	}
}

// appendSource adds entries to a lane, in order, and rings for it.
//
// For each entry: what the idempotency key stands for comes first (so that a
// replay is answered at the limit too), then the limits, then the entry, then
// the key and the born mark. accepted_at comes from this server's clock and
// grows strictly within the lane; a clock that was set back by a second or more
// is followed, not outrun.
//
// A lane that reached its limit, and an account that reached its share, is refused
// until half of that is free again (the fields full and full:account of the bell):
// else a client that keeps trying takes each place the moment it is free, and no
// other gets one in its turn, nor is Retry-After true for anybody. A mark is taken
// back last: Redis lets a script that has written go on when its memory is used up.
//
// The repeat of a call of unknown fate passes the limits, since its first run
// may be what filled the lane, and always rings, since nobody rang for its
// first run.
//
// KEYS[1..6] -> log, claim, owner, bell, born, n
// KEYS[7..]  -> idempotency keys, one for each entry that has one, in order
// ARGV[1] -> limit of entries in the lane
// ARGV[2] -> limit of entries of one account
// ARGV[3] -> "1" for a repeat
// ARGV[4] -> PX of an idempotency key
// ARGV[5] -> PX of a claim
// ARGV[6,8,..] -> the entry in codec form
// ARGV[7,9,..] -> its body hash, or "" for an entry without idempotency key
//
// Returns {length, trimmed ever, generation to ring for or 0, answer, ..} with
// one answer for each entry:
//
//	"A" accepted_at                   it stands in the lane
//	"K" write id, body hash, accepted_at   the key stands for another write
//	"L" depth                         the lane is full
//	"S" depth of the account          the account has its share of the lane
const appendSource = `
local log, claim, owner, bell, born, n = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local limit, share, again = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('HGET', bell, 'last') or '0')
if now <= last and last - now < 1000000 then now = last + 1 end
local length, nextkey, added, counts = redis.call('XLEN', log), 7, 0, {}
local marks, freed = {}, {}
local function full(mark, held, most)
	if marks[mark] == nil then
		marks[mark] = redis.call('HEXISTS', bell, mark) == 1
		if marks[mark] and held * 2 <= most then
			marks[mark] = false
			freed[#freed + 1] = mark
		end
	end
	if not marks[mark] and held >= most then
		redis.call('HSET', bell, mark, 1)
		marks[mark] = true
	end
	return marks[mark]
end
local out = {0, 0, 0}
for i = 6, #ARGV, 2 do
	local e, body = ARGV[i], ARGV[i + 1]
	local id, account = string.sub(e, 2, 17), string.sub(e, 18, 33)
	local key, answer
	if body ~= '' then
		key = KEYS[nextkey]
		nextkey = nextkey + 1
		local known = redis.call('GET', key)
		if known and string.sub(known, 1, 16) == id then
			answer = 'A' .. string.sub(known, 49)
		elseif known then
			answer = 'K' .. known
		end
	end
	if not answer then
		local held = counts[account] or tonumber(redis.call('HGET', n, account) or '0')
		if not again and full('full', length, limit) then
			answer = 'L' .. length
		elseif not again and full('full:' .. account, held, share) then
			answer = 'S' .. held
		else
			local t = string.format('%.0f', now + added)
			redis.call('XADD', log, '*', 't', t, 'e', e)
			if key then redis.call('SET', key, id .. body .. t, 'PX', ARGV[4]) end
			local kind = string.byte(e, 50)
			if kind == 2 or kind == 4 then
				redis.call('HSET', born, string.sub(e, 18, 49), id)
			end
			redis.call('HINCRBY', n, account, 1)
			added, length, counts[account] = added + 1, length + 1, held + 1
			answer = 'A' .. t
		end
	end
	out[#out + 1] = answer
end
for _, mark in ipairs(freed) do
	if not marks[mark] then redis.call('HDEL', bell, mark) end
end
if added > 0 then
	redis.call('HSET', bell, 'last', string.format('%.0f', now + added - 1))
end
if length > 0 and redis.call('EXISTS', owner) == 0 then
	local mine
	if again then
		mine = redis.call('SET', claim, 'append', 'PX', ARGV[5])
	else
		mine = redis.call('SET', claim, 'append', 'NX', 'PX', ARGV[5])
	end
	if mine then out[3] = redis.call('HINCRBY', bell, 'gen', 1) end
end
out[1] = length
out[2] = tonumber(redis.call('HGET', bell, 'out') or '0')
return out
`

// enterSource takes a lane's lease for a drain. An older generation that was
// not served yet is served, else lanes starve when slots are fewer than lanes;
// serving it serves every generation rung so far. A repeat by the owner itself
// (its first reply was lost) is the same entering.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
// ARGV[1] -> generation
// ARGV[2] -> token of the drain
// ARGV[3] -> PX of the lease
//
// Returns 1 when the drain owns the lane now, 0 when there is nothing to do or
// the lane is paused.
const enterSource = `
local claim, owner, bell = KEYS[2], KEYS[3], KEYS[4]
local holder = redis.call('GET', owner)
if holder == ARGV[2] then return 1 end
if redis.call('HEXISTS', KEYS[7], '*') == 1 then return 0 end
local gen = tonumber(redis.call('HGET', bell, 'gen') or '0')
local served = tonumber(redis.call('HGET', bell, 'served') or '0')
if holder or (tonumber(ARGV[1]) <= served and served <= gen) then return 0 end
redis.call('SET', owner, ARGV[2], 'PX', ARGV[3])
redis.call('HSET', bell, 'served', gen)
redis.call('DEL', claim)
return 1
`

// renewSource lengthens a lease that is still the drain's own.
//
// KEYS[1..6] -> log, claim, owner, bell, born, n
// ARGV[1] -> token of the drain
// ARGV[2] -> PX of the lease
//
// Returns 1 when the lease stands, 0 when it is lost.
const renewSource = `
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[3], ARGV[2])
`

// leaveSource gives a lease back. If entries remain, it claims the lane for the
// next drain, whose generation it returns; with a pause it claims it for that
// long and leaves the ringing to the sweep.
//
// KEYS[1..8] -> log, claim, owner, bell, born, n, paused, held
// ARGV[1] -> token of the drain
// ARGV[2] -> PX of a claim
// ARGV[3] -> PX of the pause, or 0
//
// Returns the generation to ring for, or 0.
const leaveSource = workSource + `
local log, claim, owner, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('GET', owner) ~= ARGV[1] then return 0 end
redis.call('DEL', owner)
if tonumber(ARGV[3]) > 0 then
	redis.call('SET', claim, 'pause', 'PX', ARGV[3])
	return 0
end
if not work() then return 0 end
redis.call('SET', claim, 'leave', 'PX', ARGV[2])
return redis.call('HINCRBY', bell, 'gen', 1)
`
