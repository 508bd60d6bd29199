package conn

import (
	"net"
	"sync"
)

// spoiled ends a header so that net/http answers 400 and closes: with a line
// that is none, after the end of the present one. Such an answer comes in its
// turn, behind those of earlier requests on the same connection.
const (
	spoiledLine = "\r\n\x00\r\n\r\n"
	spoiledNext = "\x00\r\n\r\n"
)

// guarded is a connection whose bytes are followed as they are read. Reads are
// made by one goroutine at a time, as net/http makes them.
type guarded struct {
	net.Conn
	listener *Listener
	client   string
	once     sync.Once

	framing framing
	// spoil is what is still to be read in place of a refused header; err ends
	// every later read.
	spoil string
	err   error
}

// Read passes on what the framing lets by.
func (c *guarded) Read(p []byte) (int, error) {
	if c.err != nil {
		return c.refused(p)
	}
	n, err := c.Conn.Read(p)
	good, refusal := c.framing.scan(p[:n])
	if refusal == nil {
		return n, err
	}
	c.refuse(refusal)
	if good > 0 {
		return good, nil
	}
	return c.refused(p)
}

// refuse fixes what every later read returns.
func (c *guarded) refuse(err error) {
	c.err = err
	c.listener.metrics.refusal(err)
	switch {
	case !c.framing.inHead():
	case c.framing.atLineStart():
		c.spoil = spoiledNext
	default:
		c.spoil = spoiledLine
	}
}

// refused reads on after a refusal: the spoiled header, then the error.
func (c *guarded) refused(p []byte) (int, error) {
	if c.spoil == "" {
		return 0, c.err
	}
	n := copy(p, c.spoil)
	c.spoil = c.spoil[n:]
	return n, nil
}

// Close gives the place of the connection back.
func (c *guarded) Close() error {
	c.once.Do(func() { c.listener.leave(c) })
	return c.Conn.Close()
}

// CloseWrite lets net/http say that nothing more comes, so that the client can
// read the answer before the connection is cut.
func (c *guarded) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
