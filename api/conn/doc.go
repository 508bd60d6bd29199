// Package conn guards the connections of a listener before net/http sees them.
//
// Listener bounds how many there are, in all and for each client. At the bound
// the connection that was idle longest makes room; with none idle, the new one
// is answered 503 and closed.
//
// Every connection is read through a framing, which follows HTTP/1 just far
// enough to know where each request ends, and refuses what two parsers may
// read in two ways: where a proxy and this server disagree on the end of a
// request, a client can hide one request in another. net/http itself refuses
// two different lengths, a malformed length or chunk, codings beside chunked,
// blanks before a colon, names and values with control characters, two hosts,
// and a bare LF in the line of a chunk. It accepts, and the framing refuses:
//
//   - Content-Length beside Transfer-Encoding (it takes the coding),
//   - the same Content-Length twice (it takes one of them),
//   - Transfer-Encoding in HTTP/1.0 (it takes the body for the next request),
//   - a line that ends with a bare LF,
//   - a folded header line,
//   - trailers with either of the two,
//   - codings and versions that it answers with 501 and 505, which are told as
//     400 too: a client's mistake is no failure of a server.
//
// A framing MUST be at least as strict as net/http about where a request ends,
// and passes what it accepts on unchanged, so that both always agree.
package conn
