package contact

// Stalled is a lane that has entries and that nobody drains, as a sweep saw it.
type Stalled struct {
	Lane Lane
	// Generation is the ring that the sweep made for it, not yet served.
	Generation int64
	// Looks is how many looks in a row found the lane like this, from 1.
	Looks int
}
