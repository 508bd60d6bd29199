package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// contactColumns is what scanContact reads, of the table under the name c.
	contactColumns = `c.account_id, c.id, c.first_name, c.last_name, c.email, c.phone, c.landline,
		to_char(c.date_of_birth, 'YYYY-MM-DD'), c.job_title, c.company_name, c.linkedin_url,
		c.avatar_url, c.contact_owner, c.external_id, c.source, c.notes,
		c.tags, c.custom_fields, c.metadata, c.email_consent, c.sms_consent,
		c.archived_at, c.archived_by, c.version, c.created_at, c.updated_at`

	// foldedContacts is the set of rows that contactArgs makes. Lists within
	// rows travel as text: unnest would flatten them.
	foldedContacts = `unnest($1::uuid[], $2::uuid[],
			$3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
			$16::text[], $17::boolean[], $18::text[], $19::text[], $20::text[], $21::text[],
			$22::text[], $23::text[], $24::boolean[], $25::text[], $26::timestamptz[],
			$27::boolean[], $28::text[], $29::timestamptz[], $30::timestamptz[], $31::text[],
			$32::bigint[], $33::timestamptz[], $34::timestamptz[], $35::text[])
		AS d (account_id, id,
			first_name, last_name, email, phone, landline, date_of_birth, job_title,
			company_name, linkedin_url, avatar_url, contact_owner, external_id, source,
			notes, notes_set, email_key, tags, custom_fields, metadata,
			email_consent, sms_consent, email_out, email_reason, email_at,
			sms_out, sms_reason, sms_at, archived_at, archived_by,
			version, created_at, updated_at, phone_key)`

	// The columns that may be large are sent only when they were set: the row
	// keeps its stored value, out of line as it is, in every other case.
	updateContactsSQL = `UPDATE contacts c SET
			first_name = d.first_name, last_name = d.last_name, email = d.email, phone = d.phone,
			landline = d.landline, date_of_birth = d.date_of_birth::date, job_title = d.job_title,
			company_name = d.company_name, linkedin_url = d.linkedin_url, avatar_url = d.avatar_url,
			contact_owner = d.contact_owner, external_id = d.external_id, source = d.source,
			notes = CASE WHEN d.notes_set THEN d.notes ELSE c.notes END, email_key = d.email_key,
			phone_key = d.phone_key,
			tags = coalesce(d.tags::jsonb, c.tags),
			custom_fields = coalesce(d.custom_fields::jsonb, c.custom_fields),
			metadata = coalesce(d.metadata::jsonb, c.metadata),
			email_consent = d.email_consent::bigint[], sms_consent = d.sms_consent::bigint[],
			email_unsubscribed = d.email_out, email_unsubscribed_reason = d.email_reason,
			email_unsubscribed_at = d.email_at,
			sms_unsubscribed = d.sms_out, sms_unsubscribed_reason = d.sms_reason,
			sms_unsubscribed_at = d.sms_at,
			archived_at = d.archived_at, archived_by = d.archived_by,
			version = d.version, updated_at = d.updated_at
		FROM ` + foldedContacts + `
		WHERE c.account_id = d.account_id AND c.id = d.id`

	insertContactsSQL = `INSERT INTO contacts (account_id, id,
			first_name, last_name, email, phone, landline, date_of_birth, job_title,
			company_name, linkedin_url, avatar_url, contact_owner, external_id, source,
			notes, email_key, tags, custom_fields, metadata, email_consent, sms_consent,
			email_unsubscribed, email_unsubscribed_reason, email_unsubscribed_at,
			sms_unsubscribed, sms_unsubscribed_reason, sms_unsubscribed_at,
			archived_at, archived_by, version, created_at, updated_at, phone_key)
		SELECT d.account_id, d.id,
			d.first_name, d.last_name, d.email, d.phone, d.landline, d.date_of_birth::date, d.job_title,
			d.company_name, d.linkedin_url, d.avatar_url, d.contact_owner, d.external_id, d.source,
			d.notes, d.email_key, d.tags::jsonb, d.custom_fields::jsonb, d.metadata::jsonb,
			d.email_consent::bigint[], d.sms_consent::bigint[],
			d.email_out, d.email_reason, d.email_at, d.sms_out, d.sms_reason, d.sms_at,
			d.archived_at, d.archived_by, d.version, d.created_at, d.updated_at, d.phone_key
		FROM ` + foldedContacts
)

