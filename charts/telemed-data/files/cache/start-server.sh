#!/bin/sh
# Starts the only server, or one of those that sentinels watch: as a replica of whom most sentinels call the primary. Nobody
# knows one after all pods have started anew: then it is the first server.
set -eu
umask 077

rm -f "$DATA"/*.rdb
# shellcheck source=configuration.sh
. "$CONFIG/configuration.sh"
configuration > "$DATA/valkey.conf"
if [ -n "${SENTINELS:-}" ]; then
    me=$POD_NAME.$NODES
    primary=$(elected)
    {
        echo "replica-announce-ip $me"
        [ "$primary" = "$me" ] || echo "replicaof $primary 6379"
    } >> "$DATA/valkey.conf"
fi
exec valkey-server "$DATA/valkey.conf"
