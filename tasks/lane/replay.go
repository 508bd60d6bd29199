package lane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// idemHead is the length of the write id and body hash at the head of what an
// idempotency key stands for; accepted_at follows in decimal microseconds.
const idemHead = 16 + 32

// Replay looks the idempotency key of a write up without appending anything:
// the receipt of the earlier write, false when the key is new, or the error
// idempotency_key_reused when the earlier body was another. It lets the API
// answer a repeated request as it did first even where it would now refuse a
// new one, such as for a contact that was archived meanwhile.
func (l *Lanes) Replay(ctx context.Context, w *contact.Write) (contact.Receipt, bool, error) {
	if w.Idempotency == nil {
		return contact.Receipt{}, false, nil
	}
	key := idemKey(l.Lane(w.Contact), w.Account, w.Contact, w.Idempotency.Key)
	value, err := l.rdb.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return contact.Receipt{}, false, nil
	}
	if err != nil {
		return contact.Receipt{}, false, unavailable(fmt.Errorf("look up idempotency key: %w", err))
	}
	if len(value) <= idemHead {
		return contact.Receipt{}, false, unavailable(fmt.Errorf("look up idempotency key: %d bytes", len(value)))
	}
	if [32]byte(value[16:idemHead]) != w.Idempotency.Body {
		return contact.Receipt{}, false, &contact.Error{
			Code:    contact.CodeKeyReused,
			Message: "The idempotency key was used with another body.",
			Fix:     "Send a new Idempotency-Key for a new body.",
		}
	}
	micros, err := strconv.ParseInt(string(value[idemHead:]), 10, 64)
	if err != nil {
		return contact.Receipt{}, false, unavailable(fmt.Errorf("look up idempotency key: %w", err))
	}
	return contact.Receipt{
		WriteID:    uuid.UUID(value[:16]),
		AcceptedAt: time.UnixMicro(micros).UTC(),
		Replayed:   true,
	}, true, nil
}
