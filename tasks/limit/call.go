package limit

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// maxRates is the most rates of a key.
const maxRates = 3

// call is one run of the script: what was gathered for one account. Tolls that
// differ in nothing but their units are one toll of many units: units are granted
// in their order, and what one of them is refused the next one is too.
type call struct {
	keys   []string
	rates  []any
	places map[place]int
	groups []*group
	settle []uuid.UUID
	back   []*op
	cmd    *redis.Cmd
}

// place is a rate of a key.
type place struct {
	key  uuid.UUID
	rate contact.Rate
}

// kind is what the tolls of a group have in common.
type kind struct {
	key   uuid.UUID
	cost  int
	rates [maxRates]contact.Rate
}

// group is one toll of the script.
type group struct {
	kind
	first int // place of its first rate
	units int
	ops   []*op
}

func newCall(account uuid.UUID) *call {
	return &call{keys: []string{creditsKey(account), holdsKey(account)}}
}

// add adds an operation to a call.
func (c *call) add(o *op) {
	if o.toll == nil {
		c.back = append(c.back, o)
		return
	}
	k := kind{key: o.toll.Key, cost: o.toll.Cost}
	copy(k.rates[:], o.toll.Rates)
	for _, g := range c.groups {
		if g.kind == k {
			g.ops, g.units = append(g.ops, o), g.units+o.toll.Units
			return
		}
	}
	c.groups = append(c.groups, &group{
		kind: k, first: c.place(o.toll), units: o.toll.Units, ops: []*op{o},
	})
}

// place returns where the rates of a toll begin among those of the call. The rates
// of one key stand together: a toll names all of them.
func (c *call) place(t *contact.Toll) int {
	if len(t.Rates) == 0 {
		return 0
	}
	at := place{t.Key, t.Rates[0]}
	if first, found := c.places[at]; found {
		return first
	}
	if c.places == nil {
		c.places = make(map[place]int)
	}
	first := len(c.keys) - 1
	c.places[at] = first
	for _, r := range t.Rates {
		step := time.Millisecond
		if r.Period < time.Minute {
			step = time.Microsecond
		}
		c.keys = append(c.keys, rateKey(t.Account, t.Key, r.Name))
		c.rates = append(c.rates, r.Limit, int64(r.Period/step), step.Microseconds())
	}
	return first
}

// arguments are those of the script.
func (c *call) arguments(now string) []any {
	args := make([]any, 0, 4+len(c.rates)+5*len(c.groups))
	var back []byte
	for _, o := range c.back {
		back = appendIDs(back, o.back)
	}
	args = append(args, now, appendIDs(nil, c.settle), back, len(c.keys)-2)
	args = append(args, c.rates...)
	for _, g := range c.groups {
		var ids []byte
		if g.cost > 0 {
			ids = make([]byte, 0, 16*g.units)
			for _, o := range g.ops {
				ids = appendIDs(ids, o.toll.Holds)
			}
		}
		args = append(args, g.first, len(g.ops[0].toll.Rates), g.units, g.cost, ids)
	}
	return args
}

func appendIDs(b []byte, ids []uuid.UUID) []byte {
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return b
}

// ops are all operations of a call.
func (c *call) ops() []*op {
	ops := c.back
	for _, g := range c.groups {
		ops = append(ops, g.ops...)
	}
	return ops
}

// read answers the operations of a call from its reply. An error means that there
// is no such reply; nothing was answered then.
func (c *call) read() error {
	reply, err := c.cmd.Slice()
	if err != nil {
		return err
	}
	if len(reply) != 1+len(c.groups) {
		return fmt.Errorf("reply of %d answers to %d tolls", len(reply), len(c.groups))
	}
	lists := make([][]int64, len(reply))
	for i := range reply {
		want := 1
		if i > 0 {
			want = 4 + 2*len(c.groups[i-1].ops[0].toll.Rates)
		}
		if lists[i] = integers(reply[i]); len(lists[i]) != want {
			return fmt.Errorf("answer of %d numbers, want %d", len(lists[i]), want)
		}
	}
	for _, o := range c.back {
		o.done <- result{answer: answer{Grant: contact.Grant{Credits: visible(lists[0][0])}}}
	}
	for i, g := range c.groups {
		g.answer(lists[1+i])
	}
	return nil
}

func integers(v any) []int64 {
	list, _ := v.([]any)
	numbers := make([]int64, len(list))
	for i := range list {
		numbers[i], _ = list[i].(int64)
	}
	return numbers
}

// visible shows what is left: an account that is not metered has a number too.
func visible(left int64) int64 {
	if left < 0 {
		return contact.Unmetered
	}
	return left
}

// answer shares the answer to a group out among its tolls, as if they had been
// asked for one after the other: what those behind one took is not gone for it.
func (g *group) answer(n []int64) {
	allowed, paid, left := int(n[0]), int(n[1]), n[2]
	asked := 0
	for _, o := range slices.Backward(g.ops) {
		t := o.toll
		asked += t.Units
		before := g.units - asked // units ahead of this toll
		own, settled := clamp(allowed-before, t.Units), clamp(paid-before, t.Units)
		later := clamp(allowed-before-own, g.units)
		a := answer{known: n[2] != -2, Grant: contact.Grant{
			Allowed: own, Paid: settled, Credits: visible(left), Metered: left >= 0,
			RetryAfter: time.Duration(n[3]) * time.Microsecond,
		}}
		if len(t.Rates) > 0 {
			a.Quotas = make([]contact.Quota, len(t.Rates))
		}
		for j, r := range t.Rates {
			used := time.Duration(later) * r.Period / time.Duration(r.Limit)
			a.Quotas[j] = contact.Quota{
				Rate: r, Remaining: int(n[4+2*j]) + later,
				Reset: max(0, time.Duration(n[5+2*j])*time.Microsecond-used),
			}
		}
		if left >= 0 {
			left += int64(g.cost) * charged(t, settled)
		}
		o.done <- result{answer: a}
	}
}

// charged counts the units of a toll that cost something.
func charged(t *contact.Toll, paid int) (n int64) {
	for _, id := range t.Holds[:paid] {
		if id != uuid.Nil {
			n++
		}
	}
	return n
}

// clamp keeps n between 0 and most.
func clamp(n, most int) int { return min(max(n, 0), most) }
