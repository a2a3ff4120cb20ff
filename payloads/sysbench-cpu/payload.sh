#!/bin/sh
# Prime numbers by trial division, as `sysbench cpu` measures it.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

for tool in awk sysbench; do
    command -v "$tool" >/dev/null || { echo "sysbench-cpu: $tool is not installed; install the package $tool" >&2; exit 127; }
done

seconds=${SYSBENCH_SECONDS:-10}
threads=${SYSBENCH_THREADS:-all}
max_prime=${SYSBENCH_MAX_PRIME:-10000}
if [ "$threads" = all ]; then
    threads=0
    while read -r key _; do
        case $key in cpu[0-9]*) threads=$((threads + 1)) ;; esac
    done </proc/stat
fi

output=$(sysbench cpu --threads="$threads" --time="$seconds" --cpu-max-prime="$max_prime" --percentile=99 run) || {
    echo "sysbench-cpu: sysbench failed: $output" >&2
    exit 1
}
printf '%s\n' "$output"
printf '%s\n' "$output" | awk '
    /events per second:/ { events = $NF }
    /^ *avg:/ { average = $NF }
    /^ *99th percentile:/ { slow = $NF }
    /^ *max:/ { slowest = $NF }
    END {
        if (events == "" || average == "" || slow == "" || slowest == "") {
            print "sysbench-cpu: figures are missing in the output of sysbench" > "/dev/stderr"
            exit 1
        }
        print "virtmark: metric events " events " events/s better=higher"
        print "virtmark: metric latency/mean " average " ms better=lower"
        print "virtmark: metric latency/p99 " slow " ms better=lower"
        print "virtmark: metric latency/max " slowest " ms better=lower"
    }'
