package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// storeTimeout bounds one question to the store.
const storeTimeout = 5 * time.Second

// patchContact accepts a change of a contact.
func (s *Server) patchContact(ctx context.Context, x *exchange) error {
	id, err := s.contactID(ctx, x)
	if err != nil {
		return err
	}
	in, err := x.readIntake(contact.KindPatch)
	if err != nil {
		return err
	}
	in.id = id
	return s.write(ctx, x, in, x.dialect.Traits().Wait)
}

// createContact accepts a new contact.
func (s *Server) createContact(ctx context.Context, x *exchange) error {
	in, err := x.readIntake(contact.KindCreate)
	if err != nil {
		return err
	}
	return s.write(ctx, x, in, defaultWait)
}

// archiveContact accepts the end of a contact. What is archived already stays
// so, which is a success.
func (s *Server) archiveContact(ctx context.Context, x *exchange) error {
	return s.bodiless(ctx, x, contact.KindArchive)
}

// restoreContact accepts the return of an archived contact.
func (s *Server) restoreContact(ctx context.Context, x *exchange) error {
	return s.bodiless(ctx, x, contact.KindRestore)
}

// bodiless accepts a write that is said by its method and path alone.
func (s *Server) bodiless(ctx context.Context, x *exchange, kind contact.Kind) error {
	id, err := s.contactID(ctx, x)
	if err != nil {
		return err
	}
	if err := x.noMembers(); err != nil {
		return err
	}
	in := &intake{kind: kind, id: id, source: contact.SourcePatch}
	in.conditions, in.problems = parseConditions(x.Header)
	return s.write(ctx, x, in, defaultWait)
}

// noMembers reads a body that has nothing to say: absent, or {}.
func (x *exchange) noMembers() error {
	raw, err := x.readBody(maxBody)
	if err != nil || len(raw) == 0 {
		return err
	}
	problems, err := dialect.DecodeEmpty(raw)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return invalid(problems)
	}
	return nil
}

// readIntake reads the headers and the body of a create or patch.
func (x *exchange) readIntake(kind contact.Kind) (*intake, error) {
	raw, err := x.readBody(maxBody)
	if err != nil {
		return nil, err
	}
	if err := x.dialect.CheckQuery(x.URL.Query(), x.definitions); err != nil {
		return nil, err
	}
	in := &intake{kind: kind, source: contact.SourcePatch}
	in.conditions, in.problems = parseConditions(x.Header)
	in.body, err = x.dialect.Decode(kind, dialect.Request{Body: raw, Definitions: x.definitions})
	return in, err
}

// write accepts a write and answers it.
func (s *Server) write(ctx context.Context, x *exchange, in *intake, wait time.Duration) error {
	prefer := parsePrefer(x.Header)
	a, err := s.accept(ctx, x, in, prefer.duration(wait))
	if applied := prefer.applied(); applied != "" {
		x.w.Header().Set("Preference-Applied", applied)
	}
	if err != nil {
		return err
	}
	if a.outcome == nil {
		return s.queued(x, a)
	}
	return s.done(x, a)
}

// queued answers a write that is durable and has no outcome yet.
func (s *Server) queued(x *exchange, a accepted) error {
	body, err := x.dialect.Queued(dialect.Accepted{
		Frame: s.frame(x), WriteID: a.receipt.WriteID, Contact: a.ref.ID, AcceptedAt: a.receipt.AcceptedAt,
	})
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", "/v1/writes/"+a.receipt.WriteID.String())
	x.reply(http.StatusAccepted, body)
	return nil
}

