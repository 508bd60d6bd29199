package console

import (
	"net/http"
	"strings"
	"time"

	"patchlane/api"
	"patchlane/tasks/contact"
)

// overviewPage is the first look: what is wrong, and where to go.
type overviewPage struct {
	Ready           api.Readiness
	Writes, Optouts laneSum
	LanesAway       bool
	Counts          []contact.FailureCount
	Failed          int64
	Reviews         int64
	Quarantined     int64
	StoreAway       bool
	Jobs            []jobView
}

// laneSum is a kind of lanes as one.
type laneSum struct {
	Lanes, Owned, Paused int
	Depth, Aside         int64
	Oldest               time.Duration
}

func (s *laneSum) add(l Lane) {
	s.Lanes++
	s.Depth += l.Depth
	s.Aside += l.Aside
	s.Oldest = max(s.Oldest, l.Oldest)
	if l.Owner != "" {
		s.Owned++
	}
	if l.Paused {
		s.Paused++
	}
}

// overview shows what it can: at night something is away.
func (c *Console) overview(v *visit) error {
	ctx := v.r.Context()
	p := overviewPage{Ready: c.o.Ready(ctx), Jobs: c.jobs.newest()}
	stats, err := c.o.Lanes.Stats(ctx)
	p.LanesAway = err != nil
	for _, l := range stats {
		if l.Lane.Kind == 'a' {
			p.Optouts.add(l)
		} else {
			p.Writes.add(l)
		}
	}
	counts, err := c.o.Failures.FailureCounts(ctx, contact.FailureQuery{AllAccounts: true})
	p.Counts, p.StoreAway = counts, err != nil
	for _, n := range counts {
		p.Failed += n.Count
	}
	if p.Reviews, p.Quarantined, err = c.o.Optouts.Undecided(ctx); err != nil {
		p.StoreAway = true
	}
	return v.show(http.StatusOK, "overview", "Overview", p)
}

// lanesView is the page of the lanes.
type lanesView struct {
	Lanes []Lane
	Depth int64
	Empty int
	All   bool
}

func (c *Console) lanesPage(v *visit) error {
	stats, err := c.o.Lanes.Stats(v.r.Context())
	if err != nil {
		return err
	}
	p := lanesView{All: v.query("all") != ""}
	for _, l := range stats {
		p.Depth += l.Depth
		if !p.All && l.Depth == 0 && l.Aside == 0 && l.Owner == "" && !l.Paused {
			p.Empty++
			continue
		}
		p.Lanes = append(p.Lanes, l)
	}
	return v.show(http.StatusOK, "lanes", "Lanes", p)
}

// pauseOf reads what a pause is for.
func (v *visit) pauseOf() (contact.Pause, error) {
	account, err := parseID(v.form("account"), "account")
	p := contact.Pause{Account: account, Optouts: v.form("scope") == "optouts", By: v.session.name, Reason: clean(v.form("reason"))}
	if v.form("reason") == "" {
		p.Reason = ""
	}
	switch {
	case err != nil:
		return p, err
	case v.form("scope") == "account" && v.form("account") == "":
		return p, badInput("Say which account is to be paused.")
	case v.form("scope") != "account" && v.form("account") != "":
		return p, badInput("An account was given, and something else is to be paused. Say which is meant.")
	}
	return p, nil
}

func (c *Console) pause(v *visit) error {
	p, err := v.pauseOf()
	if err != nil {
		return err
	}
	err = c.o.Lanes.Pause(v.r.Context(), p)
	v.note("pause", p.Account, pauseScope(p), p.Reason, err)
	if err != nil {
		return err
	}
	v.back("/ops/lanes", "Paused: "+pauseScope(p)+".")
	return nil
}

func (c *Console) resume(v *visit) error {
	p, err := v.pauseOf()
	if err != nil {
		return err
	}
	err = c.o.Lanes.Resume(v.r.Context(), p)
	v.note("resume", p.Account, pauseScope(p), "", err)
	if err != nil {
		return err
	}
	v.back("/ops/lanes", strings.ToUpper(pauseScope(p)[:1])+pauseScope(p)[1:]+" go on.")
	return nil
}