// scanContact reads contactColumns, and whatever the query adds to them.
func scanContact(row pgx.Row, more ...any) (contact.Contact, error) {
	var c contact.Contact
	var tags []byte
	var custom, metadata []byte
	var email, sms []int64
	dest := make([]any, 0, 26+len(more))
	dest = append(dest, scanID(&c.Account), scanID(&c.ID))
	for f := range contact.NumFields {
		dest = append(dest, &c.Text[f])
	}
	dest = append(dest, &tags, &custom, &metadata, &email, &sms,
		&c.ArchivedAt, &c.ArchivedBy, &c.Version, &c.CreatedAt, &c.UpdatedAt)
	if err := row.Scan(append(dest, more...)...); err != nil {
		return c, fmt.Errorf("scan contact: %w", err)
	}
	if err := json.Unmarshal(tags, &c.Tags); err != nil {
		return c, fmt.Errorf("scan tags: %w", err)
	}
	c.CustomFields, c.Metadata = custom, metadata
	c.EmailConsent, c.SMSConsent = clockOf(email), clockOf(sms)
	c.ArchivedAt, c.CreatedAt, c.UpdatedAt = utc(c.ArchivedAt), c.CreatedAt.UTC(), c.UpdatedAt.UTC()
	return c, nil
}

// rowToContact is scanContact for pgx.CollectRows.
func rowToContact(row pgx.CollectableRow) (contact.Contact, error) { return scanContact(row) }

// contactArgs are the columns of folded contacts, in the order of
// foldedContacts. All: every column, for an insert; else the large ones only
// where they were set.
func contactArgs(list []contact.FoldedContact, all bool) []any {
	n := len(list)
	accounts, ids := make(idColumn, n), make(idColumn, n)
	var text [contact.NumFields]textColumn
	for f := range text {
		text[f] = make(textColumn, n)
	}
	notesSet, emailKeys, phoneKeys := make([]bool, n), make(textColumn, n), make(textColumn, n)
	tags, custom, metadata := make(textColumn, n), make(textColumn, n), make(textColumn, n)
	email, sms := newConsentColumns(n), newConsentColumns(n)
	archivedAt, archivedBy := make([]*time.Time, n), make(textColumn, n)
	versions, created, updated := make([]int64, n), make([]time.Time, n), make([]time.Time, n)
	for i, c := range list {
		accounts[i], ids[i] = idValue(c.Account), idValue(c.ID)
		for f := range text {
			text[f][i] = c.Text[f]
		}
		if notesSet[i] = all || c.NotesSet; !notesSet[i] {
			text[contact.Notes][i] = nil
		}
		if v := c.Text[contact.Email]; v != nil {
			key := contact.EmailKey(*v)
			emailKeys[i] = &key
		}
		if v := c.Text[contact.Phone]; v != nil {
			key := phoneKey(*v)
			phoneKeys[i] = &key
		}
		if all || c.TagsSet {
			tags[i] = tagsJSON(c.Tags)
		}
		if all || c.CustomFieldsSet {
			custom[i] = objectJSON(c.CustomFields)
		}
		if all || c.MetadataSet {
			metadata[i] = objectJSON(c.Metadata)
		}
		email.set(i, c.EmailConsent)
		sms.set(i, c.SMSConsent)
		archivedAt[i], archivedBy[i] = c.ArchivedAt, c.ArchivedBy
		versions[i], created[i], updated[i] = c.Version, c.CreatedAt, c.UpdatedAt
	}
	args := []any{accounts, ids}
	for f := range text {
		args = append(args, text[f])
	}
	return append(args, notesSet, emailKeys, tags, custom, metadata,
		email.clocks, sms.clocks, email.out, email.reasons, email.at, sms.out, sms.reasons, sms.at,
		archivedAt, archivedBy, versions, created, updated, phoneKeys)
}

// phoneKey is the form in which a phone number is looked up. What is no number
// is found as it stands.
func phoneKey(phone string) string {
	if key := contact.PhoneKey(phone); key != "" {
		return key
	}
	return phone
}

// consentColumns are the columns of one channel: the clock and its projection.
type consentColumns struct {
	clocks  textColumn
	out     []bool
	reasons textColumn
	at      []*time.Time
}

func newConsentColumns(n int) consentColumns {
	return consentColumns{
		clocks: make(textColumn, n), out: make([]bool, n),
		reasons: make(textColumn, n), at: make([]*time.Time, n),
	}
}

func (cc *consentColumns) set(i int, c contact.Consent) {
	if c == (contact.Consent{}) {
		return
	}
	clock := clockText(c)
	cc.clocks[i] = &clock
	if cause, at, out := c.Standing(); out {
		reason := cause.String()
		cc.out[i], cc.reasons[i], cc.at[i] = true, &reason, &at
	}
}
