#!/usr/bin/env bash
# Runs tests where KVM is: directly on a host whose KVM works, in the lab otherwise.
#
#   lab/test.sh all     every test that needs KVM, and those of the lab itself
#   lab/test.sh short   doctor, and what KVM has a part in of the driver's conformance suite; a host that has no KVM and
#                       can have no lab is told in one line, and is no failure
#   lab/test.sh boots   LAB_BOOTS (100) boots in a row under KVM, none of which may fail
#
# LAB_PROFILE is Cargo's profile, dev when not set. LAB_PACKAGES chooses what is built, with --workspace for instance
# where all tests will be built anyway. Nothing is left in any case.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
cargo=${CARGO:-cargo}
packages=${LAB_PACKAGES:---package virtmark --package virtmark-driver-qemu --package virtmark-lab}

die() {
    echo "lab: $*" >&2
    exit 1
}

case $what in all | short | boots) ;; *) die "no such set of tests: $what (all, short, boots)" ;; esac

# The packages are several words.
# shellcheck disable=SC2086
built=$("$cargo" test --profile "${LAB_PROFILE:-dev}" --locked --no-run --quiet \
    --message-format=json-render-diagnostics $packages) || die "the programs were not built"
executable() { # CRATE KIND NAME HASH
    local path
    # The program has tests of its own, whose file has a hash after its name.
    path=$(grep -F "/crates/$1/Cargo.toml\"" <<<"$built" | grep -F "\"kind\":[\"$2\"]" |
        sed -n "s|.*\"executable\":\"\([^\"]*/$3$4\)\".*|\1|p" | tail -n 1)
    [ -x "$path" ] || die "Cargo has not built $3"
    echo "$path"
}
LAB_VIRTMARK=$(executable cli bin virtmark '')
LAB_CONFORMANCE=$(executable drivers/qemu test real_conformance '-[^"/]*')
real_kvm=$(executable lab test real_kvm '-[^"/]*')
real_lab=$(executable lab test real_lab '-[^"/]*')
real_bad_days=$(executable lab test real_bad_days '-[^"/]*')
export LAB_VIRTMARK LAB_CONFORMANCE
building=$SECONDS

run() { # TESTS ARGUMENTS...
    "$1" --ignored --test-threads=1 "${@:2}"
}
boots() { # PREFIX...
    "$@" tti --accel kvm --iterations "${LAB_BOOTS:-100}" --warmup 0 --timeout 60s >/dev/null
}
passed() { # WHERE
    echo "lab: $what passed $1 in $((SECONDS - building)) s (after $building s of building)" >&2
}

# Says what it found out on standard error.
place=$("$LAB_VIRTMARK" lab where) || die "it cannot be found out where KVM works"
if [ "$place" = this-host ]; then
    echo "lab: KVM works on this host: running directly, without the lab" >&2
    export LAB_DIRECT=1
    case $what in
        # The short pass is part of the whole suite.
        all) run "$real_kvm" --skip real_driver_conforms_in_short ;;
        short) run "$real_kvm" real_doctor real_driver_conforms_in_short ;;
        boots) boots "$LAB_VIRTMARK" ;;
    esac
    passed "under this host's KVM"
    [ "$what" = all ] || exit 0
    unset LAB_DIRECT
fi

# This host can have no lab.
cannot() {
    if [ "$place" = this-host ]; then
        echo "lab: SKIPPED, the tests of the lab itself: $*" >&2
    elif [ "$what" = short ]; then
        echo "lab: SKIPPED, nothing has run under KVM: $*" >&2
    else
        die "$*"
    fi
    exit 0
}

said=$(guest/setup-lab.sh 2>&1) || cannot "$(tail -n 1 <<<"$said")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' HUP INT TERM
code=0
"$LAB_VIRTMARK" lab up --share "$LAB_CONFORMANCE=bin/real_conformance" 2>"$log" || code=$?
case $code in
    0) cat "$log" >&2 ;;
    # Too little memory or disk, or something that the lab is made with does not work here.
    13 | 14 | 24) cannot "$(tail -n 1 "$log")" ;;
    *)
        cat "$log" >&2
        die "the lab did not start"
        ;;
esac
trap 'rm -f "$log"; "$LAB_VIRTMARK" --quiet lab down >/dev/null 2>&1 || true' EXIT

case $what in
    all)
        [ "$place" = this-host ] || run "$real_kvm" --skip real_driver_conforms_in_short
        run "$real_lab"
        run "$real_bad_days"
        ;;
    short) run "$real_kvm" real_doctor real_driver_conforms_in_short ;;
    boots) boots "$LAB_VIRTMARK" lab exec -- virtmark ;;
esac
passed "in the lab (KVM nested in emulation)"
