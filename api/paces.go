package api

import (
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

const (
	// paceMemory is how long a bucket is kept after its last request; it is full
	// again long before.
	paceMemory = time.Minute
	// paceCache bounds the buckets.
	paceCache = 10_000
)

// paces bounds how many requests a second one webhook endpoint takes of this
// process. Only a request that proved to come from the provider counts: a flood
// of forged ones, which are refused without a look into any server, must not use
// up what the provider's own opt-outs need.
type paces struct {
	perSecond int
	buckets   *otter.Cache[uuid.UUID, *rate.Limiter]
}

func newPaces(perSecond int) *paces {
	return &paces{
		perSecond: perSecond,
		buckets: otter.Must(&otter.Options[uuid.UUID, *rate.Limiter]{
			MaximumSize:      paceCache,
			ExpiryCalculator: otter.ExpiryAccessing[uuid.UUID, *rate.Limiter](paceMemory),
		}),
	}
}

// allow counts a request, unless the endpoint has had its second's worth.
func (p *paces) allow(endpoint uuid.UUID, now time.Time) bool {
	if p.perSecond == 0 {
		return true
	}
	bucket, ok := p.buckets.GetIfPresent(endpoint)
	if !ok {
		bucket, _ = p.buckets.SetIfAbsent(endpoint, rate.NewLimiter(rate.Limit(p.perSecond), p.perSecond))
	}
	return bucket.AllowN(now, 1)
}
