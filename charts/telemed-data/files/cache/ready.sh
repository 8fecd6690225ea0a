#!/bin/sh
# Tells whether a server may be asked: it answers, its cluster (if it is in one) serves, and it has what its primary has.
set -eu

[ "$(valkey-cli ping)" = PONG ]
replication=$(valkey-cli info replication)
case "$replication" in
    *role:master*) ;;
    *master_link_status:up*) ;;
    *) exit 1 ;;
esac
if [ -s "$DATA/nodes.conf" ]; then
    case "$(valkey-cli cluster info)" in
        *cluster_state:ok*) ;;
        *) exit 1 ;;
    esac
fi
