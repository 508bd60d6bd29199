package store

import (
	"strconv"

	"patchlane/tasks/contact"
)

// The stored forms of a clock, told apart by their lengths: when the address was
// given, of a channel that nobody spoke of; the opt-outs by cause, the opt-in
// and that time; or all of it, where the recipient's own opt-ins say more.
const (
	idleClock  = 1
	shortClock = int(contact.NumCauses) + 2
	longClock  = shortClock + 2*int(contact.NumCauses)
)

// clockText is the stored form of a clock, as an array literal: a list within
// a row travels as text, since unnest would flatten it.
func clockText(c contact.Consent) string {
	numbers := make([]int64, 0, longClock)
	if c != (contact.Consent{Given: c.Given}) {
		numbers = append(append(numbers, c.Out[:]...), c.In)
	}
	numbers = append(numbers, c.Given)
	if c != (contact.Consent{Out: c.Out, In: c.In, Said: c.Out, Given: c.Given}) {
		numbers = append(append(numbers, c.Said[:]...), c.Back[:]...)
	}
	text := []byte{'{'}
	for i, n := range numbers {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, n, 10)
	}
	return string(append(text, '}'))
}

// clockOf reads a stored clock; nothing is the clock that never moved.
func clockOf(numbers []int64) contact.Consent {
	var c contact.Consent
	switch len(numbers) {
	case idleClock:
		c.Given = numbers[0]
	case shortClock, longClock:
		rest := numbers[copy(c.Out[:], numbers):]
		c.In, c.Given, c.Said = rest[0], rest[1], c.Out
		if rest = rest[2:]; len(rest) > 0 {
			copy(c.Back[:], rest[copy(c.Said[:], rest):])
		}
	}
	return c
}
