#!/bin/sh
# Starts a node of the cluster. It is born as a member: who has which id, place and slots stands in nodes.conf of the ConfigMap, so
# nothing has to be formed, by nobody. What a node does not know is where the others are; tend.sh keeps telling it.
set -eu
umask 077

# What it once got from its primary would be loaded, persistence or not.
rm -f "$DATA"/*.rdb
# A container that starts again in the same pod remembers who is whose replica now. A new pod does not: it claims its old place
# with the oldest epoch there is, and whoever has taken it since makes it a replica.
if [ ! -s "$DATA/nodes.conf" ]; then
    sed "$((${POD_NAME##*-} + 1))s/ noaddr,/ myself,/" "$CONFIG/nodes.conf" > "$DATA/nodes.conf"
fi
# shellcheck source=configuration.sh
. "$CONFIG/configuration.sh"
{
    configuration
    cat "$CONFIG/cluster.conf"
    echo "cluster-announce-ip $POD_IP"
    echo "cluster-announce-hostname $POD_NAME.$NODES"
} > "$DATA/valkey.conf"
exec valkey-server "$DATA/valkey.conf"
