package console

import (
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// keysView lists who may write and who may post, without their secrets.
type keysView struct {
	Accounts []accountView
	// Cut says that there are more than are shown.
	Cut bool
}

// accountView is one account.
type accountView struct {
	contact.Account
	Keys      []keyView
	Endpoints []endpointView
}

// keyView and endpointView hold what may be shown, and no more: neither the hash
// of a key nor the secret of an endpoint reaches a template.
type keyView struct {
	ID                   uuid.UUID
	Prefix, Dialect      string
	Scopes               []contact.Scope
	PerMinute, PerDay    int
	ExpiresAt, RevokedAt *time.Time
	CreatedAt            time.Time
	Live                 bool
}

type endpointView struct {
	ID        uuid.UUID
	Provider  string
	Secrets   int
	TopicARN  string
	CreatedAt time.Time
}

// mostRecords bounds the page of keys.
const mostRecords = 1000

func (c *Console) keysPage(v *visit) error {
	ctx := v.r.Context()
	accounts, err := c.o.Book.Accounts(ctx)
	if err != nil {
		return err
	}
	keys, err := c.o.Book.KeysChangedSince(ctx, time.Time{})
	if err != nil {
		return err
	}
	endpoints, err := c.o.Book.EndpointsChangedSince(ctx, time.Time{})
	if err != nil {
		return err
	}
	p := keysView{Cut: len(accounts) > mostRecords}
	accounts = accounts[:min(len(accounts), mostRecords)]
	at := make(map[uuid.UUID]int, len(accounts))
	for i, a := range accounts {
		at[a.ID] = i
		p.Accounts = append(p.Accounts, accountView{Account: a})
	}
	for i := range keys {
		k := &keys[i]
		if n, known := at[k.Account]; known {
			p.Accounts[n].Keys = append(p.Accounts[n].Keys, keyView{
				ID: k.ID, Prefix: k.Prefix, Dialect: k.Dialect, Scopes: k.Scopes, PerMinute: k.PerMinute, PerDay: k.PerDay,
				ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt, CreatedAt: k.CreatedAt, Live: k.Live(c.o.Now()),
			})
		}
	}
	for i := range endpoints {
		e := &endpoints[i]
		if n, known := at[e.Account]; known && e.DeletedAt == nil {
			p.Accounts[n].Endpoints = append(p.Accounts[n].Endpoints, endpointView{
				ID: e.ID, Provider: e.Provider, Secrets: len(e.Secrets) + len(e.BasicAuth), TopicARN: e.TopicARN, CreatedAt: e.CreatedAt,
			})
		}
	}
	for i := range p.Accounts {
		slices.SortFunc(p.Accounts[i].Keys, func(a, b keyView) int { return b.CreatedAt.Compare(a.CreatedAt) })
	}
	return v.show(http.StatusOK, "keys", "Keys and endpoints", p)
}

// logView is a page of the operators' log.
type logView struct {
	Actions []contact.OperatorAction
	Next    string
}

func (c *Console) logPage(v *visit) error {
	actions, next, err := c.o.Book.OperatorLog(v.r.Context(), failedPageSize, v.query("after"))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "log", "Operators' log", logView{actions, next})
}
