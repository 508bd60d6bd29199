#!/bin/sh
# Makes sure that PostgreSQL and Redis servers are installed, as programs:
# patchlane's demo, its development stack and its tests start servers of their
# own, so no system service is wanted, and none is left running.
#
#   Debian, Ubuntu   apt-get (root, or sudo)
#   macOS, Linuxbrew brew
#
# `deps.sh test` installs Chromium too, which one test drives without a screen,
# and Prometheus with promtool, which the tests of alerts and dashboards run.
#
# Where all are there already it says so and changes nothing. Programs in
# places of their own: PATCHLANE_POSTGRES_BIN (the folder of initdb and
# postgres), PATCHLANE_REDIS_SERVER (the path of redis-server) and
# PATCHLANE_CHROMIUM.
set -eu

say() { printf 'deps: %s\n' "$*"; }

die() {
	printf 'deps: %s\n' "$*" >&2
	exit 1
}

# holds_postgres FOLDER: both programs are in it.
holds_postgres() { [ -x "$1/initdb" ] && [ -x "$1/postgres" ]; }

# find_postgres prints the folder of the programs; it looks where patchlane
# does (deploy/local/find.go).
find_postgres() {
	if [ -n "${PATCHLANE_POSTGRES_BIN:-}" ]; then
		holds_postgres "$PATCHLANE_POSTGRES_BIN" ||
			die "PATCHLANE_POSTGRES_BIN=$PATCHLANE_POSTGRES_BIN has no initdb and postgres"
		printf '%s\n' "$PATCHLANE_POSTGRES_BIN"
		return 0
	fi
	for program in postgres initdb; do
		path=$(command -v "$program") || continue
		path=$(realpath "$path" 2>/dev/null) || continue
		if holds_postgres "${path%/*}"; then
			printf '%s\n' "${path%/*}"
			return 0
		fi
	done
	for folder in "$(pg_config --bindir 2>/dev/null || :)" \
		/usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin \
		/usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin; do
		if holds_postgres "$folder"; then
			printf '%s\n' "$folder"
			return 0
		fi
	done
	return 1
}

# find_redis prints the path of the server.
find_redis() {
	if [ -n "${PATCHLANE_REDIS_SERVER:-}" ]; then
		[ -x "$PATCHLANE_REDIS_SERVER" ] ||
			die "PATCHLANE_REDIS_SERVER=$PATCHLANE_REDIS_SERVER is no program"
		printf '%s\n' "$PATCHLANE_REDIS_SERVER"
		return 0
	fi
	command -v redis-server || command -v valkey-server && return 0
	for path in /opt/homebrew/bin/redis-server /opt/homebrew/opt/redis/bin/redis-server \
		/usr/local/opt/redis/bin/redis-server /usr/local/bin/redis-server /usr/bin/redis-server; do
		if [ -x "$path" ]; then
			printf '%s\n' "$path"
			return 0
		fi
	done
	return 1
}

# find_chromium prints the path of the browser; it looks where the test does
# (api/unsubscribe_browser_test.go).
find_chromium() {
	if [ -n "${PATCHLANE_CHROMIUM:-}" ]; then
		[ -x "$PATCHLANE_CHROMIUM" ] || die "PATCHLANE_CHROMIUM=$PATCHLANE_CHROMIUM is no program"
		printf '%s\n' "$PATCHLANE_CHROMIUM"
		return 0
	fi
	for program in chromium chromium-browser google-chrome google-chrome-stable chrome \
		'/Applications/Chromium.app/Contents/MacOS/Chromium' \
		'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
		command -v "$program" && return 0
	done
	return 1
}

# find_prometheus prints the path of the server, where promtool is too.
find_prometheus() { command -v promtool >/dev/null && command -v prometheus; }

# as_root COMMAND...: with sudo unless this is root.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@"; }

policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/patchlane-deps.conf
made=''

# tidy takes away what keep_quiet put there.
tidy() {
	for file in $made; do
		as_root rm -f "$file"
	done
	made=''
}

# place FILE MODE TEXT: makes a file that is not there yet, for the time of the
# installation.
place() {
	[ ! -e "$1" ] || return 0
	as_root mkdir -p "${1%/*}"
	made="$made $1"
	printf '%b' "$3" | as_root tee "$1" >/dev/null
	as_root chmod "$2" "$1"
}

# keep_quiet holds Debian back from starting what it installs, and from making
# a database cluster that the next boot would start.
keep_quiet() {
	trap tidy EXIT
	trap 'exit 130' INT TERM
	place "$policy" 0755 '#!/bin/sh\nexit 101\n'
	place "$no_cluster" 0644 'create_main_cluster = false\n'
}

# install_apt PACKAGE...
install_apt() {
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
		die "not root and no sudo; as root: apt-get install $*"
	say "installing with apt-get: $*"
	keep_quiet
	apt update || say 'apt-get update failed, trying with the lists that are there'
	apt install --no-install-recommends "$@"
	tidy
	# Only what this run installed: a service that was there before stays as it is.
	if [ -d /run/systemd/system ]; then
		for package in "$@"; do
			as_root systemctl disable --now "$package" 2>/dev/null || :
		done
	fi
}

# install_brew FORMULA...: brew starts no service unless it is asked to.
install_brew() {
	say "installing with brew: $*"
	HOMEBREW_NO_AUTO_UPDATE=1 brew install "$@"
}

# main [test]
main() {
	postgres=$(find_postgres) || postgres=''
	redis=$(find_redis) || redis=''
	chromium='no browser asked for'
	prometheus='no prometheus asked for'
	wanted=${1:-}
	if [ "$wanted" = test ]; then
		chromium=$(find_chromium) || chromium=''
		prometheus=$(find_prometheus) || prometheus=''
	fi
	if [ -n "$postgres" ] && [ -n "$redis" ] && [ -n "$chromium" ] && [ -n "$prometheus" ]; then
		say "all there: $postgres, $redis, $chromium, $prometheus"
		return 0
	fi
	if command -v apt-get >/dev/null; then
		set --
		[ -n "$postgres" ] || set -- "$@" postgresql
		[ -n "$redis" ] || set -- "$@" redis-server
		[ -n "$chromium" ] || set -- "$@" chromium
		[ -n "$prometheus" ] || set -- "$@" prometheus
		install_apt "$@"
	elif command -v brew >/dev/null; then
		set --
		[ -n "$postgres" ] || set -- "$@" postgresql@17
		[ -n "$redis" ] || set -- "$@" redis
		[ -n "$chromium" ] || set -- "$@" chromium
		[ -n "$prometheus" ] || set -- "$@" prometheus
		install_brew "$@"
	else
		die "neither apt-get nor brew here: install PostgreSQL (14 or later), Redis (7 or later) and, for the tests, Chromium and Prometheus by hand"
	fi
	postgres=$(find_postgres) || die 'PostgreSQL is still not found'
	redis=$(find_redis) || die 'redis-server is still not found'
	if [ "$wanted" = test ]; then
		chromium=$(find_chromium) || die 'Chromium is still not found'
		prometheus=$(find_prometheus) || die 'prometheus and promtool are still not found'
	fi
	say "ready: $postgres, $redis, $chromium, $prometheus"
}

main "$@"
