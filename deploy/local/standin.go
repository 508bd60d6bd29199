package local

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// standIn is a Redis within this process: enough to try things out where no
// Redis is installed, and nothing of it survives.
type standIn struct {
	mini *miniredis.Miniredis
	once sync.Once
	// quit ends the clock; done is closed when all has ended.
	quit, done chan struct{}
}

// tick is how often time is told to the stand-in, whose keys expire only then.
const tick = 50 * time.Millisecond

// startStandIn starts a stand-in on a free port of the loopback.
func startStandIn() (*standIn, error) {
	mini, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("start stand-in for redis: %w", err)
	}
	s := &standIn{mini: mini, quit: make(chan struct{}), done: make(chan struct{})}
	go s.clock()
	return s, nil
}

// clock moves the time of expiring keys along with the clock on the wall.
func (s *standIn) clock() {
	defer close(s.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-s.quit:
			s.mini.Close()
			return
		case now := <-ticker.C:
			s.mini.FastForward(now.Sub(last))
			last = now
		}
	}
}

// restart keeps the keys: nothing of them was ever on a disk.
func (s *standIn) restart() error {
	s.mini.Close()
	if err := s.mini.Restart(); err != nil {
		return fmt.Errorf("restart stand-in for redis: %w", err)
	}
	return nil
}

func (s *standIn) stop() {
	s.once.Do(func() { close(s.quit) })
	<-s.done
}
