#!/usr/bin/env bash
# As much of valkey-cli as the cache's scripts call, as the wheel of Valkey has none. They call it many times a second, for six
# pods: in bash it costs a tenth of what it costs in Python. Without -h it asks the pod that it runs in.
set -u
export LC_ALL=C # lengths are in bytes

send() {
    printf '*%d\r\n' $# >&3
    local word
    for word in "$@"; do printf '$%d\r\n%s\r\n' ${#word} "$word" >&3; done
}

# Prints the next reply as valkey-cli does.
reply() {
    local head text place
    IFS= read -r -t 2 head <&3 || fail
    head=${head%$'\r'}
    case $head in
        '$-1') echo ;;
        '$'*)
            IFS= read -r -t 2 -N $((${head#?} + 2)) text <&3 || fail
            printf '%s\n' "${text%$'\r\n'}"
            ;;
        '*'*) for ((place = 0; place < ${head#?}; place++)); do reply; done ;;
        *) printf '%s\n' "${head#?}" ;;
    esac
}

fail() {
    echo "Could not connect to Valkey at $host:$port" >&2
    exit 1
}

host=$POD_IP port=6379
while [[ ${1-} == -[hp] ]]; do
    if [[ $1 == -h ]]; then host=$2; else port=$2; fi
    shift 2
done
while read -r name address; do
    if [[ $name == "$host" ]]; then
        host=$address
        break
    fi
done < "$NAMES"
{ exec 3<> "/dev/tcp/$host/$port"; } 2> /dev/null || fail
if [[ -n ${REDISCLI_AUTH+set} ]]; then
    send AUTH "$REDISCLI_AUTH"
    reply > /dev/null
fi
send "$@"
reply
