# shellcheck shell=sh
# What the scripts share; read by them, never run.

# The password as it stands between double quotes of a configuration file; not for echo, which has escapes of its own.
quoted() {
    printf '%s' "$PASSWORD" | sed 's/["\\]/\\&/g'
}

# The configuration of whatever stores something.
configuration() {
    cat "$CONFIG/valkey.conf"
    echo "dir $DATA"
    if [ -n "${PASSWORD:-}" ]; then
        printf 'requirepass "%s"\n' "$(quoted)"
        printf 'primaryauth "%s"\n' "$(quoted)"
    fi
}

# Whom at least two sentinels call the primary; the first server if there is no such name. SENTINELS is "set service".
elected() {
    for place in 0 1 2; do
        # A sentinel that is not there costs three seconds at most.
        timeout 3 valkey-cli -h "${SENTINELS% *}-$place.${SENTINELS#* }" -p 26379 sentinel get-primary-addr-by-name telemed 2> /dev/null |
            sed -n 1p || true
    done | sort | uniq -c | sort -rn | {
        read -r votes name || true
        if [ "${votes:-0}" -ge 2 ]; then echo "$name"; else echo "$FIRST"; fi
    }
}
