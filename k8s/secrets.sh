#!/bin/sh
# Makes every Secret that the charts expect: random passwords for the database's logins, the addresses that the
# application uses, made of the same passwords, and the keys that sign access tokens.
#
#   k8s/secrets.sh                       make what is missing in the cluster of kubectl's context; what exists is kept
#   k8s/secrets.sh --output              print the manifests instead; asks no cluster, so everything in them is new
#
#   --replicas N                         of the database (2, beside the primary); --no-replicas for a single instance
#   --cache standalone|sentinel|cluster  how the chart telemed-data runs the cache (standalone)
#   --redis-url URL                      a cache elsewhere
#   --sslmode MODE                       require: encrypted, and the network is trusted to lead to the right server
#   --context NAME                       another context of kubectl
#   --namespace NAME, --data-namespace NAME, --data-release NAME     (telemed, telemed-data, telemed-data)
#
# To change the password of a login: delete its Secret and `telemed-database`, run this again, then
# `kubectl rollout restart` what uses it. Values reach kubectl on standard input only, never as arguments.
set -eu

namespace=telemed
data_namespace=telemed-data
data_release=telemed-data
database=telemed
cache=standalone
redis_url=
sslmode=require
context=
is_output=false
replicas=2
newline='
'

main() {
    read_arguments "$@"
    check_prerequisites
    refuse_contradictions
    owner=$(password_of telemed-owner)
    api=$(password_of telemed-api)
    audit_api=$(password_of telemed-audit-api)
    jobs=$(password_of telemed-jobs)
    make_login telemed-owner telemed_owner "$owner"
    make_login telemed-api telemed_api "$api"
    make_login telemed-audit-api telemed_audit_api "$audit_api"
    make_login telemed-jobs telemed_jobs "$jobs"
    make_login telemed-monitor telemed_monitor "$(random)"
    make_cache
    make_addresses
    make_keys
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --output) is_output=true ;;
            --no-replicas) replicas=0 ;;
            --replicas | --cache | --redis-url | --sslmode | --context | --namespace | --data-namespace | --data-release)
                [ $# -ge 2 ] || fail "$1 needs a value."
                set_option "$1" "$2"
                shift
                ;;
            -h | --help)
                sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
                exit 0
                ;;
            *) fail "There is no option $1; --help lists them." ;;
        esac
        shift
    done
}

set_option() {
    case $1 in
        --replicas) replicas=$2 ;;
        --cache) cache=$2 ;;
        --redis-url) redis_url=$2 ;;
        --sslmode) sslmode=$2 ;;
        --context) context=$2 ;;
        --namespace) namespace=$2 ;;
        --data-namespace) data_namespace=$2 ;;
        --data-release) data_release=$2 ;;
    esac
}

check_prerequisites() {
    case $cache in
        standalone | sentinel | cluster) ;;
        *) fail "--cache must be standalone, sentinel or cluster, not $cache." ;;
    esac
    case $replicas in
        [0-9]) ;;
        *) fail "--replicas must be a number from 0 to 9, not $replicas." ;;
    esac
    command -v openssl > /dev/null || fail "openssl is needed and is not on PATH."
    if $is_output; then return; fi
    command -v kubectl > /dev/null || fail "kubectl is needed and is not on PATH."
    for name in "$namespace" "$data_namespace"; do
        kube get namespace "$name" > /dev/null ||
            fail "The namespace $name cannot be read; make it with: kubectl apply -k k8s/overlays/local"
    done
}

# What exists is kept. So a password that is to be made now could not get into addresses that exist already; and a new
# key would not be among the keys that verifiers accept already.
refuse_contradictions() {
    if exists "$namespace" telemed-database; then
        for login in telemed-owner telemed-api telemed-audit-api telemed-jobs; do
            exists "$data_namespace" "$login" || fail "The Secret $login is missing in $data_namespace, but \
telemed-database in $namespace exists and would hold another password: delete it (kubectl delete secret -n $namespace \
telemed-database) and run this again, or make $login yourself."
        done
    fi
    if [ -z "$redis_url" ] && exists "$namespace" telemed-cache && ! exists "$data_namespace" telemed-cache; then
        fail "The Secret telemed-cache is missing in $data_namespace, but the one in $namespace exists and would hold \
another password: delete it (kubectl delete secret -n $namespace telemed-cache) and run this again, or, if the cache is \
elsewhere, say so with --redis-url."
    fi
    if exists "$namespace" telemed-verification-keys && ! exists "$namespace" telemed-signing-key; then
        fail "The Secret telemed-verification-keys exists in $namespace, but telemed-signing-key does not: restore it, \
or delete telemed-verification-keys as well; whoever is logged in then has to refresh."
    fi
}

make_login() { # Secret, role, password
    if is_kept "$data_namespace" "$1"; then return; fi
    # The label lets CloudNativePG notice a changed password at once.
    put "$data_namespace" "$1" kubernetes.io/basic-auth 'cnpg.io/reload: "true"' <<DATA
  username: $(encoded "$2")
  password: $(encoded "$3")
DATA
}

