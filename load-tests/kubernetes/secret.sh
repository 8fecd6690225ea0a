#!/bin/sh
# Tells the load what it must know of the platform in this cluster: the Secret telemed-load-platform in a namespace of the
# load's own, with the settings of the component auth, the owner's address of the database and the keys that sign tokens.
# Whoever reads it can be everybody, so a production platform is refused.
#
#   load-tests/kubernetes/secret.sh                   again, whenever the platform's Secrets or settings have changed
#   --context NAME                                    another context of kubectl
#   --namespace NAME                                  of the application (telemed)
#
# The platform's Secrets must have the names that k8s/secrets.sh gives them. Values reach kubectl on standard input only.
set -eu

cd "$(dirname "$0")/../.."
namespace=telemed
context=

main() {
    read_arguments "$@"
    for program in kubectl openssl; do
        command -v "$program" > /dev/null || fail "$program is needed and is not on PATH."
    done
    settings=$(settings_of_auth) || fail "The Deployment telemed-auth in $namespace cannot be read; is Telemed installed?"
    case $settings in
        *'ENVIRONMENT="production"'*) fail "The platform in $namespace is a production (ENVIRONMENT): it is not loaded." ;;
    esac
    owner=$(value_of telemed-database OWNER_DATABASE_URL)
    pepper=$(value_of telemed-identity PEPPER)
    secret=$(value_of telemed-identity JWT_SECRET)
    private=$(value_of telemed-signing-key private.pem)
    public=$(printf '%s\n' "$private" | openssl pkey -pubout)
    kube apply --server-side --filename load-tests/kubernetes/namespace.yaml
    manifest | kube apply --server-side --force-conflicts --filename -
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --context | --namespace)
                [ $# -ge 2 ] || fail "$1 needs a value."
                if [ "$1" = --context ]; then context=$2; else namespace=$2; fi
                shift
                ;;
            -h | --help)
                sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' load-tests/kubernetes/secret.sh
                exit 0
                ;;
            *) fail "There is no option $1; --help lists them." ;;
        esac
        shift
    done
}

# Those that are no secrets, as lines of a file of variables.
settings_of_auth() {
    kube --namespace "$namespace" get deployment telemed-auth --output \
        'go-template={{range (index .spec.template.spec.containers 0).env}}{{if .value}}{{.name}}={{printf "%q" .value}}{{"\n"}}{{end}}{{end}}'
}

value_of() { # Secret, key
    kube --namespace "$namespace" get secret "$1" --output "go-template={{index .data \"$2\" | base64decode}}" ||
        fail "The Secret $1 in $namespace cannot be read; k8s/secrets.sh makes it."
}

manifest() {
    cat << YAML
apiVersion: v1
kind: Secret
metadata:
  name: telemed-load-platform
  namespace: telemed-load
  labels: {app.kubernetes.io/name: telemed-load, app.kubernetes.io/part-of: telemed}
type: Opaque
data:
  platform.env: $(variables | encoded)
  private.pem: $(printf '%s\n' "$private" | encoded)
  public.pem: $(printf '%s\n' "$public" | encoded)
YAML
}

# Of two lines for one name the later holds: the keys lie elsewhere in the load's pods.
variables() {
    printf '%s\n' "$settings" "OWNER_DATABASE_URL='$owner'" "PEPPER='$pepper'" "JWT_SECRET='$secret'" \
        "JWT_PRIVATE_KEY_FILE=/secret/private.pem" "JWT_PUBLIC_KEY_FILES=/secret/public.pem"
}

encoded() {
    openssl base64 -A
}

kube() {
    kubectl ${context:+--context "$context"} "$@"
}

fail() {
    printf 'load-tests/kubernetes/secret.sh: %s\n' "$1" >&2
    exit 1
}

main "$@"
