package api

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
	"patchlane/tasks/exemplar"
	"patchlane/tasks/failpoint"
)

// appendTimeout is the longest that an append may hold a request, beyond what
// the gatherer allows itself.
const appendTimeout = 10 * time.Second

// intake is a write as it was asked for: read, not yet checked.
type intake struct {
	kind contact.Kind
	// id is the contact; uuid.Nil for a create that leaves the choice to us.
	id         uuid.UUID
	body       dialect.Body
	conditions conditions
	// problems are those found outside of the body.
	problems []contact.FieldError
	source   contact.Source
	// undefined refuses the names in the body that are not defined; prepare
	// finds it out. It is apart from the other problems because it does not lie
	// in the body alone: an earlier write with the same key may have had them.
	undefined error
}

// accepted is a write that is durable, and what became of it in time.
type accepted struct {
	ref     contact.Ref
	kind    contact.Kind
	receipt contact.Receipt
	// outcome is nil when nobody waited, or not long enough.
	outcome *contact.Outcome
}

// accept is THE write path of a single write: check it, make it durable, wait
// if the client wants to. It returns an error when nothing was accepted or when
// the waited write failed.
//
// A repeated Idempotency-Key is answered as the first request was, even if the
// contact was archived or removed meanwhile: before the existence check refuses
// a keyed write, the key is looked up, and only a new key is refused.
func (s *Server) accept(
	ctx context.Context, x *exchange, in *intake, wait time.Duration,
) (accepted, error) {
	w, err := s.prepare(ctx, x, in)
	if err != nil {
		s.metrics.countAccept(x, contact.Receipt{}, err)
		return accepted{}, err
	}
	p := pending{write: w, wait: wait}
	if wait > 0 {
		reply, stop := s.opt.Replies.Expect(w.ID)
		defer stop()
		p.reply, w.ReplyTo = reply, s.opt.Replies.Name()
	}
	p.receipt, err = s.keep(ctx, x, w, in.undefined)
	s.metrics.countAccept(x, p.receipt, err)
	if err != nil {
		return accepted{}, err
	}
	exemplar.Observe(s.metrics.acceptSeconds, time.Since(x.started).Seconds(), w.TraceParent)
	return s.finish(ctx, x, p)
}

// keep makes a write durable unless it is refused or was made durable before, in
// which case it costs nothing.
func (s *Server) keep(
	ctx context.Context, x *exchange, w *contact.Write, undefined error,
) (receipt contact.Receipt, err error) {
	var found bool
	if undefined != nil {
		receipt, found, err = s.undefined(ctx, w, undefined)
	} else {
		receipt, found, err = s.admit(ctx, w)
	}
	if err != nil {
		return contact.Receipt{}, err
	}
	err = s.payWrite(ctx, x, w.ID)
	if contact.CodeOf(err) == contact.CodeInsufficientCredits && w.Idempotency != nil {
		receipt, found, err = s.replayed(ctx, w, err)
	}
	if err != nil {
		return contact.Receipt{}, err
	}
	if !found {
		receipt, err = s.append(ctx, w)
	}
	if receipt.Replayed {
		s.giveBack(ctx, x, x.toll.holds)
	}
	return receipt, err
}

// pending is a durable write that may have to be waited for.
type pending struct {
	write   *contact.Write
	receipt contact.Receipt
	// reply brings the outcome; nil: it must be asked for.
	reply <-chan contact.Outcome
	wait  time.Duration
}

// prepare checks everything that can be checked without looking at the contact,
// all of it, and makes the write. Names are looked up in the body as it came, so
// that their problems have the places that the client knows. They are replaced
// by the defined ones after the digest was made: the same body stays the same,
// whatever is defined meanwhile.
func (s *Server) prepare(ctx context.Context, x *exchange, in *intake) (*contact.Write, error) {
	now := s.now()
	defined, undefined, err := x.definer.define(ctx, &in.body.Patch)
	if problems := in.check(now); len(problems) > 0 {
		return nil, invalid(slices.Concat(problems, undefined))
	}
	if err != nil {
		return nil, err
	}
	if len(undefined) > 0 {
		in.undefined = notDefined(undefined)
	}
	w := &contact.Write{
		Account: x.account(), Contact: in.id, Kind: in.kind, Patch: in.body.Patch,
		AsOf: in.conditions.asOf, IfMatch: in.conditions.ifMatch,
		Source: in.source, Actor: x.key.ID.String(), TraceParent: x.traceParent(),
	}
	if !in.body.AsOf.IsZero() {
		w.AsOf = in.body.AsOf
	}
	if in.conditions.key != "" {
		w.Idempotency = &contact.IdempotencyKey{
			Key:  sha256.Sum256([]byte(in.conditions.key)),
			Body: w.Digest(),
		}
	}
	if defined != nil && in.undefined == nil {
		defined.Resolve(&w.Patch)
	}
	if in.kind == contact.KindCreate {
		if err := s.chooseID(ctx, w, in.body.ID); err != nil {
			return nil, err
		}
	}
	id, err := contact.NewWriteID(now, contact.LaneOf(w.Contact, s.opt.Lanes.Contact))
	if err != nil {
		return nil, err
	}
	w.ID = id
	return w, nil
}

