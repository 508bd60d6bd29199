//go:build nofence

package store

// fenced is false in this build: see fence.go. Never ship it.
const fenced = false
