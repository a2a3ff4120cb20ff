#!/bin/sh
# A life with a known course: CPU burst 28 %, idle 17 %, I/O 28 %, mixed the rest of `workload_duration=N` seconds of
# the kernel command line (default 18). Each phase says its name when it starts; `end` when all is over.
# Only shell built-ins keep time, so that keeping it costs the same in every phase.

duration=18
for word in $(cat /proc/cmdline) "$@"; do
    case $word in
        workload_duration=*) duration=${word#*=} ;;
    esac
done
case $duration in
    '' | *[!0-9]*) echo "workload: workload_duration=$duration is not a number of seconds" >&2; exit 2 ;;
esac

# Hundredths of a second since boot.
now() {
    read -r up _ < /proc/uptime
    cs=$((${up%.*} * 100 + 1${up#*.} - 100))
}

disk=/dev/vda
[ -b $disk ] || disk=/tmp/workload

burn_until() {
    while now; [ "$cs" -lt "$1" ]; do
        i=0
        while [ $i -lt 200 ]; do i=$((i + 1)); done
    done
}

write_until() {
    while now; [ "$cs" -lt "$1" ]; do
        dd if=/dev/zero of=$disk bs=64k count=16 conv=notrunc,fsync 2>/dev/null
        dd if=$disk of=/dev/null bs=64k count=16 2>/dev/null
    done
}

now
start=$cs
burst=$((start + duration * 28))
idle=$((start + duration * 45))
io=$((start + duration * 73))
end=$((start + duration * 100))

echo cpu_burst
burn_until $burst
echo idle
now
left=$((idle - cs))
[ $left -gt 0 ] && sleep $((left / 100)).$(printf %02d $((left % 100)))
echo io
write_until $io
echo mixed
while now; [ "$cs" -lt "$end" ]; do
    burn_until $((cs + 50 < end ? cs + 50 : end))
    write_until $((cs + 50 < end ? cs + 50 : end))
done
echo end