// check returns every problem of an intake: of its headers, its members and its
// values.
func (in *intake) check(now time.Time) []contact.FieldError {
	problems := slices.Concat(in.problems, in.body.Fields)
	rules := contact.Rules{Now: now, LaxPhone: in.body.LaxPhone}
	switch {
	case in.kind == contact.KindCreate && len(in.body.Fields) == 0:
		problems = append(problems, in.body.Patch.ValidateCreate(rules)...)
	case in.kind == contact.KindCreate, in.kind == contact.KindPatch:
		problems = append(problems, in.body.Patch.Validate(rules)...)
	}
	if in.kind == contact.KindCreate && in.conditions.ifMatch != nil {
		problems = append(problems, contact.FieldError{
			Field: "If-Match", Code: "not_allowed", Message: "A contact that is to be created has no version.",
		})
	}
	header, member := in.conditions.asOf, in.body.AsOf
	if !header.IsZero() && !member.IsZero() && !header.Equal(member) {
		problems = append(problems, contact.FieldError{
			Field: "as_of", Code: contact.ProblemConflict, Message: "The member and the header X-As-Of name different times.",
		})
	}
	return problems
}

// chooseID settles the id of a contact to be created. An idempotency key of a
// create belongs to the account: the first id that it came with stands, and
// another one is another body.
func (s *Server) chooseID(ctx context.Context, w *contact.Write, asked uuid.UUID) error {
	w.Contact = asked
	if asked == uuid.Nil {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		w.Contact = id
	}
	if w.Idempotency == nil {
		return nil
	}
	fixed, err := s.opt.Lane.FixCreateID(ctx, w.Account, w.Idempotency.Key, w.Contact)
	if err != nil {
		return queueError(err)
	}
	if asked != uuid.Nil && fixed != asked {
		return &contact.Error{
			Code: contact.CodeKeyReused, Message: "The idempotency key was used for a contact with another id.",
		}
	}
	w.Contact = fixed
	return nil
}

// admit looks whether the contact is there. It returns the receipt of an
// earlier write with the same key when a new one would be refused.
func (s *Server) admit(ctx context.Context, w *contact.Write) (contact.Receipt, bool, error) {
	if w.Kind == contact.KindCreate {
		return contact.Receipt{}, false, nil
	}
	state := s.existence.look(ctx, []contact.Ref{w.Ref()})[0]
	return s.judge(ctx, w, state)
}

// judge refuses a write to a contact in a state that does not allow it, unless
// its idempotency key stands for an earlier write.
func (s *Server) judge(
	ctx context.Context, w *contact.Write, state contact.Existence,
) (contact.Receipt, bool, error) {
	return s.unlessRepeated(ctx, w, refusal(w.Kind, state))
}

// undefined refuses a write that names what is not defined, unless its
// idempotency key stands for an earlier write. A key that stands for another
// body does not make this one better.
func (s *Server) undefined(
	ctx context.Context, w *contact.Write, refused error,
) (contact.Receipt, bool, error) {
	receipt, found, err := s.unlessRepeated(ctx, w, refused)
	if contact.CodeOf(err) == contact.CodeKeyReused {
		err = refused
	}
	return receipt, found, err
}

// unlessRepeated returns a refusal, or the receipt of the earlier write that the
// idempotency key stands for.
func (s *Server) unlessRepeated(
	ctx context.Context, w *contact.Write, refused error,
) (contact.Receipt, bool, error) {
	if refused == nil || w.Idempotency == nil {
		return contact.Receipt{}, false, refused
	}
	return s.replayed(ctx, w, refused)
}

// replayed looks for an earlier write with the same idempotency key, and returns
// refused when there is none.
func (s *Server) replayed(
	ctx context.Context, w *contact.Write, refused error,
) (contact.Receipt, bool, error) {
	receipt, found, err := s.opt.Lane.Replay(ctx, w)
	switch {
	case err != nil:
		return contact.Receipt{}, false, queueError(err)
	case !found:
		return contact.Receipt{}, false, refused
	default:
		return receipt, true, nil
	}
}

// refusal says why a kind of write cannot be meant for a contact in a state:
// archiving what is archived and restoring what is active change nothing, and
// are accepted as that.
func refusal(kind contact.Kind, state contact.Existence) error {
	switch {
	case state == contact.Missing:
		return notFound("contact")
	case state == contact.Archived && kind == contact.KindPatch:
		return &contact.Error{Code: contact.CodeArchived, Message: "The contact is archived."}
	default:
		return nil
	}
}

// append makes the write durable. After it returned without an error the write
// will be applied, whatever happens to this process.
func (s *Server) append(ctx context.Context, w *contact.Write) (contact.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	ctx, span := s.traces.append(ctx, 1)
	span.carryWrites(w)
	receipt, err := s.opt.Appender.Append(ctx, w)
	span.end([]contact.Receipt{receipt}, err)
	if err != nil {
		return contact.Receipt{}, queueError(err)
	}
	failpoint.Hit("accept.appended")
	if w.Kind == contact.KindArchive {
		s.existence.forget(w.Ref())
	}
	return receipt, nil
}

// finish waits for the outcome of a durable write, if the client wants that. A
// replay asks the ledger: the reply goes to whoever sent the earlier write.
func (s *Server) finish(ctx context.Context, x *exchange, p pending) (accepted, error) {
	x.writeID = p.receipt.WriteID
	a := accepted{ref: p.write.Ref(), kind: p.write.Kind, receipt: p.receipt}
	if p.receipt.Replayed {
		x.w.Header().Set("Idempotent-Replayed", "true")
		p.reply = nil
	}
	if p.wait <= 0 {
		return a, nil
	}
	ref := contact.WriteRef{Account: a.ref.Account, ID: p.receipt.WriteID}
	o := s.await(ctx, ref, p.reply, p.wait)
	if o == nil {
		return a, nil
	}
	if o.Code != "" {
		s.existence.forget(a.ref)
		return a, &contact.Error{Code: o.Code, Message: o.Message}
	}
	if s.withContact(ctx, o) {
		a.outcome = o
	}
	if !p.receipt.Replayed {
		exemplar.Observe(s.metrics.applied, time.Since(x.started).Seconds(), p.write.TraceParent)
	}
	return a, nil
}
