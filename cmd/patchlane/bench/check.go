package bench

import (
	"cmp"
	"slices"
)

// flaws is what is wrong with a write. Several readings may find the same
// flaw; it counts once.
type flaws uint8

const (
	// lost: acknowledged, and not there.
	lost flaws = 1 << iota
	// doubled: there more often than it may be.
	doubled
	// disordered: before a write that had been acknowledged when it was sent.
	disordered
)

// effective tells whether the write must be there: it was acknowledged, and
// its outcome is known and no failure.
func (w *write) effective() bool {
	return w.fate == acknowledged && w.outcome != nil && w.outcome.State != stateFailed
}

// most is how often the write may be there.
func (w *write) most() int {
	if w.fate == refused || (w.outcome != nil && w.outcome.State == stateFailed) {
		return 0
	}
	return 1
}

// checkPresence flags what stands too often, and those of the expected writes
// that do not stand at all.
func checkPresence(standing, expected []*write) {
	times := make(map[*write]int, len(standing))
	for _, w := range standing {
		times[w]++
		if times[w] > w.most() {
			w.flaws |= doubled
		}
	}
	for _, w := range expected {
		if times[w] == 0 && w.effective() {
			w.flaws |= lost
		}
	}
}

// checkOrder flags what stands before a write that had been acknowledged when
// it was sent, whoever sent the two; and what a client was told before and
// stands behind.
func checkOrder(standing []*write) {
	earliest := ^uint64(0)
	for _, w := range slices.Backward(standing) {
		if earliest < w.sent {
			w.flaws |= disordered
		}
		if w.fate == acknowledged {
			earliest = min(earliest, w.acked)
		}
	}
	told := map[int]uint64{}
	for _, w := range standing {
		if w.fate != acknowledged {
			continue
		}
		if w.acked < told[w.client] {
			w.flaws |= disordered
		}
		told[w.client] = max(told[w.client], w.acked)
	}
}

// checkLedger holds the outcomes against each other: of the writes of a
// contact, each of which changed it, no two may have made the same version, and
// the versions follow the order of the acknowledgements.
func checkLedger(writes []*write) {
	var applied []*write
	for _, w := range writes {
		if w.outcome != nil && w.outcome.State == stateApplied {
			applied = append(applied, w)
		}
	}
	slices.SortStableFunc(applied, func(a, b *write) int { return cmp.Compare(a.outcome.Version, b.outcome.Version) })
	checkOrder(applied)
	for i, w := range applied {
		if i > 0 && w.outcome.Version == applied[i-1].outcome.Version {
			w.flaws |= disordered
		}
	}
}

// logRow is a row of the change log for job_title, of which each write makes
// one.
type logRow struct {
	Old     *string `json:"old_value"`
	New     *string `json:"new_value"`
	Version int64   `json:"version"`
}

// checkLog holds the audit log of a contact, oldest first, against the writes:
// each is there once, in order, every old value is the new value before it, and
// no version is left out after the first, which made the contact.
func checkLog(rows []logRow, named map[string]*write, expected []*write) {
	standing := make([]*write, 0, len(rows))
	version, value := int64(1), (*string)(nil)
	for _, row := range rows {
		w := named[deref(row.New)]
		if w == nil {
			continue // nobody else writes here, so it cannot be
		}
		standing = append(standing, w)
		if row.Version != version+1 || deref(row.Old) != deref(value) {
			w.flaws |= disordered
		}
		version, value = row.Version, row.New
	}
	checkPresence(standing, expected)
	checkOrder(standing)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
