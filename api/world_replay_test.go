package api

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

func (w *world) ClaimRetries(ctx context.Context, claims []contact.RetryClaim) ([]contact.FailedWrite, error) {
	var list []contact.FailedWrite
	for _, c := range claims {
		w.mu.Lock()
		f := w.failed[c.WriteRef]
		free := f != nil && f.RetryID == uuid.Nil
		w.mu.Unlock()
		if !free {
			continue
		}
		claimed, err := w.ClaimRetry(ctx, c.Account, c.ID, c.NewID)
		if err != nil {
			return nil, err
		}
		list = append(list, claimed)
	}
	return list, nil
}

func (w *world) RetriesSent(_ context.Context, failed []contact.WriteRef) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ref := range failed {
		w.sent = append(w.sent, ref.ID)
	}
	return w.storeDown
}

func (w *world) Failures(_ context.Context, q contact.FailureQuery) ([]contact.Failure, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []contact.Failure
	for ref, f := range w.failed {
		r := w.ledger[ref]
		open := contact.Failure{
			WriteRef: ref, Contact: r.ID, Kind: r.Kind, Code: r.Code, Message: r.Message,
			Origin: f.AcceptedAt, FailedAt: r.AppliedAt, Claimed: f.RetryID != uuid.Nil,
		}
		after := q.After == nil || open.Origin.After(q.After.Origin) ||
			open.Origin.Equal(q.After.Origin) && open.ID.String() > q.After.ID.String()
		if after && !slices.Contains(w.sent, ref.ID) && (q.Code == "" || q.Code == open.Code) {
			list = append(list, open)
		}
	}
	slices.SortFunc(list, func(a, b contact.Failure) int { return a.Origin.Compare(b.Origin) })
	return list[:min(len(list), q.Limit)], w.storeDown
}
