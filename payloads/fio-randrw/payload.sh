#!/bin/sh
# Random reads and writes as fio measures them. The file that it makes is its own, and is removed.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

for tool in awk fio rm; do
    command -v "$tool" >/dev/null || { echo "fio-randrw: $tool is not installed; install the package $tool" >&2; exit 127; }
done

file=$BENCH_ROOT/fio-randrw.data
trap 'rm -f "$file"' EXIT
trap 'exit 1' HUP INT TERM

output=$(fio --name=randrw --filename="$file" --rw=randrw --rwmixread=50 --ioengine=libaio \
    --size="${FIO_SIZE:-256M}" --bs="${FIO_BLOCK:-4k}" --iodepth="${FIO_DEPTH:-16}" --direct="${FIO_DIRECT:-1}" \
    --runtime="${FIO_SECONDS:-30}" --time_based --output-format=terse --terse-version=3) || {
    echo "fio-randrw: fio failed (a file system without direct I/O needs FIO_DIRECT=0): $output" >&2
    exit 1
}
printf '%s\n' "$output"
# HOWTO of fio, "Terse output", version 3: what reads did begins at field 6, what writes did at 47, in KiB/s and us.
printf '%s\n' "$output" | awk -F';' '
    function percentile(from, name,    field, parts) {
        for (field = from; field < from + 20; field++) {
            split($field, parts, "%=")
            if (parts[1] + 0 == name) return parts[2]
        }
        return ""
    }
    function tell(kind, from,    slow) {
        slow = percentile(from + 12, 99)
        if ($(from + 2) == "" || slow == "") { bad = 1; return }
        print "virtmark: metric " kind "/bandwidth " $(from + 1) " KiB/s better=higher"
        print "virtmark: metric " kind "/operations " $(from + 2) " operations/s better=higher"
        print "virtmark: metric " kind "/latency/mean " $(from + 10) " us better=lower"
        print "virtmark: metric " kind "/latency/p99 " slow " us better=lower"
    }
    $1 == 3 { found = 1; if ($5 != 0) bad = 1; tell("read", 6); tell("write", 47) }
    END {
        if (found && !bad) exit 0
        print "fio-randrw: figures are missing in the output of fio, or it counted errors" > "/dev/stderr"
        exit 1
    }'
