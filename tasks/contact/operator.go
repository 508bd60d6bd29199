package contact

import (
	"time"

	"github.com/google/uuid"
)

// OperatorAction is one thing that an operator did.
type OperatorAction struct {
	ID uuid.UUID `json:"id"`
	At time.Time `json:"at"`
	// Operator is who says they did it; Via is the console or the command line.
	Operator string `json:"operator"`
	Via      string `json:"via"`
	// Action is what was done, such as "retry writes".
	Action string `json:"action"`
	// Account is uuid.Nil when the action was about none, or about all.
	Account uuid.UUID `json:"account"`
	// Target is an id, a lane or a filter; Detail counts what came of it.
	Target string `json:"target"`
	Detail string `json:"detail"`
	// Problem is why it did not succeed; empty: it did.
	Problem string `json:"problem"`
}
