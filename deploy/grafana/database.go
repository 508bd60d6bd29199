package grafana

func database() Board {
	return Board{
		Name: "database", Title: "patchlane database",
		About: "Where the time of a batch goes, and whether Postgres has connections, months and peace.",
		Panels: []Panel{
			{
				Title: "Steps of a batch, p99", Unit: "s", Runbook: "writes-late.md",
				About:   "Lock and read wait for other sessions; write is work of indexes and disk; commit is the disk.",
				Queries: []Query{q(quantile(0.99, "patchlane_store_apply_seconds", "step"), "{{step}}")},
			},
			{
				Title: "Where the time goes", Unit: "short", Runbook: "writes-late.md", Stack: true,
				About:   "Seconds a second that all workers spend in each step.",
				Queries: []Query{q(rate(`patchlane_store_apply_seconds_sum`, "step"), "{{step}}")},
			},
			{
				Title: "Entries a batch", Unit: "short", Runbook: "writes-late.md",
				About:   "On average. It grows with the load, up to --batch-size; small batches under load mean many cuts.",
				Queries: []Query{q(rate(`patchlane_worker_batch_entries_sum`)+" / "+rate(`patchlane_worker_batch_entries_count`), "entries")},
			},
			{
				Title: "Batches", Unit: "ops", Runbook: "writes-late.md",
				About: "Transactions that committed, and those that were halved to find a bad entry or done again after a deadlock.",
				Queries: []Query{
					q(rate(`patchlane_worker_batch_entries_count`), "committed"),
					q(rate(`patchlane_worker_bisections_total`), "halved"),
					q(rate(`patchlane_store_apply_redone_total`), "redone"),
				},
			},
			{
				Title: "Postgres answers", Unit: "bool_yes_no", Runbook: "postgres-away.md",
				About:   "Whether each worker's last scrape got an answer.",
				Queries: []Query{q(`patchlane_store_up`, "{{instance}}")},
			},
			{
				Title: "Outages waited out", Unit: "ops", Runbook: "postgres-away.md",
				About: "Rounds of drains that failed because Redis or Postgres did not answer, and commits whose answer was lost.",
				Queries: []Query{
					q(rate(`patchlane_worker_outage_retries_total`), "rounds tried again"),
					q(rate(`patchlane_store_unknown_commits_total`), "unknown commits"),
				},
			},
			{
				Title: "Connections in use", Unit: "percentunit", Runbook: "postgres-away.md",
				About:   "Share of each pool. At 100 % calls wait.",
				Queries: []Query{q(`max by (pool) (patchlane_store_pool_used_connections / patchlane_store_pool_max_connections)`, "{{pool}}")},
			},
			{
				Title: "Waits for a connection", Unit: "ops", Runbook: "postgres-away.md",
				About:   "Calls that found no free connection.",
				Queries: []Query{q(rate(`patchlane_store_pool_waits_total`, "pool"), "{{pool}}")},
			},
			{
				Title: "Time waited for a connection", Unit: "s", Runbook: "postgres-away.md",
				About:   "Seconds a second, by pool.",
				Queries: []Query{q(rate(`patchlane_store_pool_wait_seconds_total`, "pool"), "{{pool}}")},
			},
			{
				Title: "Lanes held, batches fenced", Unit: "ops", Runbook: "lane-stuck.md",
				About: "Held: another transaction has the lane's row. Fenced: the offset had moved, another worker was first.",
				Queries: []Query{
					q(rate(`patchlane_worker_lane_held_total`), "held"),
					q(rate(`patchlane_store_fence_losses_total`), "fenced"),
				},
			},
			{
				Title: "Replays dropped", Unit: "ops", Runbook: "guard-alarm.md",
				About:   "Entries that the ledger knew: after crashes and lost replies. Each was applied once.",
				Queries: []Query{q(rate(`patchlane_store_replays_total`), "entries")},
			},
			{
				Title: "Months ahead", Unit: "short", Runbook: "partitions-missing.md",
				About:   "Partitions of the ledger beyond this month. Workers keep twelve.",
				Queries: []Query{q(`min(patchlane_store_partitions_ahead_months)`, "months")},
			},
			{
				Title: "Upkeep", Unit: "short", Runbook: "partitions-missing.md",
				About:   "Looks after partitions and old rows since the workers started, by how they ended.",
				Queries: []Query{q(`sum by (end) (patchlane_store_upkeep_runs_total)`, "{{end}}")},
			},
			{
				Title: "Contacts opted out by the second look", Unit: "ops", Runbook: "optouts-late.md",
				About:   "A write gave a contact an address while its opt-out was on the way; the look after the commit found it.",
				Queries: []Query{q(rate(`patchlane_store_rechecked_contacts_total`), "contacts")},
			},
			{
				Title: "Rows of old age deleted", Unit: "ops", Runbook: "partitions-missing.md",
				About:   "By the retention, one by one, by table. Emptied partitions are not counted here.",
				Queries: []Query{q(rate(`patchlane_store_retention_deleted_total`, "table"), "{{table}}")},
			},
		},
	}
}
