#!/bin/sh
# Installs what is needed beyond the Python environment; silent when it is there already:
#
#   packages.sh "make twin-deps" pgbouncer haproxy promtool:prometheus
#
# The first word is the command that it speaks of; the others are programs, with the Debian package where that has another name.
set -eu

for_whom="$1"
shift
PATH="$PATH:/usr/sbin:/usr/local/sbin"
missing=""
for one in "$@"; do
    command -v "${one%%:*}" >/dev/null 2>&1 || missing="$missing ${one##*:}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "$for_whom installs with apt, which this machine does not have. Please install:$missing" >&2
    echo "(macOS: brew install$missing; Fedora: dnf install$missing)" >&2
    exit 1
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
        echo "$for_whom needs root or sudo without a password. Please run: sudo apt-get install$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi

echo "Installing$missing …"
log="$(mktemp)"
policy=/usr/sbin/policy-rc.d
# The packages would start services of their own on this machine: forbidden (101) while they are installed.
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    trap '$as_root rm -f "$policy"; rm -f "$log"' EXIT
else
    trap 'rm -f "$log"' EXIT
fi
# shellcheck disable=SC2086 # one word for each package
install() {
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}
if ! install >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
for one in "$@"; do
    command -v "${one%%:*}" >/dev/null 2>&1 || { echo "${one%%:*} is still missing" >&2; exit 1; }
done
