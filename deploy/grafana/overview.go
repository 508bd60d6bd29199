package grafana

func overview() Board {
	return Board{
		Name: "overview", Title: "patchlane overview",
		About: "Is what clients and providers send taken, applied in time, and kept? Begin here.",
		Panels: []Panel{
			{
				Title: "Accepted", Unit: "wps", Runbook: "accept-errors.md", Number: true,
				About:   "Writes and events made durable a second, by all APIs.",
				Queries: []Query{q(rate(`patchlane_lane_appends_total{outcome="accepted"}`), "")},
			},
			{
				Title: "Applied", Unit: "wps", Runbook: "writes-late.md", Number: true,
				About:   "Writes and events that got an outcome a second, by all workers. Below what is accepted for long: the lanes grow.",
				Queries: []Query{q(rate(`patchlane_worker_outcomes_total`), "")},
			},
			{
				Title: "Waiting", Unit: "short", Runbook: "oldest-write.md", Number: true, Warn: 10_000, Bad: 100_000,
				About:   "Entries in all lanes: accepted, durable, not yet applied.",
				Queries: []Query{q(`sum(max by (lane) (patchlane_lane_depth))`, "")},
			},
			{
				Title: "Oldest", Unit: "s", Runbook: "oldest-write.md", Number: true, Warn: 5, Bad: 60,
				About:   "Age of the oldest entry of all lanes.",
				Queries: []Query{q(`max(patchlane_lane_oldest_seconds)`, "")},
			},
			{
				Title: "Durable", Unit: "bool_yes_no", Runbook: "not-durable.md", Number: true, Warn: 1, Bad: 0.5, Below: true,
				About:   "Whether every process finds that Redis fsyncs what it acknowledges. No: a 202 does not mean durable.",
				Queries: []Query{q(`min(patchlane_queue_durable)`, "")},
			},
			{
				Title: "Failed, open", Unit: "short", Runbook: "failed-writes.md", Number: true, Warn: 1, Bad: 1000,
				About:   "Failed writes that nobody retried or discarded; 10000 means that many or more.",
				Queries: []Query{q(`max(patchlane_store_open_failed_writes)`, "")},
			},
			{
				Title: "Accepting", Unit: "wps", Runbook: "accept-errors.md",
				About:   "Writes by what came of accepting them. Refused: the client's fault, with a reason. Unavailable: ours, and it burns the budget.",
				Queries: []Query{q(rate(`patchlane_api_accepts_total`, "outcome"), "{{outcome}}")},
			},
			{
				Title: "Outcomes", Unit: "wps", Runbook: "failed-writes.md",
				About:   "Writes and events by their outcome. Failed ones are kept.",
				Queries: []Query{q(rate(`patchlane_worker_outcomes_total`, "state"), "{{state}}")},
			},
			{
				Title: "Error budgets burning, 1 h", Unit: "percentunit", Runbook: "accept-errors.md",
				About: "Share of bad events of the last hour for each objective: 0.1 % of accepts, 1 % of writes and 1 % of opt-outs is what lasts for 30 days.",
				Queries: []Query{
					q(`patchlane:accept_errors:ratio_rate1h`, "not accepted (0.1 %)"),
					q(`patchlane:apply_errors:ratio_rate1h`, "applied after 5 s (1 %)"),
					q(`patchlane:optout_errors:ratio_rate1h`, "opt-out after 1 s (1 %)"),
				},
			},
			{
				Title: "Time to accept", Unit: "s", Runbook: "accept-errors.md",
				About: "From a request's headers to the write being durable. The dots are traces.",
				Queries: []Query{
					q(quantile(0.5, "patchlane_api_accept_seconds"), "p50"),
					q(quantile(0.99, "patchlane_api_accept_seconds"), "p99"),
				},
			},
			{
				Title: "Time from acceptance to outcome, p99", Unit: "s", Runbook: "writes-late.md",
				About:   "By the way the write came in. The dots are traces.",
				Queries: []Query{q(quantile(0.99, "patchlane_worker_accept_to_applied_seconds", "source"), "{{source}}")},
			},
			{
				Title: "Time until an opt-out shows, p99", Unit: "s", Runbook: "optouts-late.md",
				About:   "From the acceptance of an opt-out until every contact with its address shows it. The goal is 1 s.",
				Queries: []Query{q(quantile(0.99, "patchlane_worker_optout_applied_seconds", "channel"), "{{channel}}")},
			},
			{
				Title: "Requests by class of status", Unit: "reqps", Runbook: "accept-errors.md", Stack: true,
				About:   "All requests to the APIs. 5xx are ours.",
				Queries: []Query{q(rate(`patchlane_api_requests_total`, "class"), "{{class}}")},
			},
			{
				Title: "Servers that do not answer", Unit: "short", Runbook: "postgres-away.md",
				About:   "1 while a process takes a server for away and refuses its calls at once.",
				Queries: []Query{q(`max by (server) (patchlane_circuit_open)`, "{{server}}")},
			},
			{
				Title: "Connections of clients", Unit: "short", Runbook: "accept-errors.md",
				About: "Open connections of the public listeners, and those a second that were closed to make room or found none.",
				Queries: []Query{
					q(`sum(patchlane_http_connections)`, "open"),
					q(rate(`patchlane_http_connections_evicted_total`), "evicted a second"),
					q(rate(`patchlane_http_connections_refused_total`), "refused a second"),
				},
			},
			{
				Title: "Alerts that fire", Unit: "short", Runbook: "README.md",
				About: "How many, of those in deploy/alerts.yml, by severity.",
				Queries: []Query{
					q(`sum(ALERTS{alertname=~"Patchlane.+",alertstate="firing",severity="page"}) or vector(0)`, "page"),
					q(`sum(ALERTS{alertname=~"Patchlane.+",alertstate="firing",severity="ticket"}) or vector(0)`, "ticket"),
				},
			},
			{
				Title: "Memory of the processes", Unit: "bytes", Runbook: "process-down.md",
				About:   "Resident memory of each process. It does not grow with what waits: that is in Redis.",
				Queries: []Query{q(`process_resident_memory_bytes{job=~"patchlane-.+"}`, "{{job}} {{instance}}")},
			},
			{
				Title: "Cores in use", Unit: "short", Runbook: "process-down.md",
				About:   "Processor time of each process a second.",
				Queries: []Query{q(`rate(process_cpu_seconds_total{job=~"patchlane-.+"}[`+RateInterval+`])`, "{{job}} {{instance}}")},
			},
		},
	}
}
