#!/bin/sh
# Unpacks Debian's small kernel for virtual machines into the cache, without installing it and without privileges.
#
#   guest/fetch-kernel.sh [CACHE_DIR]
#
# The kernel ends up in CACHE_DIR/kernels/PACKAGE_VERSION/ and appears there whole or not at all.
# Without an argument the cache is where virtmark itself looks for it.
# Says nothing when the kernel is there already.

set -eu

die() {
    echo "fetch-kernel: $*" >&2
    exit 1
}

alternatives='use another kernel with --kernel FILE --modules DIR, or this machine'\''s own with --kernel host'

case $(uname -m) in
    x86_64) flavour=cloud-amd64 ;;
    *) die "there is no guest kernel for $(uname -m) yet" ;;
esac

if [ $# -gt 0 ]; then
    cache=$1
elif [ -n "${VIRTMARK_CACHE:-}" ]; then
    cache=$VIRTMARK_CACHE
elif [ -n "${XDG_CACHE_HOME:-}" ]; then
    cache=$XDG_CACHE_HOME/virtmark
elif [ -n "${HOME:-}" ]; then
    cache=$HOME/.cache/virtmark
else
    die "no place for the kernel: name a directory, or set VIRTMARK_CACHE"
fi
kernels=$cache/kernels

# Any unpacked kernel will do: a newer one is fetched by removing the old, so that measurements do not change unasked.
for kernel in "$kernels"/linux-image-*-"$flavour"_*/boot/vmlinuz-*; do
    [ -f "$kernel" ] && exit 0
done

for tool in apt-cache apt-get dpkg-deb; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is missing, so Debian's kernel cannot be fetched: $alternatives"
done

# The package linux-image-cloud-* is empty and depends on the one with the current kernel.
package=$(LC_ALL=C apt-cache depends --important "linux-image-$flavour" 2>/dev/null |
    sed -n "s/^ *Depends: *\(linux-image-[0-9].*-$flavour\)\$/\1/p" | head -n 1)
[ -n "$package" ] || die "apt does not know linux-image-$flavour (not Debian, or its lists are empty: try apt-get update): $alternatives"

mkdir -p "$kernels" || die "cannot create $kernels"
work=$(mktemp -d "$kernels/.tmp-XXXXXX") || die "cannot write to $kernels"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

# apt drops its privileges for downloads, and then may not write into a directory of root.
if [ "$(id -u)" -eq 0 ]; then
    set -- -o APT::Sandbox::User=root
else
    set --
fi
(cd "$work" && apt-get -qq "$@" download "$package" >log 2>&1) ||
    die "cannot download $package: $(grep -v '^$' "$work/log" | tail -n 1) (no network? $alternatives)"

deb=$(find "$work" -name '*.deb')
version=$(dpkg-deb --field "$deb" Version)
dpkg-deb -x "$deb" "$work/root" || die "cannot unpack $package into $kernels"
chmod 755 "$work/root"

target=$kernels/${package}_$version
mv -T "$work/root" "$target" 2>/dev/null || [ -d "$target/boot" ] || die "cannot create $target"
echo "fetch-kernel: $target"
