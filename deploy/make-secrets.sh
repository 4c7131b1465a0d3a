#!/bin/sh
# Makes ./secrets for compose.yaml: random passwords, and an empty file for the token of Prometheus. What is there stays.
set -eu
cd "$(dirname "$0")"

# Containers see a file with the owner and mode that it has here, so it is readable by all, in a folder that is not.
mkdir -p -m 700 secrets
umask 022

if [ ! -e secrets/postgres_password ]; then
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    printf '[blemish]\nhost=db\nuser=blemish\ndbname=blemish\npassword=%s\n' "$password" >secrets/pg_service
    printf '%s' "$password" >secrets/postgres_password
fi
[ -e secrets/grafana_password ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >secrets/grafana_password
[ -e secrets/metrics_token ] || : >secrets/metrics_token