make_cache() {
    cache_password=$(password_of telemed-cache)
    if is_kept "$data_namespace" telemed-cache; then return; fi
    put "$data_namespace" telemed-cache Opaque <<DATA
  password: $(encoded "$cache_password")
DATA
}

make_addresses() {
    if ! is_kept "$namespace" telemed-database; then
        put "$namespace" telemed-database Opaque <<DATA
  DATABASE_URL: $(encoded "$(address telemed_api "$api" pooler-rw)")
  REPLICA_DATABASE_URLS: $(encoded "$(replica_addresses)")
  AUDITOR_DATABASE_URL: $(encoded "$(address telemed_audit_api "$audit_api" pooler-rw)")
  WORKER_DATABASE_URL: $(encoded "$(address telemed_jobs "$jobs" pooler-rw)")
  OWNER_DATABASE_URL: $(encoded "$(address telemed_owner "$owner" rw)")
DATA
    fi
    if ! is_kept "$namespace" telemed-cache; then
        put "$namespace" telemed-cache Opaque <<DATA
  REDIS_URL: $(encoded "${redis_url:-$(cache_address)}")
DATA
    fi
}

make_keys() {
    if ! is_kept "$namespace" telemed-identity; then
        put "$namespace" telemed-identity Opaque <<DATA
  PEPPER: $(encoded "$(random)")
  JWT_SECRET: $(encoded "$(random)")
DATA
    fi
    if is_kept "$namespace" telemed-signing-key; then
        private=$(value_of "$namespace" telemed-signing-key private.pem)
    else
        private=$(openssl genpkey -algorithm ed25519) || fail "This openssl makes no Ed25519 keys; take 1.1.1 or later."
        put "$namespace" telemed-signing-key Opaque <<DATA
  private.pem: $(encoded "$private$newline")
DATA
    fi
    if ! is_kept "$namespace" telemed-verification-keys; then
        # One more key is added beside it while keys are changed; so the names say nothing.
        put "$namespace" telemed-verification-keys Opaque <<DATA
  public.pem: $(encoded "$(printf '%s\n' "$private" | openssl pkey -pubout)$newline")
DATA
    fi
}

password_of() { # Secret
    if exists "$data_namespace" "$1"; then value_of "$data_namespace" "$1" password; else random; fi
}

random() {
    # 192 bits in letters and digits, which mean nothing in an address.
    openssl rand -hex 24
}

address() { # role, password, service
    printf 'postgresql://%s:%s@%s-%s.%s.svc:5432/%s?sslmode=%s' \
        "$1" "$2" "$data_release" "$3" "$data_namespace" "$database" "$sslmode"
}

# One pooler leads to all replicas, in turns: the address once for each, so that a read that met one which lags is tried at the
# next one before the primary is asked.
replica_addresses() {
    left=$replicas
    while [ "$left" -gt 0 ]; do
        address telemed_api "$api" pooler-ro
        left=$((left - 1))
        if [ "$left" -gt 0 ]; then printf ','; fi
    done
}

cache_address() {
    host=$data_release-cache
    case $cache in
        standalone) printf 'redis://:%s@%s.%s.svc:6379/0' "$cache_password" "$host" "$data_namespace" ;;
        cluster) printf 'redis+cluster://:%s@%s.%s.svc:6379' "$cache_password" "$host" "$data_namespace" ;;
        # Each by itself: a majority of them has to be asked.
        sentinel) printf 'redis+sentinel://:%s@%s,%s,%s/telemed' "$cache_password" \
            "$(sentinel 0)" "$(sentinel 1)" "$(sentinel 2)" ;;
    esac
}

sentinel() { # number
    printf '%s-sentinel-%s.%s-sentinel.%s.svc:26379' "$host" "$1" "$host" "$data_namespace"
}

put() { # namespace, name, type, label; data on standard input
    manifest=$(
        cat <<YAML
---
apiVersion: v1
kind: Secret
metadata:
  name: $2
  namespace: $1
  labels:
    app.kubernetes.io/part-of: telemed${4:+
    $4}
type: $3
data:
YAML
        cat
    )
    if $is_output; then
        printf '%s\n' "$manifest"
        return
    fi
    # Not `apply`: it would keep a second copy of the values in an annotation.
    printf '%s\n' "$manifest" | kube create -f - > /dev/null
    echo "made  $1/$2" >&2
}

encoded() {
    # In quotes, as nothing at all would not be an empty text.
    printf '"%s"' "$(printf '%s' "$1" | openssl base64 -A)"
}

is_kept() { # namespace, Secret
    exists "$1" "$2" || return 1
    echo "kept  $1/$2" >&2
}

exists() { # namespace, Secret
    if $is_output; then return 1; fi
    found=$(kube get secret "$2" --namespace "$1" --ignore-not-found --output name) || exit 1
    [ -n "$found" ]
}

value_of() { # namespace, Secret, key
    kube get secret "$2" --namespace "$1" --output go-template="{{index .data \"$3\" | base64decode}}"
}

kube() {
    kubectl ${context:+--context "$context"} "$@"
}

fail() {
    echo "k8s/secrets.sh: $1" >&2
    exit 1
}

main "$@"
