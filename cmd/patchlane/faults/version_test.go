package faults

import (
	"fmt"
	"time"

	"patchlane/tasks/contact"
)

// twoVersions is an upgrade under load: the installation begins as one of the
// release before, whose version of entries every process writes, until
// `migrate --finish` says that none of the old ones is left. Some processes hear
// of it later than others, so that both versions stand in the lanes. A process
// that could not read what is written refuses to run.
func twoVersions(r *run) {
	db := r.postgres(r.t)
	set := func(version int) {
		if _, err := db.Exec(r.t.Context(), `UPDATE meta SET entry_version = $1`, version); err != nil {
			r.t.Fatal(err)
		}
	}
	set(contact.EntryPlain)
	apis, _ := r.processes(2, 2)
	w := r.watch(r.t)
	tr := r.begin(r.t, apis, ordinary(), r.seed)
	r.awaitVersion(contact.EntryPlain, time.Second)
	var report struct {
		EntryVersion int `json:"entry_version"`
		Finished     bool
	}
	r.runJSON(&report, "migrate", "--json")
	if report.EntryVersion != contact.EntryPlain || report.Finished {
		r.t.Errorf("before --finish: %+v", report)
	}
	r.runJSON(&report, "migrate", "--finish", "--json")
	if report.EntryVersion != contact.EntryNewest || !report.Finished {
		r.t.Errorf("after --finish: %+v", report)
	}
	r.awaitVersion(contact.EntryNewest, 20*time.Second)
	r.injected(1)
	r.pass(time.Second)
	h := tr.end()
	r.settled(30 * time.Second)
	r.recovered(w.standstill())
	r.judge(h)
	set(contact.EntryNewest + 1)
	for _, role := range []string{"api", "worker"} {
		late := r.start(role)
		if err := late.died(20 * time.Second); err != nil {
			r.t.Errorf("%s runs on a database whose entries it cannot read", role)
		}
		r.injected(1)
	}
}

// awaitVersion waits until an entry of a version is seen in a lane.
func (r *run) awaitVersion(version int, within time.Duration) {
	r.t.Helper()
	rdb := r.direct(r.t)
	eventually(r.t, within+crowded, func() error {
		e, _ := r.anyEntry(rdb)["e"].(string)
		if e == "" || int(e[0]) != version {
			return fmt.Errorf("no entry of version %d was seen", version)
		}
		return nil
	})
}
