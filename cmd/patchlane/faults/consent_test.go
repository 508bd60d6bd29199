package faults

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

// hook is an endpoint and what its provider signs with.
type hook struct{ path, key string }

// newHook makes an endpoint of the generic provider, whose events carry times.
func (s *stack) newHook(tb testing.TB) hook {
	tb.Helper()
	keys, err := simulate.NewKeys(signature.Standard, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	s.secret(keys.Secret)
	var made struct{ Path string }
	s.runJSON(&made, "admin", "endpoint", "create", "--account", s.account, "--provider", string(signature.Standard), "--secret", keys.Secret)
	return hook{made.Path, keys.Key}
}

// opinion is what somebody said about text messages: a STOP or START that the
// provider posts with its own time, or a PATCH with as_of.
type opinion struct {
	contact int
	out     bool
	// provider tells an event from a PATCH.
	provider bool
	at       time.Time
	// An event was accepted between these two.
	sent, acked time.Time
}

// randomOpinion is of any time since the contacts were made, in whole
// milliseconds: what comes later is not always newer.
func (tr *traffic) randomOpinion(dice *rand.Rand, contact int) opinion {
	// The birth is rounded up to a millisecond, so it may be yet to come.
	ago := time.Duration(dice.Int64N(max(1, int64(time.Since(tr.born)))))
	return opinion{contact: contact, out: dice.IntN(2) == 0, at: time.Now().Add(-ago).UTC().Truncate(time.Millisecond)}
}

// provider posts STOP and START, out of order and some twice, each until it
// hears a success.
func (tr *traffic) provider(ctx context.Context, dice *rand.Rand) {
	for n := 0; tr.l.writes == 0 || n < tr.l.contacts; n++ {
		if !tr.goesOn(ctx, 10*tr.l.pace+5*time.Millisecond) {
			return
		}
		o := tr.randomOpinion(dice, dice.IntN(len(tr.h.contacts)))
		o.provider, o.sent = true, time.Now()
		id := fmt.Sprintf("event-%d-%d", n, o.at.UnixMilli())
		times := 1 + dice.IntN(2)
		for times > 0 && ctx.Err() == nil {
			api := tr.choose(dice)
			status, reply, err := tr.s.post(ctx, api, id, tr.h.contacts[o.contact].phone, o)
			switch {
			case err == nil && status < 300:
				if times--; o.acked.IsZero() {
					o.acked = time.Now()
				}
			case err == nil && status < 500:
				tr.h.wonder("event %s was refused: %d %s", id, status, reply)
				return
			default:
				tr.h.failed(err)
				tr.goesOnAnyway(ctx)
			}
		}
		tr.h.events = append(tr.h.events, o)
	}
}

// post posts one signed event.
func (s *stack) post(ctx context.Context, api, id, phone string, o opinion) (int, string, error) {
	kind := "contact.sms.opted_in"
	if o.out {
		kind = "contact.sms.opted_out"
	}
	return s.postBody(ctx, api, id, time.Now(), fmt.Appendf(nil, `{"type":%q,"timestamp":%q,"data":{"phone":%q,"reason":"keyword_stop","source":"faults"}}`,
		kind, o.at.Format("2006-01-02T15:04:05.000Z"), phone))
}

// postBody signs a body as of a time and posts it.
func (s *stack) postBody(ctx context.Context, api, id string, signed time.Time, body []byte) (int, string, error) {
	req := signature.Request{
		Method: http.MethodPost, ReceivedAt: signed, Body: body,
		Header: http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {id}},
	}
	if err := signature.Sign(signature.Endpoint{Provider: signature.Standard}, &req, s.hook.key); err != nil {
		return 0, "", err
	}
	r, err := http.NewRequestWithContext(ctx, req.Method, api+s.hook.path, bytes.NewReader(req.Body))
	if err != nil {
		return 0, "", err
	}
	r.Header = req.Header
	res, err := s.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	var reply bytes.Buffer
	if _, err := reply.ReadFrom(res.Body); err != nil {
		return 0, "", err
	}
	return res.StatusCode, reply.String(), nil
}

// unsubscribed is the rule of consent, said again in plain words, for all that
// was said about one contact; the events are in the order of their acceptance.
//
// Among events the provider's own time decides: a STOP older than a START that
// was heard before it, and a START not newer than a standing STOP, have no
// effect. Between an event and a PATCH the time of the event's acceptance counts
// against as_of, so that a STOP that comes late still beats a row that was
// exported before. A START undoes a PATCH of before its acceptance. It is not
// sure when as_of falls between the sending of an event and its answer.
func unsubscribed(said []opinion) (out, sure bool) {
	var in, manual, back, stopped time.Time
	var stop, start opinion // the newest with an effect, and the newest START
	later := func(t *time.Time, at time.Time) {
		if at.After(*t) {
			*t = at
		}
	}
	for _, o := range said {
		switch {
		case !o.provider && o.out:
			later(&manual, o.at)
		case !o.provider:
			later(&in, o.at)
		case o.out && !o.at.Before(back):
			stop = o
			later(&stopped, o.at)
		case !o.out:
			later(&back, o.at)
			if o.at.After(stopped) {
				stop, stopped = opinion{}, time.Time{}
			}
			start = o
		}
	}
	judge := func(stopAt, startAt time.Time) bool {
		byStop := stop.out && !in.After(stopAt)
		byPatch := !manual.IsZero() && !in.After(manual) && !startAt.After(manual)
		return byStop || byPatch
	}
	out = judge(stop.acked, start.acked)
	sure = out == judge(stop.sent, start.sent) && out == judge(stop.sent, start.acked) && out == judge(stop.acked, start.sent)
	return out, sure
}
