package api

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
	"patchlane/tasks/failpoint"
)

const (
	// maxRows is the most rows of a batch.
	maxRows = 1000
	// createWidth is how many keyed creates fix their ids at once.
	createWidth = 32
)

// batchRow is one row on its way: refused as soon as err is set.
type batchRow struct {
	intake  *intake
	write   *contact.Write
	receipt contact.Receipt
	// replayed: the row's key stands for an earlier write; nothing is appended.
	replayed bool
	err      error
}

// batch accepts up to a thousand writes. Each row is accepted or refused on its
// own; rows of one contact are appended in their order. A batch does not wait
// for outcomes: its accepted rows are 202.
func (s *Server) batch(ctx context.Context, x *exchange) error {
	raw, err := x.readBody(maxBatch)
	if err != nil {
		return err
	}
	decoded, err := dialect.DecodeBatch(x.dialect, raw, maxRows)
	if err != nil {
		return err
	}
	rows := make([]batchRow, len(decoded))
	for i := range decoded {
		rows[i].intake, rows[i].err = x.readRow(&decoded[i])
	}
	s.prepareRows(ctx, x, rows)
	s.admitRows(ctx, rows)
	if err := s.payRows(ctx, x, rows); err != nil {
		return err
	}
	s.appendRows(ctx, rows)
	s.refundRows(ctx, x, rows)
	return s.answerRows(x, rows)
}

// readRow decodes a row as a request of its own.
func (x *exchange) readRow(row *dialect.Row) (*intake, error) {
	in := &intake{kind: contact.KindPatch, id: row.ID, source: contact.SourceBatch, problems: row.Fields}
	if !row.Named {
		in.kind = contact.KindCreate
	}
	if row.Key != nil {
		if in.conditions.key = *row.Key; !validKey(*row.Key) {
			in.problems = append(in.problems, contact.FieldError{
				Field: "idempotency_key", Code: contact.ProblemInvalidFormat, Message: "Send 1 to 255 printable ASCII characters.",
			})
		}
	}
	if row.IfMatch != nil {
		versions, ok := parseIfMatch(*row.IfMatch)
		if in.conditions.ifMatch = versions; !ok {
			in.problems = append(in.problems, contact.FieldError{
				Field: "if_match", Code: contact.ProblemInvalidFormat, Message: `Send the version, such as "7".`,
			})
		}
	}
	if row.Patch == nil {
		return in, invalid(in.problems)
	}
	var err error
	in.body, err = x.dialect.Decode(in.kind, dialect.Request{Body: row.Patch, Definitions: x.definitions})
	return in, err
}

// prepareRows makes the writes. Keyed creates ask Redis for their ids, so many
// at a time.
func (s *Server) prepareRows(ctx context.Context, x *exchange, rows []batchRow) {
	var g errgroup.Group
	g.SetLimit(createWidth)
	for i := range rows {
		row := &rows[i]
		if row.err != nil {
			continue
		}
		prepare := func() error {
			row.write, row.err = s.prepare(ctx, x, row.intake)
			if row.err == nil && row.intake.undefined != nil {
				row.receipt, row.replayed, row.err = s.undefined(ctx, row.write, row.intake.undefined)
			}
			return nil
		}
		if row.intake.kind == contact.KindCreate && row.intake.conditions.key != "" {
			g.Go(prepare)
		} else {
			_ = prepare()
		}
	}
	_ = g.Wait() // each row has its own error
}

// admitRows looks in one go whether the contacts are there. A row may write to
// a contact that an earlier row of the batch creates.
func (s *Server) admitRows(ctx context.Context, rows []batchRow) {
	var refs []contact.Ref
	var asked []*batchRow
	created := make(map[uuid.UUID]bool)
	for i := range rows {
		row := &rows[i]
		switch {
		case row.err != nil || row.replayed || created[row.write.Contact]:
		case row.write.Kind == contact.KindCreate:
			created[row.write.Contact] = true
		default:
			refs, asked = append(refs, row.write.Ref()), append(asked, row)
		}
	}
	if len(refs) == 0 {
		return
	}
	for i, state := range s.existence.look(ctx, refs) {
		row := asked[i]
		row.receipt, row.replayed, row.err = s.judge(ctx, row.write, state)
	}
}

// appendRows makes the rows durable, those of one contact in their order.
func (s *Server) appendRows(ctx context.Context, rows []batchRow) {
	var writes []*contact.Write
	var places []*batchRow
	for i := range rows {
		row := &rows[i]
		if row.err == nil && !row.replayed {
			writes, places = append(writes, row.write), append(places, row)
		}
	}
	if len(writes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	ctx, span := s.traces.append(ctx, len(writes))
	span.carryWrites(writes...)
	receipts, errs := s.opt.Appender.AppendAll(ctx, writes)
	span.end(receipts, errs...)
	failpoint.Hit("accept.appended")
	for i, row := range places {
		row.receipt, row.err = receipts[i], queueError(errs[i])
	}
}

// answerRows answers 207 with the rows in their order.
func (s *Server) answerRows(x *exchange, rows []batchRow) error {
	results := make([]dialect.BatchResult, len(rows))
	for i := range rows {
		row := &rows[i]
		s.metrics.countAccept(x, row.receipt, row.err)
		s.metrics.countRefusal(x, row.err)
		if row.err != nil {
			p, _ := s.problem(row.err, "")
			results[i] = dialect.BatchResult{Status: p.Status, Problem: p}
			continue
		}
		results[i] = dialect.BatchResult{
			Status: http.StatusAccepted, WriteID: row.receipt.WriteID,
			Contact: row.write.Contact, Replayed: row.receipt.Replayed,
		}
	}
	x.outcome = "batch"
	body, err := dialect.EncodeBatch(results)
	if err != nil {
		return err
	}
	x.reply(http.StatusMultiStatus, body)
	return nil
}
