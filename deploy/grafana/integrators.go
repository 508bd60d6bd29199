package grafana

func integrators() Board {
	return Board{
		Name: "integrators", Title: "patchlane integrators",
		About: "What clients see: answers, times, limits, credits, and why their writes fail.",
		Panels: []Panel{
			{
				Title: "Requests by route", Unit: "reqps", Runbook: "accept-errors.md", Stack: true,
				About:   "The ten busiest routes.",
				Queries: []Query{q(`topk(10, `+rate(`patchlane_api_requests_total`, "route")+`) > 0`, "{{route}}")},
			},
			{
				Title: "Answer by route, p99", Unit: "s", Runbook: "writes-late.md",
				About:   "From headers to answer, waits that the client asked for included.",
				Queries: []Query{q(`topk(10, `+quantile(0.99, "patchlane_api_request_seconds", "route")+` >= 0)`, "{{route}}")},
			},
			{
				Title: "Errors by class", Unit: "percentunit", Runbook: "accept-errors.md",
				About:   "Share of 4xx and 5xx of all requests.",
				Queries: []Query{q(rate(`patchlane_api_requests_total{class=~"4xx|5xx"}`, "class")+" / on () group_left () "+rate(`patchlane_api_requests_total`), "{{class}}")},
			},
			{
				Title: "Writes by dialect", Unit: "wps", Runbook: "accept-errors.md", Stack: true,
				About:   "Accepted and replayed writes by the dialect of the key.",
				Queries: []Query{q(rate(`patchlane_api_accepts_total{outcome=~"accepted|replayed"}`, "dialect"), "{{dialect}}")},
			},
			{
				Title: "Refused writes by dialect", Unit: "wps", Runbook: "failed-writes.md",
				About:   "Writes that the client has to change before they are taken.",
				Queries: []Query{q(rate(`patchlane_api_accepts_total{outcome="refused"}`, "dialect"), "{{dialect}}")},
			},
			{
				Title: "Replays", Unit: "wps", Runbook: "accept-errors.md",
				About:   "Writes that came again with their Idempotency-Key and were answered as the first time. Many: clients do not get our answers.",
				Queries: []Query{q(rate(`patchlane_api_accepts_total{outcome="replayed"}`), "replayed")},
			},
			{
				Title: "Waited for", Unit: "s", Runbook: "writes-late.md",
				About: "From headers to the outcome of writes that somebody waited for.",
				Queries: []Query{
					q(quantile(0.5, "patchlane_api_waited_seconds"), "p50"),
					q(quantile(0.99, "patchlane_api_waited_seconds"), "p99"),
				},
			},
			{
				Title: "Failures by code", Unit: "wps", Runbook: "failed-writes.md",
				About:   "Why accepted writes failed. unreadable_entry and data_error are ours, the others are the client's.",
				Queries: []Query{q(rate(`patchlane_worker_outcomes_total{state="failed"}`, "code"), "{{code}}")},
			},
			{
				Title: "Failed writes, open", Unit: "short", Runbook: "failed-writes.md",
				About:   "Kept until somebody retries or discards them; 10000 means that many or more.",
				Queries: []Query{q(`max(patchlane_store_open_failed_writes)`, "open")},
			},
			{
				Title: "Over the limit", Unit: "reqps", Runbook: "accept-errors.md",
				About:   "Requests and rows refused with 429 by dialect.",
				Queries: []Query{q(rate(`patchlane_api_rate_limited_total`, "dialect"), "{{dialect}}")},
			},
			{
				Title: "Without credits", Unit: "reqps", Runbook: "accept-errors.md",
				About:   "Requests and rows refused for want of credits by dialect.",
				Queries: []Query{q(rate(`patchlane_api_credits_refused_total`, "dialect"), "{{dialect}}")},
			},
			{
				Title: "In flight", Unit: "short", Runbook: "accept-errors.md",
				About:   "Requests under way by process; waiting clients count.",
				Queries: []Query{q(`patchlane_api_in_flight_requests`, "{{instance}}")},
			},
		},
	}
}
