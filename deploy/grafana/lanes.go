package grafana

func lanes() Board {
	return Board{
		Name: "lanes", Title: "patchlane lanes",
		About: "What waits, where, for how long, who drains it, and whether Redis has room for it.",
		Panels: []Panel{
			{
				Title: "Waiting by lane", Unit: "short", Runbook: "oldest-write.md", Stack: true,
				About:   "Entries of the ten deepest lanes: c holds writes by contact, a events by address.",
				Queries: []Query{q(`topk(10, max by (lane) (patchlane_lane_depth))`, "{{lane}}")},
			},
			{
				Title: "Age of the oldest entry by lane", Unit: "s", Runbook: "lane-stuck.md",
				About:   "The ten oldest lanes. One line that climbs alone: that lane is stuck. All of them: nothing is drained.",
				Queries: []Query{q(`topk(10, max by (lane) (patchlane_lane_oldest_seconds))`, "{{lane}}")},
			},
			{
				Title: "Lanes with a drain", Unit: "short", Runbook: "oldest-write.md",
				About: "How many lanes are being drained, and how many have something.",
				Queries: []Query{
					q(`sum(max by (lane) (patchlane_lane_owned))`, "owned"),
					q(`sum(max by (lane) (patchlane_lane_depth) > bool 0)`, "not empty"),
				},
			},
			{
				Title: "Appends", Unit: "wps", Runbook: "accept-errors.md",
				About:   "Entries asked for by outcome. Overloaded: a lane or an account is at its limit.",
				Queries: []Query{q(rate(`patchlane_lane_appends_total`, "outcome"), "{{outcome}}")},
			},
			{
				Title: "Entries a pipeline", Unit: "short", Runbook: "accept-errors.md",
				About:   "How many writes share one round trip to Redis and its fsync, on average. More under load is good.",
				Queries: []Query{q(rate(`patchlane_lane_gathered_entries_sum`)+" / "+rate(`patchlane_lane_gathered_entries_count`), "entries")},
			},
			{
				Title: "Time of an append pipeline", Unit: "s", Runbook: "accept-errors.md",
				About: "From sending to the last reply, the fsync of Redis included: the floor of every 202.",
				Queries: []Query{
					q(quantile(0.5, "patchlane_lane_pipeline_seconds"), "p50"),
					q(quantile(0.99, "patchlane_lane_pipeline_seconds"), "p99"),
				},
			},
			{
				Title: "Drains by their end", Unit: "ops", Runbook: "lane-stuck.md",
				About:   "Empty and slice are healthy. Held: another session has the lane's row. Outage: a server is away. Bug: a panic, in the log.",
				Queries: []Query{q(rate(`patchlane_worker_drains_total`, "end"), "{{end}}")},
			},
			{
				Title: "Safety nets at work", Unit: "ops", Runbook: "takeovers.md",
				About: "Each is harmless alone and tells of a fault when it goes on: lanes found by the sweep, drained by it, lost rings, batches fenced off, leases without an end.",
				Queries: []Query{
					q(rate(`patchlane_worker_sweep_finds_total`), "found by the sweep"),
					q(rate(`patchlane_worker_takeovers_total`), "drained by the sweep"),
					q(rate(`patchlane_worker_rings_lost_total`), "rings lost"),
					q(rate(`patchlane_worker_fence_losses_total`), "fenced off"),
					q(rate(`patchlane_lane_cured_keys_total`), "keys cured"),
					q(rate(`patchlane_lane_append_repeats_total`), "appends repeated"),
				},
			},
			{
				Title: "Alarms of the guard", Unit: "short", Runbook: "guard-alarm.md",
				About: "Streams that lay behind what was applied, ever since the workers started. Anything above zero: Redis lost data.",
				Queries: []Query{
					q(`sum(patchlane_worker_guard_alarms_total)`, "streams raised"),
					q(`sum(patchlane_store_stale_entries_total)`, "stale entries"),
				},
			},
			{
				Title: "Tasks of asynq", Unit: "short", Runbook: "takeovers.md",
				About:   "Rings by state. Archived or retried ones mean that workers died with a task.",
				Queries: []Query{q(`sum by (state) (max by (queue, state) (patchlane_asynq_tasks))`, "{{state}}")},
			},
			{
				Title: "Age of the oldest ring", Unit: "s", Runbook: "takeovers.md",
				About:   "How long a ring waits for a slot. It grows when workers have fewer slots than lanes have work.",
				Queries: []Query{q(`max by (queue) (patchlane_asynq_latency_seconds)`, "{{queue}}")},
			},
			{
				Title: "Memory of Redis", Unit: "percentunit", Runbook: "redis-memory.md",
				About:   "Share of what it may take: maxmemory, or its machine. At the limit it refuses writes.",
				Queries: []Query{q(`max by (node) (patchlane_redis_memory_used_bytes / patchlane_redis_memory_limit_bytes)`, "{{node}}")},
			},
			{
				Title: "Size of Redis", Unit: "bytes", Runbook: "redis-memory.md",
				About: "Memory in use, and the append-only file on disk, which Redis rewrites when it has doubled.",
				Queries: []Query{
					q(`max by (node) (patchlane_redis_memory_used_bytes)`, "memory of {{node}}"),
					q(`max by (node) (patchlane_redis_append_only_file_bytes)`, "file of {{node}}"),
				},
			},
			{
				Title: "Connections to Redis", Unit: "short", Runbook: "redis-away.md",
				About: "Open connections by pool, and those that nobody uses.",
				Queries: []Query{
					q(`sum by (pool) (patchlane_redis_pool_connections)`, "{{pool}}, open"),
					q(`sum by (pool) (patchlane_redis_pool_idle_connections)`, "{{pool}}, idle"),
				},
			},
			{
				Title: "Broken connections and waits in vain", Unit: "ops", Runbook: "redis-away.md",
				About: "Connections found broken, and calls that got none in time.",
				Queries: []Query{
					q(rate(`patchlane_redis_pool_stale_connections_total`, "pool"), "{{pool}}, broken"),
					q(rate(`patchlane_redis_pool_timeouts_total`, "pool"), "{{pool}}, timed out"),
				},
			},
		},
	}
}
