#!/bin/sh
# Installs what virtmark needs to build and to boot guests, and fetches the guest kernel. Quiet where everything is
# there; without root it says in one line what to install.
set -eu

here=$(dirname "$0")
PATH=$PATH:/usr/sbin:/sbin
missing=
need() { # FILE-OR-PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing="$missing $2"
}

case $(uname -m) in
    x86_64) need qemu-system-x86_64 qemu-system-x86 ;;
    *) echo "setup: virtmark runs guests on x86_64 only, not on $(uname -m)" >&2; exit 1 ;;
esac
need cc build-essential
need mke2fs e2fsprogs
need git git
# The image bench: a Debian in a file, and a key to its machines.
need mmdebstrap mmdebstrap
need depmod kmod
need tar tar
need ssh-keygen openssh-client
# Files of root are made by others with help.
[ "$(id -u)" -eq 0 ] || need fakeroot fakeroot
# The guest has no libraries: only a static busybox runs there.
if ! { [ -x /bin/busybox ] && dpkg-query -W -f='${Status}' busybox-static 2>/dev/null | grep -q 'ok installed'; }; then
    missing="$missing busybox-static"
fi

# What a newcomer did not ask for: only where tests are to run against the real ones.
if [ -n "${CI:-}" ]; then
    need chromium chromium
    need fio fio
    need iperf3 iperf3
    need openssl openssl
    need ping iputils-ping
    need prometheus prometheus
    need redis-server redis-server
    need /usr/sbin/sshd openssh-server
    need sysbench sysbench
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: missing:$missing; install the packages of these names by hand, there is no apt-get here" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: missing:$missing; run: sudo apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    echo "setup: installing$missing" >&2
    log=$(mktemp)
    # Package lists may be absent or old on a fresh machine.
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends $missing; } \
        >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "setup: apt-get could not install$missing; its whole output is in $log" >&2
        exit 1
    fi
    rm -f "$log"
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: there is no cargo; install Rust from https://rustup.rs" >&2
    exit 1
fi

# Speaks to the sandbox service as its API document says, and as it does not.
tools=$here/../target/tools
if [ -n "${CI:-}" ] && ! [ -x "$tools/bin/schemathesis" ]; then
    echo "setup: installing schemathesis" >&2
    python3 -m venv "$tools"
    "$tools/bin/pip" --quiet --disable-pip-version-check install "schemathesis==4.32.5"
fi

# The lists that name the kernel package may be absent or old where every other package was there.
if ! "$here/fetch-kernel.sh" 2>/dev/null; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get -qq update || true
    fi
    "$here/fetch-kernel.sh"
fi
