package contact

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Scope is a permission of a key.
type Scope string

// The scopes.
const (
	ContactsRead   Scope = "contacts:read"
	ContactsWrite  Scope = "contacts:write"
	ContactsDelete Scope = "contacts:delete"
	AuditRead      Scope = "crm_audit:read"
	SettingsWrite  Scope = "settings:write"
	WritesAdmin    Scope = "writes:admin"
)

// Scopes lists every scope.
func Scopes() []Scope {
	return []Scope{ContactsRead, ContactsWrite, ContactsDelete, AuditRead, SettingsWrite, WritesAdmin}
}

// Account is a tenant.
type Account struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
	// ConsentLock refuses a PATCH that would undo a complaint or hard bounce.
	ConsentLock bool      `json:"consent_lock"`
	CreatedAt   time.Time `json:"created_at"`
}

// Key is the record of an API key. The secret is not in it: it is known by its
// sha-256 alone.
type Key struct {
	ID      uuid.UUID `json:"id"`
	Account uuid.UUID `json:"account"`
	// Hash is sha-256 of the whole credential.
	Hash [32]byte `json:"hash"`
	// Prefix is the head of the credential, kept for display.
	Prefix string `json:"prefix"`
	// Dialect is native, trustpager, routera, leadlex or callbell.
	Dialect string  `json:"dialect"`
	Scopes  []Scope `json:"scopes"`
	// PerMinute and PerDay are limits of requests; 0: none.
	PerMinute int        `json:"per_minute,omitempty"`
	PerDay    int        `json:"per_day,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
}

// Has tells whether the key carries a scope.
func (k *Key) Has(s Scope) bool { return slices.Contains(k.Scopes, s) }

// Live tells whether the key may be used at a moment.
func (k *Key) Live(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}
