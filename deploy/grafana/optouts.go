package grafana

func optouts() Board {
	return Board{
		Name: "optouts", Title: "patchlane opt-outs",
		About: "Do the providers get through, does what they report arrive at the contacts, and how fast?",
		Panels: []Panel{
			{
				Title: "Time until an opt-out shows", Unit: "s", Runbook: "optouts-late.md",
				About: "From the acceptance of an opt-out until every contact with its address shows it. The goal is 1 s at p99.",
				Queries: []Query{
					q(quantile(0.5, "patchlane_worker_optout_applied_seconds", "channel"), "{{channel}} p50"),
					q(quantile(0.99, "patchlane_worker_optout_applied_seconds", "channel"), "{{channel}} p99"),
				},
			},
			{
				Title: "Events by provider", Unit: "ops", Runbook: "signature-failures.md",
				About:   "Events made durable a second. A provider that falls to zero alone has stopped to send, or cannot prove itself.",
				Queries: []Query{q(`sum by (provider) (rate(patchlane_webhook_events_total[`+RateInterval+`])) > 0`, "{{provider}}")},
			},
			{
				Title: "What they ask for", Unit: "ops", Runbook: "optouts-late.md", Stack: true,
				About:   "Events by what they ask for; ignored ones have no meaning for consent.",
				Queries: []Query{q(rate(`patchlane_webhook_events_total`, "action"), "{{action}}")},
			},
			{
				Title: "What became of them", Unit: "ops", Runbook: "optouts-late.md",
				About:   "Events of address lanes by result. Stale: something newer stands. Duplicate: a provider's repetition.",
				Queries: []Query{q(rate(`patchlane_store_events_total`, "result"), "{{result}}")},
			},
			{
				Title: "Webhooks by outcome", Unit: "reqps", Runbook: "signature-failures.md", Stack: true,
				About:   "Requests of providers. Refused: no proof of who sent it. Overloaded: they come again.",
				Queries: []Query{q(rate(`patchlane_webhook_requests_total`, "outcome"), "{{outcome}}")},
			},
			{
				Title: "Refused by provider", Unit: "reqps", Runbook: "signature-failures.md",
				About:   "The ten that refuse most, with the reason: bad_signature is a secret or a URL, stale a clock.",
				Queries: []Query{q(`topk(10, `+rate(`patchlane_webhook_refusals_total`, "provider", "reason")+`)`, "{{provider}}: {{reason}}")},
			},
			{
				Title: "Quarantined by provider", Unit: "ops", Runbook: "quarantine.md",
				About:   "Elements with a good signature that nobody could read. Any of them may be an opt-out.",
				Queries: []Query{q(`topk(10, `+rate(`patchlane_webhook_quarantined_total`, "provider", "reason")+`)`, "{{provider}}: {{reason}}")},
			},
			{
				Title: "Waiting for a person", Unit: "short", Runbook: "quarantine.md",
				About: "Reviews that nobody decided and elements in quarantine; 10000 means that many or more.",
				Queries: []Query{
					q(`max(patchlane_store_pending_reviews)`, "reviews"),
					q(`max(patchlane_store_quarantined_events)`, "quarantined"),
				},
			},
			{
				Title: "Answer to a webhook, p99", Unit: "s", Runbook: "optouts-late.md",
				About:   "From a provider's headers to its answer. Providers hang up after about ten seconds.",
				Queries: []Query{q(quantile(0.99, "patchlane_webhook_seconds", "provider")+" >= 0", "{{provider}}")},
			},
			{
				Title: "Writes that met a newer consent", Unit: "ops", Runbook: "optouts-late.md",
				About:   "Members left out of writes: a sync row older than an opt-out, a suppressed address, a field changed since a failure.",
				Queries: []Query{q(rate(`patchlane_worker_skipped_fields_total`, "reason"), "{{reason}}")},
			},
			{
				Title: "Unsubscribe links used", Unit: "ops", Runbook: "optouts-late.md",
				About:   "One-click unsubscriptions by people.",
				Queries: []Query{q(rate(`patchlane_unsubscribe_clicks_total`), "clicks")},
			},
			{
				Title: "Feeds cut", Unit: "short", Runbook: "feed-cut.md",
				About:   "SNS subscriptions that were ended since the APIs started. Anything above zero: no opt-outs come from that topic.",
				Queries: []Query{q(`sum(patchlane_webhook_feeds_cut_total)`, "subscriptions")},
			},
		},
	}
}
