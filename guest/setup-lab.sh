#!/bin/sh
# Installs what making the lab's disks needs beyond `make setup`. Quiet where everything is there.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need mmdebstrap mmdebstrap
need depmod kmod
need mke2fs e2fsprogs
need tar tar
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup-lab: missing:$missing; the lab is a Debian made by mmdebstrap, install it by hand" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup-lab: missing:$missing; run: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "setup-lab: installing$missing" >&2
log=$(mktemp)
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
    >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "setup-lab: apt-get could not install$missing; its whole output is in $log" >&2
    exit 1
fi
rm -f "$log"
