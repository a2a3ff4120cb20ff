#!/bin/sh
# Started by the agent, in the background, when this file system is the root. SSH is there for whoever has the key that
# the kernel command line names (virtmark.authorized=KEY, ssh-ed25519 in base64); without one there is no server.
set -eu

key=
read -r line </proc/cmdline
for word in $line; do
    case $word in
        virtmark.authorized=*) key=${word#*=} ;;
    esac
done
[ -n "$key" ] || exit 0

mkdir -p -m 700 /root/.ssh
echo "ssh-ed25519 $key virtmark" >/root/.ssh/authorized_keys
mkdir -p -m 755 /run/sshd
# Every machine its own, made where it is used; a machine that goes on from a snapshot has that of the machine it was.
host_key=/etc/ssh/ssh_host_ed25519_key
[ -s $host_key.pub ] || ssh-keygen -q -t ed25519 -N '' -C '' -f $host_key
exec /usr/sbin/sshd -D -e
