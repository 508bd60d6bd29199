// Package api is patchlane's HTTP side: it decides whose request this is, reads
// it strictly, and makes a write durable before it answers.
//
// A 202 or 200 MUST NOT leave before the lane has acknowledged the write: what
// was answered so is applied exactly once and in order, whatever dies next. A
// 5xx or a cut connection means that the fate is unknown: the client repeats
// with the same Idempotency-Key.
//
// The accept path needs Redis alone. Postgres answers questions about contacts
// and outcomes; while it is away, writes are accepted unseen and the worker
// finds out (see accept.go and existence.go).
//
// Every request is checked in this order, and the first check that fails
// answers: path (404), credential (401), method (405), scope (403), ids in the
// path (404), headers and media type (400, 415), size (413), JSON (400), rules
// (400), existence (404, 409), credits (403), queue (422, 503). Whatever is
// refused counts for the limits of the key, and over a limit it is a 429 whatever
// else is wrong (toll.go).
//
// Read routes.go first (the whole surface as one table), then accept.go (the
// write path), then errors.go (the only place where statuses are chosen).
package api
