// Package store is the Postgres side of patchlane: the contacts, the ledger of
// every write, and the one transaction that moves both.
//
// # What one Apply commits together
//
// The changed and created contacts, one row of writes for every entry (its
// outcome, and the audit of what it changed), one row of failed_writes for
// every failed one, and the lane's new offset. Either all of it is there or
// nothing is. The transaction locks the lane's row first and compares the
// offset last, so of two workers with one lane one gives way; the ledger, not
// the offset, decides what is known, so a batch may be sent any number of
// times, in whole or in part.
//
// # Tables
//
//	meta                  the numbers of lanes, fixed by the first migration
//	lanes                 the committed offset of every lane
//	contacts              the record; version counts the writes that changed it
//	writes                ledger and audit, one append-only row a write, by month
//	failed_writes         what a retry needs, kept until retried or discarded
//	crm_field_change_log  a view of writes: one row a changed field
//	accounts, api_keys    who may write; a key is known by its sha-256 alone
//	suppressions          what is known about the consent of an address
//	webhook_events        every event of an address lane, once
//	optout_reviews        events that wait for somebody who decides
//	quarantine            what came with a good signature and could not be read
//	left_addresses        the addresses that contacts had within the last days
//	erased_contacts       ids that no write brings back, and erasures under way
//	webhook_endpoints     where providers post
//	tags, custom_fields   what the contacts of an account may carry
//	credits               a copy of the balances, whose truth is in Redis
//
// # Invariants
//
//   - contacts.version is the number of rows of writes with changes of that
//     contact, without gaps, and the contact equals the fold of them.
//   - Every entry at or below a lane's offset has a row in writes, unless its
//     id is older than meta.writes_kept_from.
//   - Every row of writes in state failed has a row in failed_writes.
//   - external_id and the compared form of email are unique among the active
//     contacts of an account.
//   - A row of writes never changes; what became of a failed write later
//     (retried, discarded) stands in failed_writes.
//
// # Opt-outs
//
// An event goes through the lane of its address, not of a contact. It is applied
// by transactions of their own (optouts.go): what it means for the address, then
// what it does to every contact that has the address, then the lane's offset.
// contacts.*_consent is a projection that both sides write: writes under the
// lock of the contact, events under the same lock, and a clock only grows while
// the address stays, so it does not matter who is first.
//
//   - A committed event is in suppressions before it looks for contacts; a
//     committed write that gave an address looks for suppressions again
//     (recheck.go). So no contact keeps a suppressed address unnoticed.
//   - Every row of webhook_events that is not done belongs to a lane whose
//     offset lies before it.
//   - What an event changes on a contact has a row of kind consent in writes,
//     which cites it and counts as a version.
//
// # The age of data
//
// A Keeper (keeper.go) in every worker makes the partitions of writes for the
// coming year and ends what is older than its retention: whole months are
// emptied by TRUNCATE and stay as empty partitions, since neither DROP nor DETACH
// goes without locking the ledger; failed writes that wait for somebody are put
// back; the default partition, and a month with very many open failures, is
// thinned out row by row. The write path waits for none of it longer than about
// 200 ms: locks are waited for 50 ms and held 150 ms, and what did not succeed is
// tried again. writes_kept_from is committed before the first row goes, so that
// Apply tells an entry which the ledger forgot from a new one (stale.go).
//
// # Erasure
//
// An erasure is a write in the contact's lane: Apply takes the contact away and
// leaves its id in erased_contacts, so that what stands behind it in the lane, or
// comes from a sync that does not know, fails and is not kept. What older rows
// know is taken out afterwards, by the command that asked or any Keeper, in steps
// that may be repeated (erase_rest.go). A suppression of an address that nobody
// has any more goes on under a keyed hash (addresskeys.go); who looks for an
// address looks for both.
//
// # Rules
//
// Whatever comes from a client reaches SQL as a parameter through pgx. bun
// serves accounts, keys and the state of failed writes, whose values are made
// by patchlane. Nothing on the write path lives longer than its transaction:
// no advisory lock, no session setting, so a pooler may stand in between.
// Migrations are run by code of ours rather than bun's: a migration commits
// with its record, so a killed one needs no idempotent SQL.
//
// # Measured
//
// Two cores, the server beside the test, fsync on, 20,000 contacts, two changed
// fields with their ledger and audit row, batches of 500 from four lanes
// against one transaction a write on 16 connections, each pair one right after
// the other (`go test ./store -run none -bench .`). Other programs kept the
// machine busy, more so at the first pair, so take the figures as rough:
//
//	batches 17,600 writes/s    one transaction a write 2,700 writes/s
//	batches 43,100 writes/s    one transaction a write 3,900 writes/s
//
// A batch spends most of its time in the write step; the fold takes half a
// millisecond. When writes are spread over the table 99 % of the updates stay
// on their page (HOT); a run through the table in the order of its pages fills
// them, and 17 % do.
//
// Where to start: apply.go.
package store
