#!/bin/sh
# Brings the whole platform up in a cluster of `kind` on this machine: https://localhost:8443.
#
#   k8s/kind/up.sh                 each step looks first whether it is done; so run it again after whatever went wrong
#   k8s/kind/up.sh --dry-run       print the commands and do nothing
#   --name NAME                    another name than `telemed` for the cluster
#   --skip-build                   take the image as Docker has it
#
# k8s/kind/down.sh takes all of it away. Versions are those of k8s/kind/versions.env.
set -eu

cd "$(dirname "$0")/../.."
# shellcheck source=/dev/null
. k8s/kind/versions.env
name=telemed
is_dry=false
builds=true

main() {
    read_arguments "$@"
    context=kind-$name
    check_prerequisites
    make_cluster
    install_operators
    provide_image
    prepare_namespaces
    install_charts
    say "Ready: https://localhost:8443 (README.md, Kubernetes, says what to do first). Away with it: k8s/kind/down.sh"
}

read_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) is_dry=true ;;
            --skip-build) builds=false ;;
            --name)
                [ $# -ge 2 ] || fail "--name needs a value."
                name=$2
                shift
                ;;
            -h | --help)
                sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' k8s/kind/up.sh
                exit 0
                ;;
            *) fail "There is no option $1; --help lists them." ;;
        esac
        shift
    done
}

check_prerequisites() {
    if $is_dry; then return; fi
    for program in docker kind kubectl helm openssl; do
        command -v "$program" > /dev/null || fail "$program is needed and is not on PATH."
    done
    docker info > /dev/null 2>&1 || fail "Docker does not answer; is it running, and may you use it?"
    helm version --short | grep -Eq '^v([4-9]|3\.(1[7-9]|[2-9][0-9]))' || fail "Helm 3.17 or later is needed."
}

make_cluster() {
    step "The cluster"
    if has_cluster; then return; fi
    run kind create cluster --name "$name" --config k8s/kind/cluster.yaml --image "$NODE_IMAGE" --wait 3m
}

has_cluster() {
    ! $is_dry && kind get clusters 2> /dev/null | grep -qx "$name"
}

install_operators() {
    step "CloudNativePG and Envoy Gateway"
    branch=release-${CLOUDNATIVE_PG%.*}
    run kubectl --context "$context" apply --server-side --filename \
        "https://raw.githubusercontent.com/cloudnative-pg/cloudnative-pg/$branch/releases/cnpg-$CLOUDNATIVE_PG.yaml"
    run helm --kube-context "$context" upgrade --install envoy-gateway oci://docker.io/envoyproxy/gateway-helm \
        --version "$ENVOY_GATEWAY" --namespace envoy-gateway-system --create-namespace --wait --timeout 10m
    run kubectl --context "$context" --namespace cnpg-system rollout status deployment/cnpg-controller-manager --timeout 5m
}

provide_image() {
    step "The image"
    if $builds; then run make image IMAGE="$IMAGE"; fi
    run kind load docker-image "$IMAGE" --name "$name"
}

prepare_namespaces() {
    step "Namespaces, policies, Gateway, Secrets"
    run kubectl --context "$context" apply --server-side --kustomize k8s/kind
    make_certificate
    run k8s/secrets.sh --context "$context"
}

# For the name localhost, by itself: nobody signs it, so `curl --insecure`, or trust it as README.md says.
make_certificate() {
    if $is_dry; then
        run kubectl --context "$context" --namespace telemed-gateway create secret tls telemed-gateway-tls \
            --cert '(made by openssl)' --key '(made by openssl)'
        return
    fi
    found=$(kubectl --context "$context" --namespace telemed-gateway get secret telemed-gateway-tls --ignore-not-found \
        --output name)
    if [ -n "$found" ]; then return; fi
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2> /dev/null
    run kubectl --context "$context" --namespace telemed-gateway create secret tls telemed-gateway-tls \
        --cert "$folder/certificate.pem" --key "$folder/key.pem"
}

install_charts() {
    step "The database"
    run helm --kube-context "$context" upgrade --install telemed-data charts/telemed-data --namespace telemed-data \
        --values charts/telemed-data/examples/local.yaml --wait --timeout 5m
    # The operator makes what the chart only describes.
    run kubectl --context "$context" --namespace telemed-data wait cluster/telemed-data --for condition=Ready --timeout 10m
    run kubectl --context "$context" --namespace telemed-data rollout status deployment/telemed-data-pooler-rw --timeout 5m
    step "The application"
    run helm --kube-context "$context" upgrade --install telemed charts/telemed --namespace telemed \
        --values k8s/kind/telemed.yaml --set-string secretsRevision="$(revision)" --wait --timeout 10m
    step "The test: a doctor publishes, a patient books, and all of it is taken back"
    run helm --kube-context "$context" test telemed --namespace telemed --logs --timeout 5m
}

# The image keeps its name while its content changes: another content, other pods.
revision() {
    if $is_dry; then
        printf '(of the image)'
        return
    fi
    docker image inspect --format '{{slice .Id 7 19}}' "$IMAGE"
}

step() {
    say "== $1"
}

run() {
    printf '+ %s\n' "$*"
    if ! $is_dry; then "$@"; fi
}

say() {
    printf '%s\n' "$1"
}

fail() {
    printf 'k8s/kind/up.sh: %s\n' "$1" >&2
    exit 1
}

main "$@"
