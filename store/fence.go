//go:build !nofence

package store

// fenced keeps the lane's lock, the ledger's look-up and the comparison of the
// offset. The build tag nofence takes them away, for one purpose: a fault run
// without them must be seen to fail.
const fenced = true
