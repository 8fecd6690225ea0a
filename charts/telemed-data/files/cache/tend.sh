#!/bin/sh
# Keeps telling a node of the cluster where the others are. Pods get other addresses whenever they start, perhaps all of them at
# once; a node only remembers addresses, DNS knows the new ones. To introduce somebody who is known already (CLUSTER MEET) means: has moved.
set -eu

tend() {
    known=$(valkey-cli cluster nodes) || return 0  # not up yet, or just leaving
    place=0
    while read -r id _; do
        peer=${POD_NAME%-*}-$place.$NODES
        place=$((place + 1))
        [ "$id" != vars ] && [ "$peer" != "$POD_NAME.$NODES" ] || continue
        # No name: the pod is being made. It introduces itself when it is there.
        address=$(getent hosts "$peer" | sed -n '1s/ .*//p')
        [ -n "$address" ] || continue
        case "$known" in
            *"$id $address:6379@"*) ;;
            *) valkey-cli cluster meet "$address" 6379 < /dev/null > /dev/null || true ;;
        esac
    done < "$CONFIG/nodes.conf"
}

# Ended by SIGTERM at once, not after the pause: the shell waits for `wait`, not for `sleep`.
trap 'exit 0' TERM INT
while :; do
    tend
    sleep "${EVERY_SECONDS:-2}" &
    wait $!
done
