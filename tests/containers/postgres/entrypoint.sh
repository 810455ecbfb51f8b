#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the cluster on first start, as the official image does: a superuser by POSTGRES_USER with the password of
# POSTGRES_PASSWORD_FILE, then every SQL file of /docker-entrypoint-initdb.d.
set -euo pipefail
user=${POSTGRES_USER:-postgres}
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    initdb --encoding=UTF8 --locale=C.UTF-8 --username="$user" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 --auth-local=trust >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --silent --wait --options='-c listen_addresses=' start >/dev/null
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$user" --dbname=postgres --file="$file"
    done
    pg_ctl --silent --wait --mode=fast stop >/dev/null
fi
exec "$@" -c listen_addresses='*'
