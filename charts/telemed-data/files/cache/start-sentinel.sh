#!/bin/sh
# Starts a sentinel. What it knew is lost with its pod: it asks the others, and learns the rest from the servers.
set -eu
umask 077

# shellcheck source=configuration.sh
. "$CONFIG/configuration.sh"
primary=$(elected)
# A sentinel refuses to start while the name of its primary leads nowhere.
until getent hosts "$primary" > /dev/null; do sleep 1; done
{
    echo "port 26379"
    echo "dir $DATA"
    echo "protected-mode no"
    # Pods keep their names, not their addresses.
    echo "sentinel resolve-hostnames yes"
    echo "sentinel announce-hostnames yes"
    echo "sentinel announce-ip $POD_NAME.${SENTINELS#* }"
    echo "sentinel monitor telemed $primary 6379 2"
    echo "sentinel down-after-milliseconds telemed 3000"
    echo "sentinel failover-timeout telemed 10000"
    if [ -n "${PASSWORD:-}" ]; then
        printf 'requirepass "%s"\n' "$(quoted)"
        printf 'sentinel sentinel-pass "%s"\n' "$(quoted)"
        printf 'sentinel auth-pass telemed "%s"\n' "$(quoted)"
    fi
} > "$DATA/sentinel.conf"
exec valkey-sentinel "$DATA/sentinel.conf"
