package contact

import (
	"time"

	"github.com/google/uuid"
)

// Pause is what operators told the drains to leave alone. Accepting goes on.
type Pause struct {
	// Account is paused alone; uuid.Nil: everything is.
	Account uuid.UUID `json:"account"`
	// Optouts says that it is the address lanes that rest, not the contact lanes.
	// An account's opt-outs are never paused.
	Optouts bool      `json:"optouts"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}