// done answers a write that was waited for.
func (s *Server) done(x *exchange, a accepted) error {
	if a.kind == contact.KindArchive {
		x.reply(http.StatusNoContent, nil)
		return nil
	}
	body, err := x.dialect.Contact(dialect.View{
		Frame: s.frame(x), Contact: a.outcome.Contact, Outcome: a.outcome,
	})
	if err != nil {
		return err
	}
	x.w.Header().Set("ETag", entityTag(a.outcome.Contact.Version))
	status := http.StatusOK
	if a.kind == contact.KindCreate {
		status = http.StatusCreated
		x.w.Header().Set("Location", "/v1/contacts/"+a.ref.ID.String())
	}
	x.reply(status, body)
	return nil
}

// getContact shows a contact, after a write of the client's choice.
func (s *Server) getContact(ctx context.Context, x *exchange) error {
	id, err := s.contactID(ctx, x)
	if err != nil {
		return err
	}
	if err := x.dialect.CheckQuery(x.URL.Query(), x.definitions); err != nil {
		return err
	}
	if after := x.URL.Query().Get("after"); after != "" {
		if err := s.awaitWrite(ctx, x, after); err != nil {
			return err
		}
	}
	ask, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c, err := s.opt.Contacts.Contact(ask, x.ref(id))
	if err != nil {
		return storeError(err)
	}
	x.w.Header().Set("ETag", entityTag(c.Version))
	if noneMatch(x.Header, c.Version) {
		x.reply(http.StatusNotModified, nil)
		return nil
	}
	body, err := x.dialect.Contact(dialect.View{Frame: s.frame(x), Contact: &c})
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// awaitWrite waits until a write has an outcome, whichever, so that a read
// after it sees what the write did.
func (s *Server) awaitWrite(ctx context.Context, x *exchange, after string) error {
	id, err := dialect.ParseID(after)
	if err != nil {
		return invalid([]contact.FieldError{{
			Field: "after", Code: contact.ProblemInvalidFormat, Message: "The value must be the id of a write.",
		}})
	}
	prefer := parsePrefer(x.Header)
	if applied := prefer.applied(); applied != "" {
		x.w.Header().Set("Preference-Applied", applied)
	}
	ref := contact.WriteRef{Account: x.account(), ID: id}
	record, err := s.locate(ctx, ref)
	switch {
	case err == nil && record.State != contact.Queued:
		return nil
	case contact.CodeOf(err) == contact.CodeNotFound:
		return err
	}
	// A write that nobody can be asked about is waited for like a queued one.
	if s.await(ctx, ref, nil, prefer.duration(readWait)) == nil {
		return &contact.Error{
			Code: contact.CodeNotYetApplied, Message: "The write named by after has no outcome yet.",
		}
	}
	return nil
}

// listContacts lists contacts, or looks them up by an exact value.
func (s *Server) listContacts(ctx context.Context, x *exchange) error {
	q := x.readQuery(slices.Concat(x.dialect.Traits().Params,
		[]string{"email", "phone", "external_id", "include_archived", "limit", "cursor"})...)
	ask := contact.ContactQuery{
		Account: x.account(), Limit: q.limit(), After: q.text("cursor"),
		Email:           q.lookup("email", contact.NormalizeEmail),
		Phone:           q.lookup("phone", plusPhone),
		ExternalID:      q.lookup("external_id", storable),
		IncludeArchived: q.flag("include_archived"),
	}
	if err := q.err(); err != nil {
		return err
	}
	if err := x.dialect.CheckQuery(q.values, x.definitions); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err := s.opt.Contacts.Contacts(ctx, ask)
	if err != nil {
		return storeError(err)
	}
	body, err := x.dialect.List(dialect.Page{
		Frame: s.frame(x), Contacts: page.Contacts, Limit: ask.Limit, Next: page.Next, Prev: page.Prev,
	})
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// plusPhone reads a phone number whose plus sign was sent bare, which a query
// string turns into a space.
func plusPhone(s string) (string, error) {
	if strings.HasPrefix(s, " ") {
		s = "+" + s[1:]
	}
	return contact.NormalizePhone(s)
}

// storable refuses what no text column holds.
func storable(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", invalid(nil)
	}
	return s, nil
}
