package contact

import "github.com/google/uuid"

// unique guards what only one active contact of an account may have: the
// e-mail address and the external_id. Two such writes on the same contact or
// on the same value cannot share a batch, because the store writes a batch in
// one statement, where the order between rows is lost: the second is cut.
func (a *attempt) unique() error {
	for _, f := range []Field{Email, ExternalID} {
		left, leaves := uniqueKey(&a.state.cur, a.state.exists, f)
		taken, takes := uniqueKey(&a.next, true, f)
		same := leaves && takes && left == taken
		if same && sameText(a.state.cur.Text[f], a.next.Text[f]) {
			continue
		}
		if leaves {
			a.touches = append(a.touches, touchKey(a.next.Account, f, left))
		}
		if takes && !same {
			a.touches = append(a.touches, touchKey(a.next.Account, f, taken))
		}
	}
	if len(a.touches) == 0 && a.write.Kind == KindPatch {
		return nil
	}
	if a.cuts() {
		return errCut
	}
	return a.duplicate()
}

// cuts tells whether an earlier write of the batch touched the contact's
// unique values, or the same value of another contact.
func (a *attempt) cuts() bool {
	if a.state.touched {
		return true
	}
	for _, key := range a.touches {
		if _, found := a.touched[key]; found {
			return true
		}
	}
	return false
}

// duplicate fails a write that takes what another active contact has.
func (a *attempt) duplicate() error {
	if a.Taken == nil {
		return nil
	}
	for _, f := range []Field{Email, ExternalID} {
		key, takes := uniqueKey(&a.next, true, f)
		if old, had := uniqueKey(&a.state.cur, a.state.exists, f); !takes || (had && old == key) {
			continue
		}
		if a.Taken(a.next.Account, f, key, a.next.ID) {
			return fail(CodeDuplicate, "another active contact has the same "+f.String())
		}
	}
	return nil
}

// keep remembers what a committed write touched.
func (a *attempt) keep() {
	if a.write.Kind != KindPatch || len(a.touches) > 0 {
		a.state.touched = true
	}
	for _, key := range a.touches {
		if a.touched == nil {
			a.touched = make(map[string]struct{})
		}
		a.touched[key] = struct{}{}
	}
}

// uniqueKey returns the value that an active contact occupies.
func uniqueKey(c *Contact, exists bool, f Field) (string, bool) {
	v := c.Text[f]
	if !exists || c.ArchivedAt != nil || v == nil {
		return "", false
	}
	if f == Email {
		return EmailKey(*v), true
	}
	return *v, true
}

func touchKey(account uuid.UUID, f Field, key string) string {
	return string(account[:]) + string(rune(f)) + key
}
