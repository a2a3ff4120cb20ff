#!/bin/sh
# The speed of digests and ciphers, as `openssl speed` measures it.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

for tool in openssl sed; do
    command -v "$tool" >/dev/null || { echo "openssl: $tool is not installed; install the package openssl" >&2; exit 127; }
done

seconds=${OPENSSL_SECONDS:-3}
bytes=${OPENSSL_BYTES:-16384}
digests=${OPENSSL_DIGESTS:-sha256 sha512}
ciphers=${OPENSSL_CIPHERS:-aes-256-gcm chacha20-poly1305}

openssl version

measure() { # KIND NAME
    # The last line of the machine's form is +F:NUMBER:NAME:BYTES-PER-SECOND.
    output=$(openssl speed -mr -elapsed -seconds "$seconds" -bytes "$bytes" -evp "$2" 2>&1) || {
        echo "openssl: cannot measure $2: $output" >&2
        exit 1
    }
    speed=$(printf '%s\n' "$output" | sed -n 's/^+F:[0-9]*:[^:]*:\([0-9.]*\)$/\1/p')
    [ -n "$speed" ] || { echo "openssl: no speed of $2 in: $output" >&2; exit 1; }
    echo "virtmark: metric $1/$2 $speed B/s better=higher"
}

for digest in $digests; do measure digest "$digest"; done
for cipher in $ciphers; do measure cipher "$cipher"; done
