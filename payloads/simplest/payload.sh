#!/bin/sh
# The least that a payload can do.
set -eu
read -r uptime _ </proc/uptime
echo "hello from $BENCH_ROOT"
echo "virtmark: metric uptime $uptime s"
