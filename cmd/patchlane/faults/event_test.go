package faults

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// eventFaults abuse the door of the providers: 20.
func eventFaults() []fault {
	return []fault{
		{number: 20, name: "webhooks replayed, reordered, forged and stale", brief: true, run: webhooks},
	}
}

// webhooks posts one STOP many times at once, a START that is older, one that
// nobody signed, and one that was signed long ago; then a START that is newer.
func webhooks(r *run) {
	apis, _ := r.processes(2, 1)
	db := r.postgres(r.t)
	for n, p := range r.createContacts(r.t, apis[0].url, r.rounds(2, 20)) {
		told := time.Now().UTC().Truncate(time.Millisecond)
		stop, older, newer := opinion{out: true, at: told}, opinion{at: told.Add(-time.Second)}, opinion{at: told.Add(time.Second)}
		id := fmt.Sprintf("stop-%d", n)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if status, reply, err := r.post(r.t.Context(), apis[i%2].url, id, p.phone, stop); err != nil || status != http.StatusOK {
					r.t.Errorf("STOP, time %d: %d %s %v", i, status, reply, err)
				}
			})
		}
		wg.Wait()
		r.expectSMS(apis[0].url, p.id, true)
		r.mustPost(apis[1].url, id+"-older", p, older)
		r.forge(apis[n%2].url, id, p, newer)
		r.injected(23)
		r.row.acked += 2
		var events int
		if err := db.QueryRow(r.t.Context(), `SELECT count(*) FROM webhook_events WHERE address = $1 AND action = 'opt_out'`, p.phone).Scan(&events); err != nil {
			r.t.Fatal(err)
		}
		if events != 1 {
			r.t.Errorf("one STOP, posted 20 times at once, is %d events", events)
		}
		// The older START comes to an end before the newer one: they share a lane.
		r.pass(200 * time.Millisecond)
		r.expectSMS(apis[0].url, p.id, true)
		r.pass(time.Until(told.Add(1100 * time.Millisecond)))
		r.mustPost(apis[0].url, id+"-newer", p, newer)
		r.row.acked++
		r.expectSMS(apis[1].url, p.id, false)
		if c := r.stored(r.t, apis[0].url, p.id); c.version != 3 {
			r.t.Errorf("a create, a STOP and a START made %d versions", c.version)
			r.row.doubled++
		}
	}
}

func (r *run) mustPost(api, id string, p person, o opinion) {
	r.t.Helper()
	if status, reply, err := r.post(r.t.Context(), api, id, p.phone, o); err != nil || status != http.StatusOK {
		r.t.Errorf("event %s: %d %s %v", id, status, reply, err)
	}
}

// forge posts an event that somebody else signed, and one that the provider
// signed ten minutes ago. Both would opt the contact in again.
func (r *run) forge(api, id string, p person, o opinion) {
	r.t.Helper()
	body := fmt.Appendf(nil, `{"type":"contact.sms.opted_in","timestamp":%q,"data":{"phone":%q,"reason":"keyword_start","source":"faults"}}`,
		o.at.Format(time.RFC3339Nano), p.phone)
	status, reply, err := r.postBody(r.t.Context(), api, id+"-stale", time.Now().Add(-10*time.Minute), body)
	if err != nil || status < 400 || status >= 500 {
		r.t.Errorf("a stale event was answered %d %s %v", status, reply, err)
	}
	mine := r.hook.key
	r.hook.key = "whsec_bm90IHRoZSBwcm92aWRlcidzIGtleSwgYnV0IG1pbmU="
	status, reply, err = r.postBody(r.t.Context(), api, id+"-forged", time.Now(), body)
	r.hook.key = mine
	if err != nil || status < 400 || status >= 500 {
		r.t.Errorf("a forged event was answered %d %s %v", status, reply, err)
	}
}

// expectSMS waits until a contact's flag is as expected.
func (r *run) expectSMS(api, id string, want bool) {
	r.t.Helper()
	eventually(r.t, 5*time.Second, func() error {
		if out := text(r.stored(r.t, api, id).members["sms_unsubscribed"]) == "true"; out != want {
			return fmt.Errorf("sms_unsubscribed is %t", out)
		}
		return nil
	})
}
