#!/bin/sh
# Starts a replica; copies the primary first if there are no data.
set -eu
umask 077

# Written anew at every start, so that a changed password needs no changed data.
printf '*:*:*:telemed_replication:%s\n' "$REPLICATION_PASSWORD" > /tmp/pgpass
export PGPASSFILE=/tmp/pgpass
primary="host=postgres-primary port=$PGPORT user=telemed_replication passfile=/tmp/pgpass application_name=$NODE_NAME"
# The slot keeps the primary's log until this replica has it. Slots' names have no dashes.
slot=$(printf '%s' "$NODE_NAME" | tr - _)

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Copied aside and then moved: a copy that broke off is begun anew.
    rm -rf "$PGDATA.part"
    mkdir -p "${PGDATA%/*}"
    psql --no-psqlrc -v ON_ERROR_STOP=1 -d "$primary dbname=postgres" -Atc "
        SELECT pg_create_physical_replication_slot('$slot', true)
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$slot')"
    pg_basebackup -d "$primary" --pgdata="$PGDATA.part" --slot="$slot" --wal-method=stream --checkpoint=fast
    touch "$PGDATA.part/standby.signal"
    mv "$PGDATA.part" "$PGDATA"
fi

exec postgres -D "$PGDATA" \
    -c config_file=/etc/telemed/postgresql.conf -c hba_file=/etc/telemed/pg_hba.conf \
    -c port="$PGPORT" -c cluster_name="$NODE_NAME" \
    -c primary_conninfo="$primary" -c primary_slot_name="$slot"
