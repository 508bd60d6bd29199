#!/bin/sh
# restore.sh FOLDER REDIS_FOLDER: brings a copy of backup.sh back, into an empty
# database (DATABASE_URL) and an empty folder that a Redis will be started on.
# No patchlane process may run meanwhile. Run it as root or as the user whom that
# Redis runs as; as root it leaves the files to the owner of REDIS_FOLDER. Needs pg_restore, psql, redis-server
# and redis-cli. What comes next: deploy/backup.md.
set -eu

say() { printf 'restore: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit 1
}

[ $# -eq 2 ] || die 'usage: restore.sh FOLDER REDIS_FOLDER'
[ -n "${DATABASE_URL:-}" ] || die 'DATABASE_URL is not set'
for program in pg_restore psql redis-server redis-cli; do
	command -v "$program" >/dev/null || die "$program is not installed"
done
(cd "$1" && sha256sum -c --quiet SHA256SUMS) || die "$1 is damaged"
tables=$(psql -X -At -d "$DATABASE_URL" -c "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
[ "$tables" = 0 ] || die 'the database is not empty'
mkdir -p "$2"
[ -z "$(ls -A "$2")" ] || die "$2 is not empty"

say 'postgres'
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$DATABASE_URL" "$1/postgres.dump"
psql -X -q -d "$DATABASE_URL" -c ANALYZE

# A Redis with an append-only file reads that and no snapshot. So a Redis of our
# own reads the snapshot, and writes the append-only file.
say 'redis'
cp "$1/redis.rdb" "$2/dump.rdb"
socket=$(mktemp -d)
redis-server --dir "$2" --port 0 --unixsocket "$socket/redis" --save '' --appendonly no --daemonize no --loglevel warning >&2 &
redis=$!
trap 'kill "$redis" 2>/dev/null || :; rm -rf "$socket"' EXIT
cli() { redis-cli -s "$socket/redis" "$@"; }
tries=0
until [ "$(cli ping 2>/dev/null)" = PONG ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] && kill -0 "$redis" 2>/dev/null || die 'redis-server did not read the snapshot'
	sleep 0.1
done
# Leases and claims of processes that are gone, and queued tasks of asynq: the
# sweep of any worker rings again for whatever waits.
cli --raw --scan --pattern 'asynq:*' | while read -r key; do cli unlink "$key" >/dev/null; done
cli config set appendonly yes >/dev/null
until cli info persistence | grep -q 'aof_rewrite_in_progress:0' &&
	cli info persistence | grep -q 'aof_rewrite_scheduled:0' &&
	cli info persistence | grep -q 'aof_last_bgrewrite_status:ok'; do
	sleep 0.1
done
[ -d "$2/appendonlydir" ] || die 'redis-server wrote no append-only file'
cli shutdown nosave 2>/dev/null || :
wait "$redis" || :
trap - EXIT
rm -rf "$socket" "$2/dump.rdb"
if [ "$(id -u)" -eq 0 ]; then
	# The folder is that of the user whom Redis runs as.
	chown -R "$(find "$2" -prune -exec ls -ldn {} + | awk '{ print $3 ":" $4 }')" "$2"
fi
say "done: start Redis on $2 with its settings of before, then patchlane migrate, one worker, and look at patchlane doctor"
