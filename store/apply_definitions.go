package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// definitionsSQL reads the definitions that a batch names, and no others.
const definitionsSQL = `SELECT t.account_id, t.name, NULL
		FROM unnest($1::uuid[], $2::text[]) AS k (account_id, key)
		JOIN tags t ON t.account_id = k.account_id AND t.key = k.key
	UNION ALL
		SELECT f.account_id, f.internal_name, f.type
		FROM unnest($3::uuid[], $4::text[]) AS k (account_id, name)
		JOIN custom_fields f ON f.account_id = k.account_id AND f.internal_name = k.name`

// queueDefinitions asks only when an entry names a tag or a custom field. Rows
// are not locked: a definition that goes while the batch is applied counts as
// gone after it.
func (b *batch) queueDefinitions(q *pgx.Batch) {
	var tags, fields names
	for i := range b.entries {
		e := &b.entries[i]
		for _, list := range [][]string{e.Patch.Tags, e.Patch.TagsAdd} {
			for _, t := range list {
				tags.add(e.Account, contact.TagKey(t))
			}
		}
		for name := range e.Patch.CustomFields {
			fields.add(e.Account, name)
		}
	}
	if len(tags.values)+len(fields.values) == 0 {
		return
	}
	q.Queue(definitionsSQL, tags.accounts, tags.values, fields.accounts, fields.values).Query(
		func(rows pgx.Rows) error {
			found := map[uuid.UUID]*contact.Settings{}
			var account uuid.UUID
			var name string
			var kind *string
			_, err := pgx.ForEachRow(rows, []any{scanID(&account), &name, &kind}, func() error {
				s := found[account]
				if s == nil {
					s = &contact.Settings{Account: account}
					found[account] = s
				}
				if kind == nil {
					s.Tags = append(s.Tags, contact.Tag{Name: name})
				} else {
					s.Fields = append(s.Fields, contact.CustomField{
						InternalName: name, Label: name, Type: contact.FieldType(*kind),
					})
				}
				return nil
			})
			if err != nil {
				return dataError("look for definitions", err)
			}
			for account, s := range found {
				b.definitions[account] = contact.NewDefinitions(*s)
			}
			return nil
		})
}

// names are values of accounts, each once, as two columns.
type names struct {
	accounts idColumn
	values   []string
	seen     map[namedBy]struct{}
}

type namedBy struct {
	account uuid.UUID
	value   string
}

func (n *names) add(account uuid.UUID, value string) {
	key := namedBy{account, value}
	if _, twice := n.seen[key]; twice {
		return
	}
	if n.seen == nil {
		n.seen = make(map[namedBy]struct{})
	}
	n.seen[key] = struct{}{}
	n.accounts, n.values = append(n.accounts, idValue(account)), append(n.values, value)
}
