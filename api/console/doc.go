// Package console is what operators see at /ops: lanes, failed writes, doubtful
// opt-outs, one write or contact from end to end, keys and endpoints, and the log
// of what operators did. It renders HTML on the server, works without scripts, and
// brings no asset from elsewhere.
//
// # Who may come in
//
// With a token, somebody who typed it into the form (a session in a cookie that
// scripts and other sites do not get), or, to look, whoever sends it as a bearer
// token. Without one the listener lets this machine alone through, and everybody is
// in. Each change needs a session, a token of that session in the form, and a
// request that no other site's page made.
//
// # What is kept
//
// Sessions are signed, not stored, so that any replica takes them. Each change is
// in the operators' log, with who says they did it; the name is theirs to choose.
// A replay runs in the process that was asked; it ends with it, and is resumed by
// asking again.
package console
