#!/bin/sh
# Runs fuzz targets, one after the other: all, or those that are named. Each has FUZZ_SECONDS, and begins with what this
# repository has of its format. Needs cargo-fuzz and a nightly compiler. Ends with the first target that finds something.
set -eu
cd "$(dirname "$0")"

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "run.sh: cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2
    exit 1
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "run.sh: a nightly compiler is missing: rustup toolchain install nightly" >&2
    exit 1
fi

# Directories with examples of what a target reads.
examples() {
    case $1 in
    import_run) echo ../crates/archive/tests/golden ;;
    lint_payload | parse_manifest | parse_metrics) echo ../payloads ;;
    parse_mapping) echo ../crates/drivers/endpoint/mappings ;;
    parse_plan) echo ../plans ;;
    parse_suite) echo ../suites ;;
    parse_tool_output) echo ../crates/scenarios/tests/data/guest ;;
    read_sweep_csv) echo ../crates/scenarios/tests/sweep ;;
    esac
}

if [ $# = 0 ]; then
    # shellcheck disable=SC2046
    set -- $(cargo fuzz list)
fi
for target in "$@"; do
    echo "== $target"
    mkdir -p "corpus/$target"
    # shellcheck disable=SC2046
    cargo +nightly fuzz run "$target" "corpus/$target" $(examples "$target") -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1
done
