package api

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"
)

const (
	// intakeSlots is how many requests one endpoint may have under way, so that
	// a flood at one leaves room to the others.
	intakeSlots = 64
	// intakeBytes bounds the bodies in memory, of all endpoints together.
	intakeBytes = 64 << 20
	// intakeWait is how long a request waits for its place. Some providers hang
	// up after two seconds.
	intakeWait = time.Second
)

// intakes bounds what webhooks may take of a process. Who waits too long is
// answered as overload, so that the provider comes back.
type intakes struct {
	memory *semaphore.Weighted

	mu    sync.Mutex
	slots map[uuid.UUID]*slots
}

// slots are the places of one endpoint; they live while somebody uses them.
type slots struct {
	places chan struct{}
	users  int
}

func newIntakes() *intakes {
	return &intakes{memory: semaphore.NewWeighted(intakeBytes), slots: map[uuid.UUID]*slots{}}
}

// enter takes a place and memory for a body of at most size bytes; false: there
// was none in time. The function gives both back.
func (i *intakes) enter(ctx context.Context, id uuid.UUID, size int64) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, intakeWait)
	defer cancel()
	s := i.use(id)
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		i.unuse(id, s)
		return nil, false
	}
	size = min(max(size, 0), intakeBytes)
	if i.memory.Acquire(ctx, size) != nil {
		<-s.places
		i.unuse(id, s)
		return nil, false
	}
	return func() {
		i.memory.Release(size)
		<-s.places
		i.unuse(id, s)
	}, true
}

func (i *intakes) use(id uuid.UUID) *slots {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.slots[id]
	if s == nil {
		s = &slots{places: make(chan struct{}, intakeSlots)}
		i.slots[id] = s
	}
	s.users++
	return s
}

func (i *intakes) unuse(id uuid.UUID, s *slots) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(i.slots, id)
	}
}
