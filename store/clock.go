package store

import (
	"strconv"

	"patchlane/tasks/contact"
)

// The stored forms of a clock: the opt-outs by cause and the opt-in; and, only
// where they say more, what the recipient said, took back, and when the address
// was given. A row written by a release that knew a single, never used, opt-in
// of the recipient has one number between the two.
const (
	shortClock = int(contact.NumCauses) + 1
	longClock  = shortClock + 2*int(contact.NumCauses) + 1
)

// clockText is the stored form of a clock, as an array literal: a list within
// a row travels as text, since unnest would flatten it.
func clockText(c contact.Consent) string {
	numbers := append(make([]int64, 0, longClock), c.Out[:]...)
	numbers = append(numbers, c.In)
	plain := contact.Consent{Out: c.Out, In: c.In, Said: c.Out}
	if c != plain {
		numbers = append(append(numbers, c.Said[:]...), c.Back[:]...)
		numbers = append(numbers, c.Given)
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
	if len(numbers) < shortClock {
		return c
	}
	rest := numbers[copy(c.Out[:], numbers):]
	c.In, c.Said = rest[0], c.Out
	if len(numbers) == longClock {
		rest = rest[1:]
		rest = rest[copy(c.Said[:], rest):]
		rest = rest[copy(c.Back[:], rest):]
		c.Given = rest[0]
	}
	return c
}
