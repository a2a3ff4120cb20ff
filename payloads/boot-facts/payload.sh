#!/bin/sh
# Facts about the machine from /proc and /sys, and the boot as systemd took its time.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

fact() { # NAME FILE
    if [ -r "$2" ] && IFS= read -r value <"$2" && [ -n "$value" ]; then echo "$1: $value"; fi
}
fact kernel /proc/version
fact command_line /proc/cmdline
fact clock_source /sys/devices/system/clocksource/clocksource0/current_clocksource
fact machine /sys/class/dmi/id/product_name
fact vendor /sys/class/dmi/id/sys_vendor
fact hypervisor /sys/hypervisor/type

cpus=0
forks=
while read -r key value _; do
    case $key in
        cpu[0-9]*) cpus=$((cpus + 1)) ;;
        processes) forks=$value ;;
    esac
done </proc/stat
memory=
while read -r key value _; do
    if [ "$key" = MemTotal: ]; then memory=$value; fi
done </proc/meminfo
read -r uptime _ </proc/uptime
[ "$cpus" -gt 0 ] && [ -n "$forks" ] && [ -n "$memory" ] || {
    echo "boot-facts: /proc/stat or /proc/meminfo lacks what every Linux has" >&2
    exit 1
}
echo "virtmark: metric cpus $cpus count"
echo "virtmark: metric memory $memory KiB"
echo "virtmark: metric forks $forks count"
echo "virtmark: metric uptime $uptime s"

# Microseconds since the kernel started; 0 where that point has not been reached.
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
    userspace=0
    finish=0
    while IFS='=' read -r key value; do
        case $key in
            UserspaceTimestampMonotonic) userspace=$value ;;
            FinishTimestampMonotonic) finish=$value ;;
        esac
    done <<END
$(systemctl show --property=UserspaceTimestampMonotonic --property=FinishTimestampMonotonic || true)
END
    if [ "$userspace" -gt 0 ]; then
        echo "virtmark: metric boot/kernel $userspace us better=lower"
    fi
    if [ "$finish" -gt "$userspace" ]; then
        echo "virtmark: metric boot/userspace $((finish - userspace)) us better=lower"
    else
        echo "boot: systemd has not finished yet"
    fi
fi
