package api

import (
	"context"
	"time"

	"patchlane/tasks/contact"
)

const (
	// A waiter asks the ledger after firstPoll, then at growing intervals up
	// to lastPoll. One that expects a reply starts with the longest: its
	// question is only for replies that were lost.
	firstPoll = 20 * time.Millisecond
	lastPoll  = 250 * time.Millisecond
	// pollTimeout bounds one question, pollBatch the writes in it.
	pollTimeout = 2 * time.Second
	pollBatch   = 1000
)

// poller asks the ledger for the outcomes of many waiters at once.
type poller = gatherer[contact.WriteRef, *contact.Record]

func newPoller(l ledger) *poller {
	return &poller{
		timeout: pollTimeout, most: pollBatch,
		load: func(ctx context.Context, refs []contact.WriteRef) (map[contact.WriteRef]*contact.Record, error) {
			records, err := l.WritesByID(ctx, refs)
			if err != nil {
				return nil, storeError(err)
			}
			found := make(map[contact.WriteRef]*contact.Record, len(records))
			for i := range records {
				r := &records[i]
				found[contact.WriteRef{Account: r.Account, ID: r.WriteID}] = r
			}
			return found, nil
		},
	}
}

// await waits until a write has an outcome: by the worker's reply, if there is
// one to come (nil: none), or by the ledger. It returns nil when the time is
// up. An outcome that came as a reply has the contact with it.
func (s *Server) await(
	ctx context.Context, ref contact.WriteRef, reply <-chan contact.Outcome, wait time.Duration,
) *contact.Outcome {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	pause := firstPoll
	if reply != nil {
		pause = lastPoll
	} else if o := s.poll(ctx, ref); o != nil {
		return o
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case o, ok := <-reply:
			if ok {
				return &o
			}
			reply = nil // nobody will answer: the ledger is left
		case <-timer.C:
			if o := s.poll(ctx, ref); o != nil {
				return o
			}
			pause = min(2*pause, lastPoll)
			timer.Reset(pause)
		case <-ctx.Done():
			return nil
		}
	}
}

// poll asks the ledger once. A store that cannot be asked is no outcome: the
// waiter goes on until its time is up.
func (s *Server) poll(ctx context.Context, ref contact.WriteRef) *contact.Outcome {
	record, err := s.polls.get(ctx, ref)
	if err != nil || record == nil {
		return nil
	}
	return &record.Outcome
}

// withContact adds the contact as of the write to an outcome that came from the
// ledger. It returns false when the store cannot be asked for it.
func (s *Server) withContact(ctx context.Context, o *contact.Outcome) bool {
	if o.Contact != nil || o.Code != "" || o.Kind == contact.KindArchive {
		return true
	}
	c, err := s.opt.Contacts.ContactAsOf(ctx, o.Ref, o.Version)
	if err != nil {
		return false
	}
	o.Contact = &c
	return true
}
