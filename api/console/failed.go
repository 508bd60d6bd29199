package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// failedPageSize is how many failed writes a page lists.
const failedPageSize = 50

// filter narrows the failed writes; its members are as they were typed.
type filter struct{ Code, Account, Contact, Since string }

func readFilter(get func(string) string) filter {
	return filter{Code: get("code"), Account: get("account"), Contact: get("contact"), Since: get("since")}
}

// query asks for what the filter leaves.
func (f filter) query(now time.Time) (contact.FailureQuery, error) {
	account, err := parseID(f.Account, "account")
	if err != nil {
		return contact.FailureQuery{}, err
	}
	id, err := parseID(f.Contact, "contact")
	if err != nil {
		return contact.FailureQuery{}, err
	}
	q := contact.FailureQuery{Account: account, AllAccounts: account == uuid.Nil, Contact: id, Code: contact.Code(f.Code)}
	if f.Since != "" {
		d, err := time.ParseDuration(f.Since)
		if err != nil || d <= 0 {
			return q, badInput("The time is not one such as 30m or 2h.")
		}
		q.Since = now.Add(-d)
	}
	return q, nil
}

// Encode writes the filter into an address.
func (f filter) Encode() string {
	values := url.Values{}
	for name, value := range map[string]string{"code": f.Code, "account": f.Account, "contact": f.Contact, "since": f.Since} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values.Encode()
}

// String names the filter in the operators' log.
func (f filter) String() string {
	if f == (filter{}) {
		return "all"
	}
	return "all " + strings.ReplaceAll(f.Encode(), "&", " ")
}

// failedView is the page of the failed writes.
type failedView struct {
	Filter   filter
	Counts   []contact.FailureCount
	Total    int64
	Matching int64
	Failures []contact.Failure
	// Next is the address of the next page; empty: there is none. First says that
	// this is the first.
	Next  string
	First bool
}

func (c *Console) failedPage(v *visit) error {
	p := failedView{Filter: readFilter(v.query), First: v.query("after") == ""}
	q, err := p.Filter.query(c.o.Now())
	if err != nil {
		return err
	}
	ctx := v.r.Context()
	if p.Counts, err = c.o.Failures.FailureCounts(ctx, contact.FailureQuery{AllAccounts: true}); err != nil {
		return err
	}
	for _, n := range p.Counts {
		p.Total += n.Count
	}
	if p.Matching, err = c.matching(v, q); err != nil {
		return err
	}
	if q.After, err = readPlace(v.query("after")); err != nil {
		return err
	}
	q.Limit = failedPageSize + 1
	if p.Failures, err = c.o.Failures.Failures(ctx, q); err != nil {
		return err
	}
	if len(p.Failures) > failedPageSize {
		p.Failures = p.Failures[:failedPageSize]
		p.Next = "/ops/failed?" + strings.TrimPrefix(p.Filter.Encode()+"&after="+writePlace(p.Failures[failedPageSize-1].Place()), "&")
	}
	return v.show(http.StatusOK, "failed", "Failed writes", p)
}

// matching counts what a query leaves.
func (c *Console) matching(v *visit, q contact.FailureQuery) (int64, error) {
	counts, err := c.o.Failures.FailureCounts(v.r.Context(), q)
	n := int64(0)
	for _, m := range counts {
		n += m.Count
	}
	return n, err
}

// writePlace and readPlace carry a place in the order of retries in an address.
func writePlace(p contact.FailurePlace) string {
	return strconv.FormatInt(p.Origin.UnixMicro(), 10) + "." + p.ID.String()
}

func readPlace(text string) (*contact.FailurePlace, error) {
	if text == "" {
		return nil, nil
	}
	at, id, _ := strings.Cut(text, ".")
	us, err := strconv.ParseInt(at, 10, 64)
	place, idErr := uuid.Parse(id)
	if err != nil || idErr != nil {
		return nil, badInput("The page is not one of this list.")
	}
	return &contact.FailurePlace{Origin: time.UnixMicro(us).UTC(), ID: place}, nil
}

// failureView is the page of one failed write.
type failureView struct {
	Preview contact.RetryPreview
	// Rows are the fields that a retry of all would change.
	Rows []fieldRow
	// Says is the body of the write, member by member.
	Says    []member
	TraceID string
	Lane    contact.Lane
}

// fieldRow is one field: as it is today, and as the write wants it.
type fieldRow struct {
	Field      string
	Op         contact.Op
	Today, Say []byte
	// Left is why a retry leaves it alone; empty: it changes it.
	Left string
}

func (c *Console) failurePage(v *visit) error {
	id, err := parseID(v.r.PathValue("id"), "write")
	if err != nil {
		return err
	}
	accounts, err := c.o.Ledger.AccountsOfWrite(v.r.Context(), id)
	if err != nil {
		return err
	}
	if len(accounts) == 0 {
		return &contact.Error{Code: contact.CodeNotFound}
	}
	refs := []contact.WriteRef{{Account: accounts[0], ID: id}}
	kept, err := c.o.Failures.PreviewRetries(v.r.Context(), refs, false)
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		http.Redirect(v.w, v.r, "/ops/follow?id="+id.String(), http.StatusSeeOther)
		return nil
	}
	all, err := c.o.Failures.PreviewRetries(v.r.Context(), refs, true)
	if err != nil {
		return err
	}
	p := failureView{Preview: kept[0], Says: saysOf(&kept[0].Write), TraceID: traceID(kept[0].Write.TraceParent)}
	p.Lane = contact.LaneOf(p.Preview.Contact, c.o.LaneCount)
	if len(all) == 1 {
		p.Rows = rowsOf(&all[0], &kept[0])
	}
	return v.show(http.StatusOK, "failure", "Failed write", p)
}

// rowsOf sets what a retry of every field would do against what a retry does.
func rowsOf(all, kept *contact.RetryPreview) []fieldRow {
	left := map[string]string{}
	for _, s := range kept.Outcome.Skipped {
		left[s.Field] = strings.ReplaceAll(s.Reason, "_", " ")
	}
	rows := make([]fieldRow, 0, len(all.Outcome.Changes))
	for _, ch := range all.Outcome.Changes {
		why := left[ch.Field]
		if all.Outcome.State != contact.Failed && kept.Outcome.State == contact.Failed {
			why = string(kept.Outcome.Code)
		}
		rows = append(rows, fieldRow{Field: ch.Field, Op: ch.Op, Today: ch.Old, Say: ch.New, Left: why})
	}
	return rows
}

// traceID is the part of a traceparent that a tracing system is asked for.
func traceID(parent string) string {
	if len(parent) < 35 {
		return ""
	}
	return parent[3:35]
}
