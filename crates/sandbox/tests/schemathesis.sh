#!/bin/sh
# Holds a running service to its own OpenAPI document: schemathesis makes requests that follow it and that break it, and
# checks every answer against it.
#
#   tests/schemathesis.sh http://127.0.0.1:8080
#
# SCHEMATHESIS is the program (default: st in the PATH; it comes with `pip install schemathesis`), TOKEN the token of
# the service when it has one, EXAMPLES the number of requests per operation and phase (default 40).
set -eu

url=${1:?"usage: $0 URL"}
program=${SCHEMATHESIS:-st}
command -v "$program" > /dev/null || {
    echo "$0: there is no $program; install it by \`pip install schemathesis\`, or name it in SCHEMATHESIS" >&2
    exit 127
}

configuration=$(cd "$(dirname "$0")" && pwd)/schemathesis.toml
# A directory of its own: schemathesis keeps what it found where it is started, and would try that first next time.
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

set -- --config-file "$configuration" run "$url/openapi.json" --url "$url" --checks all --phases examples,coverage,fuzzing,stateful \
    --max-examples "${EXAMPLES:-40}" --seed 1 --workers 1 --request-timeout 60 --wait-for-schema 10 --no-color
if [ -n "${TOKEN:-}" ]; then
    set -- "$@" --header "Authorization: Bearer $TOKEN"
fi
"$program" "$@"
