package api

import (
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// The bounds of a page.
const (
	defaultLimit = 25
	maxLimit     = 100
)

// query reads the parameters of a request and collects every problem.
type query struct {
	dialect  dialect.Dialect
	values   url.Values
	problems []contact.FieldError
}

// readQuery takes the parameters of a request, of which only the named ones are
// known. A filter with a slip of the pen would list everything, so an unknown
// parameter is a problem, and so is one that stands twice.
func (x *exchange) readQuery(known ...string) *query {
	values, err := url.ParseQuery(x.URL.RawQuery)
	q := &query{dialect: x.dialect, values: values}
	if err != nil {
		q.bad("query", "The query string is not well-formed.")
	}
	names := make(map[string]bool, len(known))
	for _, name := range known {
		names[name] = true
	}
	for name, given := range values {
		switch {
		case len(q.problems) >= dialect.MaxProblems:
		case !names[name]:
			q.problems = append(q.problems, contact.FieldError{
				Field: clip(name), Code: contact.ProblemUnknown, Message: "There is no such parameter here.",
			})
		case len(given) > 1:
			q.bad(name, "The parameter stands twice.")
		}
	}
	return q
}

// clip cuts a name that a client made up.
func clip(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "..."
	}
	return strconv.QuoteToASCII(name)[1 : len(strconv.QuoteToASCII(name))-1]
}

func (q *query) bad(name, message string) {
	q.problems = append(q.problems, contact.FieldError{Field: name, Code: contact.ProblemInvalidFormat, Message: message})
}

// err is every problem of the query, or nil.
func (q *query) err() error {
	if len(q.problems) == 0 {
		return nil
	}
	return invalid(q.problems)
}

// text returns a parameter; empty: absent.
func (q *query) text(name string) string { return q.values.Get(name) }

// lookup returns a parameter in its stored form; nil: absent.
func (q *query) lookup(name string, normalize func(string) (string, error)) *string {
	if !q.values.Has(name) {
		return nil
	}
	v, err := normalize(q.values.Get(name))
	if err != nil {
		q.bad(name, "The value cannot be that of any contact.")
		return nil
	}
	return &v
}

// contact returns a parameter that is the id of a contact, in a form that the
// dialect has; uuid.Nil: absent.
func (q *query) contact(name string) uuid.UUID {
	v := q.values.Get(name)
	if v == "" {
		return uuid.Nil
	}
	at, err := q.dialect.Locate(v)
	if err != nil || at.ID == uuid.Nil {
		q.bad(name, "The value must be the id of a contact.")
	}
	return at.ID
}

// id returns a parameter that is an id; uuid.Nil: absent.
func (q *query) id(name string) uuid.UUID {
	v := q.values.Get(name)
	if v == "" {
		return uuid.Nil
	}
	id, err := dialect.ParseID(v)
	if err != nil {
		q.bad(name, "The value must be a UUID.")
	}
	return id
}

// time returns a parameter that is a moment; zero: absent.
func (q *query) time(name string) time.Time {
	v := q.values.Get(name)
	if v == "" {
		return time.Time{}
	}
	at, err := dialect.ParseTime(v)
	if err != nil {
		q.bad(name, "The time must be RFC 3339, such as 2026-11-22T03:00:00Z.")
	}
	return at
}

// flag returns a parameter that is true or false; absent: false.
func (q *query) flag(name string) bool {
	switch q.values.Get(name) {
	case "", "false":
		return false
	case "true":
		return true
	default:
		q.bad(name, "The value must be true or false.")
		return false
	}
}

// limit returns the size of a page.
func (q *query) limit() int {
	v := q.values.Get("limit")
	if v == "" && !q.values.Has("limit") {
		return defaultLimit
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxLimit {
		q.bad("limit", "The limit must be a whole number from 1 to 100.")
		return defaultLimit
	}
	return n
}
