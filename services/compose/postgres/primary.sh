#!/bin/sh
# Starts the primary; makes its data first if there are none.
set -eu
umask 077

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Made aside and then moved: a first start that was killed leaves nothing half made in its place.
    rm -rf "$PGDATA.part"
    mkdir -p "${PGDATA%/*}"
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata="$PGDATA.part" --username="$POSTGRES_USER" --pwfile=/tmp/password \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
    rm /tmp/password
    mv "$PGDATA.part" "$PGDATA"
fi

exec postgres -D "$PGDATA" \
    -c config_file=/etc/telemed/postgresql.conf -c hba_file=/etc/telemed/pg_hba.conf \
    -c port="$PGPORT" -c cluster_name="$NODE_NAME"
