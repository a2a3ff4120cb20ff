#!/usr/bin/env bash
# Runs tests where KVM is: in the lab, or directly on a host whose KVM works.
#
#   lab/test.sh all     every test that needs KVM
#   lab/test.sh short   one start of the lab, doctor and the driver's conformance suite
#   lab/test.sh boots   LAB_BOOTS (100) boots in a row under KVM, none of which may fail
#
# Says so and fails when this host can do neither. Nothing is left in any case.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
cargo=${CARGO:-cargo}
virtmark=$PWD/target/release/virtmark

die() {
    echo "lab: $*" >&2
    exit 1
}

"$cargo" build --release --locked --quiet --bin virtmark
# The last build of the suite, as Cargo names it.
conformance=$("$cargo" test --locked --package virtmark-driver-qemu --test real_conformance --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*real_conformance-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$conformance" ] || die "the conformance suite was not built"

if "$virtmark" --quiet doctor 2>/dev/null | grep -q 'KVM runs guests *yes'; then
    echo "lab: KVM works on this host: running directly, without the lab" >&2
    "$conformance" --nocapture --test-threads=1
    if [ "$what" = boots ]; then
        "$virtmark" tti --accel kvm --iterations "${LAB_BOOTS:-100}" --warmup 0 --timeout 60s >/dev/null
    elif [ "$what" = all ]; then
        "$virtmark" lifecycle --accel kvm --iterations 1 --warmup 0 >/dev/null
    fi
    exit 0
fi

# The CPU model is the one that the lab has; QEMU ends at once, or waits for its monitor's end.
if ! svm=$(echo quit | qemu-system-x86_64 -nodefaults -display none -S -accel tcg -cpu max,+svm,+npt,enforce \
    -monitor stdio 2>&1); then
    die "this host cannot run the lab: it has no working KVM, and its QEMU cannot emulate svm ($(echo "$svm" | tail -n 1))"
fi

trap '"$virtmark" --quiet lab down >/dev/null 2>&1 || true' EXIT
trap 'exit 130' HUP INT TERM
"$virtmark" lab up --share "$conformance=bin/real_conformance"
export LAB_VIRTMARK=$virtmark

tests() {
    "$cargo" test --locked --package virtmark-lab --test real_lab -- --ignored --test-threads=1 "$@"
}
case $what in
    all) tests ;;
    short) tests real_doctor real_driver_conforms ;;
    boots)
        "$virtmark" lab exec -- virtmark tti --accel kvm --iterations "${LAB_BOOTS:-100}" --warmup 0 --timeout 60s >/dev/null
        ;;
    *) die "no such set of tests: $what (all, short, boots)" ;;
esac
