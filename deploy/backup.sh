#!/bin/sh
# backup.sh FOLDER: a copy of everything that patchlane keeps, while it runs.
# Needs pg_dump (of the server's version or later), redis-cli, DATABASE_URL and
# REDIS_URL. What it means, and how to bring it back: deploy/backup.md.
#
# Redis first, Postgres second: a write that was applied between the two is in
# both copies, where the ledger recognises it. The other way round it would be
# in neither.
set -eu

say() { printf 'backup: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit 1
}

[ $# -eq 1 ] || die 'usage: backup.sh FOLDER'
[ -n "${DATABASE_URL:-}" ] || die 'DATABASE_URL is not set'
[ -n "${REDIS_URL:-}" ] || die 'REDIS_URL is not set'
for program in pg_dump pg_restore redis-cli; do
	command -v "$program" >/dev/null || die "$program is not installed"
done

umask 077 # It holds personal data, hashes of keys, and secrets of webhooks.
mkdir -p "$1"
[ -z "$(ls -A "$1")" ] || die "$1 is not empty"

# A snapshot over the replication protocol: one moment, written by a fork, and no
# key is held meanwhile.
say 'redis'
redis-cli -u "$REDIS_URL" --no-auth-warning --rdb "$1/redis.rdb" >&2
[ -s "$1/redis.rdb" ] || die 'redis-cli made no snapshot'

say 'postgres'
pg_dump --format=custom --compress=6 --no-owner --no-privileges --file="$1/postgres.dump" --dbname="$DATABASE_URL"

# A dump that cannot be listed is none.
pg_restore --list "$1/postgres.dump" >/dev/null
(cd "$1" && sha256sum redis.rdb postgres.dump >SHA256SUMS)
say "done: $(du -sh "$1" | cut -f1) in $1"
