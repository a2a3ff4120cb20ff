#!/usr/bin/env bash
# Runs tests where KVM is: in the lab, or directly on a host whose KVM works.
#
#   lab/test.sh all     every test that needs KVM
#   lab/test.sh short   one start of the lab, doctor and what KVM has a part in of the driver's conformance suite; a host
#                       that can have no lab is told in one line, and is no failure
#   lab/test.sh boots   LAB_BOOTS (100) boots in a row under KVM, none of which may fail
#
# LAB_PROFILE is Cargo's profile, dev when not set. Nothing is left in any case.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
cargo=${CARGO:-cargo}
profile=${LAB_PROFILE:-dev}
case $profile in dev) directory=debug ;; *) directory=$profile ;; esac
virtmark=$PWD/target/$directory/virtmark
began=$SECONDS

die() {
    echo "lab: $*" >&2
    exit 1
}

# This host can have no lab.
cannot() {
    [ "$what" = short ] || die "$*"
    echo "lab: SKIPPED, nothing has run under KVM: $*" >&2
    exit 0
}

case $what in all | short | boots) ;; *) die "no such set of tests: $what (all, short, boots)" ;; esac

"$cargo" build --profile "$profile" --locked --quiet --bin virtmark
# The last build of the suite, as Cargo names it.
conformance=$("$cargo" test --locked --package virtmark-driver-qemu --test real_conformance --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*real_conformance-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$conformance" ] || die "the conformance suite was not built"
"$cargo" test --locked --quiet --package virtmark-lab --no-run

if "$virtmark" --quiet doctor 2>/dev/null | grep -q 'KVM runs guests *yes'; then
    echo "lab: KVM works on this host: running directly, without the lab" >&2
    case $what in
        all)
            "$conformance" --nocapture --test-threads=1
            "$virtmark" lifecycle --accel kvm --iterations 1 --warmup 0 >/dev/null
            ;;
        short) "$conformance" --nocapture --exact real_machines_conform ;;
        boots) "$virtmark" tti --accel kvm --iterations "${LAB_BOOTS:-100}" --warmup 0 --timeout 60s >/dev/null ;;
    esac
    exit 0
fi

said=$(guest/setup-lab.sh 2>&1) || cannot "$(tail -n 1 <<<"$said")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0
"$virtmark" lab up --share "$conformance=bin/real_conformance" 2>"$log" || code=$?
case $code in
    0) cat "$log" >&2 ;;
    # Too little memory or disk, or something that the lab is made with does not work here.
    13 | 14 | 24) cannot "$(tail -n 1 "$log")" ;;
    *)
        cat "$log" >&2
        die "the lab did not start"
        ;;
esac
trap 'rm -f "$log"; "$virtmark" --quiet lab down >/dev/null 2>&1 || true' EXIT
trap 'exit 130' HUP INT TERM
export LAB_VIRTMARK=$virtmark

tests() {
    "$cargo" test --locked --package virtmark-lab "$@"
}
case $what in
    # The short pass is part of the whole suite.
    all) tests --test real_lab --test real_bad_days -- --ignored --test-threads=1 --skip real_driver_conforms_in_short ;;
    short) tests --test real_lab -- --ignored --test-threads=1 real_doctor real_driver_conforms_in_short ;;
    boots)
        "$virtmark" lab exec -- virtmark tti --accel kvm --iterations "${LAB_BOOTS:-100}" --warmup 0 --timeout 60s >/dev/null
        ;;
esac
echo "lab: $what passed under KVM, nested in emulation, in $((SECONDS - began)) s" >&2
