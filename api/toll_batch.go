package api

import (
	"context"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"patchlane/tasks/contact"
)

// payRows takes the toll of a batch, a unit a row. The rows over the limit are
// refused one by one, whatever else is wrong with them, and so are those that the
// credits do not reach for. Rows that were refused before, and repeats of earlier
// writes, cost nothing.
func (s *Server) payRows(ctx context.Context, x *exchange, rows []batchRow) error {
	x.toll.writes = true
	ids := make([]uuid.UUID, max(1, len(rows))) // an empty batch counts as one
	for i := range rows {
		ids[i] = rows[i].charge()
	}
	grant, err := s.take(ctx, x, x.toll.cost, ids)
	if err != nil {
		return tollUnknown(err)
	}
	if len(rows) == 0 && grant.Allowed == 0 {
		return overLimit(grant)
	}
	for i := grant.Allowed; i < len(rows); i++ {
		rows[i].refuse(overLimit(grant))
		x.w.Header().Set("Retry-After", retryAfter(grant.RetryAfter))
	}
	if grant.Paid < grant.Allowed {
		return s.payRest(ctx, x, rows[:grant.Allowed], grant.Paid)
	}
	return nil
}

// payRest is for a batch that costs more than is left. A repeat of an earlier
// write costs nothing, so the rows with a key are looked up now; what they were
// charged goes to those behind them.
func (s *Server) payRest(ctx context.Context, x *exchange, rows []batchRow, paid int) error {
	s.findReplays(ctx, rows)
	var back, ids []uuid.UUID
	var unpaid []*batchRow
	for i := range rows {
		row := &rows[i]
		switch {
		case i < paid && row.replayed:
			back = append(back, row.write.ID)
		case i >= paid && row.charge() != uuid.Nil:
			ids, unpaid = append(ids, row.write.ID), append(unpaid, row)
		}
	}
	s.giveBack(ctx, x, back)
	if len(unpaid) == 0 {
		return nil
	}
	grant, err := s.take(ctx, x, x.toll.cost, ids)
	if err != nil {
		return tollUnknown(err)
	}
	for _, row := range unpaid[grant.Paid:] {
		row.refuse(outOfCredits())
	}
	return nil
}

// findReplays looks the keys of rows up, many at a time.
func (s *Server) findReplays(ctx context.Context, rows []batchRow) {
	var g errgroup.Group
	g.SetLimit(createWidth)
	for i := range rows {
		row := &rows[i]
		if row.charge() == uuid.Nil || row.write.Idempotency == nil {
			continue
		}
		g.Go(func() error {
			row.receipt, row.replayed, row.err = s.replayed(ctx, row.write, nil)
			return nil
		})
	}
	_ = g.Wait() // each row has its own error
}

// refundRows gives back what was paid for rows that came to nothing, or that
// repeat earlier ones. Those of unknown fate are left to the keeper.
func (s *Server) refundRows(ctx context.Context, x *exchange, rows []batchRow) {
	if len(x.toll.holds) == 0 {
		return
	}
	var back, stands []uuid.UUID
	for i := range rows {
		row := &rows[i]
		switch {
		case row.write == nil:
		case row.receipt.Replayed, row.err != nil && !unavailable(row.err):
			back = append(back, row.write.ID)
		case row.err == nil:
			stands = append(stands, row.write.ID)
		}
	}
	s.giveBack(ctx, x, back)
	x.toll.holds = stands
}

// charge is the id under which a row is charged; uuid.Nil: it is free.
func (r *batchRow) charge() uuid.UUID {
	if r.err != nil || r.replayed {
		return uuid.Nil
	}
	return r.write.ID
}

// refuse refuses a row whatever was known of it.
func (r *batchRow) refuse(err error) { r.err, r.replayed, r.receipt = err, false, contact.Receipt{} }
