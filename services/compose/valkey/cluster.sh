#!/bin/sh
# Forms the cluster of six nodes, or finds that it is formed. Runs at every `up` with the profile `cluster`.
set -eu

nodes="valkey-1 valkey-2 valkey-3 valkey-4 valkey-5 valkey-6"

is_well() {
    for node in $nodes; do
        valkey-cli -h "$node" cluster info | grep -q '^cluster_state:ok' || return 1
        valkey-cli -h "$node" cluster info | grep -q '^cluster_known_nodes:6' || return 1
    done
}

# Nodes that were formed before find each other again within seconds, if enough of them kept their addresses.
for _ in 1 2 3 4 5; do
    if is_well; then
        echo "The cluster is well."
        exit 0
    fi
    sleep 1
done

# Otherwise it is formed anew. What it held is lost, which is what is promised of a cache.
addresses=
for node in $nodes; do
    valkey-cli -h "$node" flushall > /dev/null || true
    valkey-cli -h "$node" cluster reset hard > /dev/null
    # By number: nodes know each other by their addresses only.
    addresses="$addresses $(getent hosts "$node" | cut -d' ' -f1):6379"
done
# shellcheck disable=SC2086 # one word for each node
valkey-cli --cluster create $addresses --cluster-replicas 1 --cluster-yes
until is_well; do sleep 1; done
