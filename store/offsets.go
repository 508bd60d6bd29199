package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// errClaimRace is a claim that another call took and gave up within one call.
var errClaimRace = errors.New("another call holds the failed write")

// Offsets returns the committed offset of every lane: the stream id of the
// last entry whose effect is in the database.
func (s *Store) Offsets(ctx context.Context) (map[contact.Lane]contact.Offset, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT lane, offsets FROM lanes`)
	if err != nil {
		return nil, readError("read offsets", err)
	}
	out := map[contact.Lane]contact.Offset{}
	var lane, offset string
	_, err = pgx.ForEachRow(rows, []any{&lane, &offset}, func() error {
		l, err := contact.ParseLane(lane)
		if err != nil {
			return err
		}
		out[l], err = contact.ParseOffset(offset)
		return err
	})
	if err != nil {
		return nil, readError("read offsets", err)
	}
	return out, nil
}
