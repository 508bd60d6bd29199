package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// since is a moment that a flag names: by itself, or as the time passed.
type since string

// Validate refuses what names no moment.
func (s since) Validate() error {
	_, err := s.parse(time.Now())
	return err
}

func (s since) parse(now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(string(s)); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, string(s))
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a duration such as 2h nor a moment such as 2026-11-22T03:00:00Z", string(s))
	}
	return at, nil
}

// at is the moment; zero: none was named. Kong has called Validate before.
func (s since) at() time.Time {
	at, err := s.parse(time.Now())
	if err != nil {
		return time.Time{}
	}
	return at
}

// selection picks failed writes: one by its id, or many by what they have in
// common.
type selection struct {
	ID      uuid.UUID `arg:"" optional:"" name:"id" help:"Id of the failed write."`
	All     bool      `name:"all" help:"Every failed write, as far as the other flags do not narrow it."`
	Account uuid.UUID `name:"account" placeholder:"ID" help:"With --all: those of this account."`
	Contact uuid.UUID `name:"contact" placeholder:"ID" help:"With --all: those of this contact."`
	Code    string    `name:"code" placeholder:"CODE" help:"With --all: those that failed with this code, such as duplicate."`
	Since   since     `name:"since" placeholder:"2h" help:"With --all: those that failed since then, a duration such as 2h or a moment such as 2026-11-22T03:00:00Z."`
}

// check refuses a selection that could be meant in two ways.
func (s *selection) check() error {
	narrowed := s.Account != uuid.Nil || s.Contact != uuid.Nil || s.Code != "" || s.Since != ""
	switch {
	case s.All == (s.ID != uuid.Nil):
		return &configError{errors.New("say either the id of one write or --all")}
	case narrowed && !s.All:
		return &configError{errors.New("--account, --contact, --code and --since are for --all")}
	default:
		return nil
	}
}

// query asks for the many.
func (s *selection) query() contact.FailureQuery {
	return contact.FailureQuery{
		Account: s.Account, AllAccounts: s.Account == uuid.Nil, Contact: s.Contact,
		Code: contact.Code(s.Code), Since: s.Since.at(),
	}
}

// String names the selection in the operators' log.
func (s *selection) String() string {
	if s.ID != uuid.Nil {
		return s.ID.String()
	}
	words := []string{"all"}
	for name, id := range map[string]uuid.UUID{"account": s.Account, "contact": s.Contact} {
		if id != uuid.Nil {
			words = append(words, name+"="+id.String())
		}
	}
	if s.Code != "" {
		words = append(words, "code="+s.Code)
	}
	if s.Since != "" {
		words = append(words, "since="+string(s.Since))
	}
	return strings.Join(words, " ")
}

// count tells how many the selection holds.
func (d *desk) count(ctx context.Context, q contact.FailureQuery) (int, error) {
	counts, err := d.db.FailureCounts(ctx, q)
	n := 0
	for _, c := range counts {
		n += int(c.Count)
	}
	return n, err
}

// note writes what was done into the operators' log. A note that is lost is
// logged, and does not undo what was done.
func (d *desk) note(ctx context.Context, a contact.OperatorAction, problem error) {
	a.Operator, a.Via = operatorName(), "command line"
	if problem != nil {
		a.Problem = problem.Error()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.db.LogOperator(ctx, a); err != nil {
		d.logger.WarnContext(ctx, "operators' log not written", "action", a.Action, "err", err)
	}
}

// operatorName is who this machine says is at the command line.
func operatorName() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
