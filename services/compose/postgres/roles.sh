#!/bin/sh
# Makes what a superuser must make before the first migration: owner, groups, logins, database; the same as
# services/telemed/local/roles.py does for `make run`. Then writes the poolers' configuration: the shipped files with this
# deployment's port and database, and the verifiers of the logins. Runs at every `up`; what is right already is left alone.
set -eu

export PGHOST=postgres-primary PGUSER="$POSTGRES_USER" PGPASSWORD="$POSTGRES_PASSWORD" PGDATABASE=postgres
# The replicas are copied only after this: nobody is there yet who could confirm a commit.
export PGOPTIONS='-c synchronous_commit=local'

superuser() {
    psql --no-psqlrc --quiet --no-align --tuples-only -v ON_ERROR_STOP=1 "$@"
}

# Role's names stand in this file only; a password reaches psql by the environment, and SQL by psql's own quoting.
login() { # name, password, attributes
    superuser <<SQL
SELECT 'CREATE ROLE $1' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \gexec
ALTER ROLE $1 LOGIN $3;
SQL
    # A verifier is renewed only if the password changed: the running poolers know the old one.
    if ! PGUSER="$1" PGPASSWORD="$2" superuser --command 'SELECT 1' > /dev/null 2>&1; then
        PASSWORD="$2" superuser <<SQL
\getenv password PASSWORD
ALTER ROLE $1 PASSWORD :'password';
SQL
    fi
}

group() { # name, its login
    superuser <<SQL
SELECT 'CREATE ROLE $1 NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \gexec
GRANT $1 TO telemed_owner WITH ADMIN OPTION;
GRANT $1 TO $2;
SQL
}

login telemed_owner "$OWNER_PASSWORD" CREATEROLE
login telemed_api "$API_PASSWORD" ''
login telemed_audit_api "$AUDIT_API_PASSWORD" ''
login telemed_jobs "$JOBS_PASSWORD" ''
login telemed_replication "$REPLICATION_PASSWORD" REPLICATION
login telemed_monitor "$MONITOR_PASSWORD" ''
group telemed_services telemed_api
group telemed_auditor telemed_audit_api
group telemed_worker telemed_jobs

superuser <<'SQL'
GRANT pg_monitor TO telemed_monitor;
\getenv database POSTGRES_DB
SELECT format('CREATE DATABASE %I OWNER telemed_owner', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SQL

# Moved into place when complete. The poolers are started (again) after this.
superuser --command "
    SELECT format('\"%s\" \"%s\"', rolname, rolpassword) FROM pg_authid
    WHERE rolname IN ('telemed_api', 'telemed_audit_api', 'telemed_jobs', 'telemed_monitor') ORDER BY 1
" > /pgbouncer/userlist.txt.new
mv /pgbouncer/userlist.txt.new /pgbouncer/userlist.txt
for file in pgbouncer-common.ini pgbouncer-rw.ini pgbouncer-ro.ini; do
    sed -e '/ host=postgres-/{' -e "s/ port=5432/ port=$PGPORT/" -e 's/ dbname=telemed$//' \
        -e "s/\$/ dbname=$POSTGRES_DB/" -e '}' "/shipped/$file" > "/pgbouncer/$file"
done
