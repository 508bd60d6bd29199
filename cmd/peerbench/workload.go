package main

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
)

const (
	// stride spreads neighbouring writes over the table's pages; it is prime,
	// so that every contact is met.
	stride = 7919
	// noteEvery is how many writes share one note.
	noteEvery = 5
)

// update is one write: the nth of the run.
type update struct {
	N       int       `json:"n"`
	ID      uuid.UUID `json:"id"`
	Contact uuid.UUID `json:"contact"`
	Title   string    `json:"title"`
	Company string    `json:"company"`
	// Note is empty in four of five.
	Note string `json:"note,omitempty"`
}

// workload is the updates of one run.
type workload struct {
	// Writes is how many, an even number.
	Writes int
	// Contacts is how many there are in the table.
	Contacts int
}

// at returns the nth update. Two neighbours have one contact.
func (w workload) at(n int) update {
	u := update{
		N:       n,
		ID:      uuid.Must(uuid.NewV7()),
		Contact: contactID(n / 2 * stride % w.Contacts),
		Title:   fmt.Sprintf("Title %d", n),
		Company: fmt.Sprintf("Company %d", n),
	}
	if n%noteEvery == 0 {
		u.Note = fmt.Sprintf("note %d", n)
	}
	return u
}

// notes is how many of the updates append a note.
func (w workload) notes() int {
	return (w.Writes + noteEvery - 1) / noteEvery
}

// share is the updates of one of several producers, in order. A contact belongs
// to one producer, so it is for the way alone to keep its order.
func (w workload) share(producer, producers int) func(yield func(update) bool) {
	return func(yield func(update) bool) {
		for n := range w.Writes {
			if n/2%producers == producer && !yield(w.at(n)) {
				return
			}
		}
	}
}

// contactID returns the id of the nth contact, as database.go makes it.
func contactID(n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-7000-8000-%012x", n))
}

// produce runs f for every update, by several producers at once, and returns
// the first error.
func (w workload) produce(producers int, f func(update) error) error {
	errs := make(chan error, producers)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for u := range w.share(p, producers) {
				if err := f(u); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
