#!/bin/sh
# Prints an .env file for docker-compose.yml: every password and token in it is
# made at random, so none is known to anybody else.
#
#   deploy/secrets.sh > .env && chmod 600 .env
#
# A password is fixed when its server first starts; a new .env then locks you
# out of the old volumes.
set -eu

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in POSTGRES_PASSWORD REDIS_PASSWORD PATCHLANE_OPS_TOKEN GRAFANA_PASSWORD; do
	printf '%s=%s\n' "$name" "$(secret)"
done
