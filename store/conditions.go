package store

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// conditions collects the terms of a WHERE clause and their values. A value
// reaches Postgres as a parameter, never as text.
type conditions struct {
	terms []string
	args  []any
}

func newConditions() *conditions { return &conditions{} }

// place adds a value and returns its placeholder.
func (c *conditions) place(arg any) string {
	c.args = append(c.args, arg)
	return "$" + strconv.Itoa(len(c.args))
}

// add adds a term; every ? in it is one of the values.
func (c *conditions) add(term string, args ...any) {
	for _, arg := range args {
		term = strings.Replace(term, "?", c.place(arg), 1)
	}
	c.terms = append(c.terms, term)
}

// addText adds a term without values.
func (c *conditions) addText(term string) { c.terms = append(c.terms, term) }

// addEither adds a look-up that a pair of partial indexes serves, one of the
// active and one of the archived contacts.
func (c *conditions) addEither(archivedToo bool, term string, arg any) {
	if !archivedToo {
		c.add(term, arg)
		return
	}
	term = strings.Replace(term, "?", c.place(arg), 1)
	c.addText(`(c.archived_at IS NULL AND ` + term + ` OR c.archived_at IS NOT NULL AND ` + term + `)`)
}

func (c *conditions) text() string {
	if len(c.terms) == 0 {
		return "true"
	}
	return strings.Join(c.terms, " AND ")
}

// storable tells whether a text column can hold a value at all. A look-up of
// any other value finds nothing, without asking a server that would refuse it.
func storable(values ...*string) bool {
	for _, v := range values {
		if v != nil && (strings.ContainsRune(*v, 0) || !utf8.ValidString(*v)) {
			return false
		}
	}
	return true
}
