#!/bin/sh
# Takes the cluster of k8s/kind/up.sh away, with everything in it. k8s/kind/down.sh [NAME]
set -eu

name=${1:-telemed}
command -v kind > /dev/null || {
    echo "k8s/kind/down.sh: kind is needed and is not on PATH." >&2
    exit 1
}
kind delete cluster --name "$name"
