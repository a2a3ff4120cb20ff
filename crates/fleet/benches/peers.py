"""Compares `virtmark vmrun` with parallel-ssh and with OpenSSH's scp and ssh, on the machines of one `kvrun`.

    virtmark kvrun -n 8 --exec 'target/tools/parallel-ssh/bin/python crates/fleet/benches/peers.py VIRTMARK [ROUNDS [MIB]]'

Every round runs every way once, in an order that turns: a payload of next to nothing, for what a machine costs by itself, then one
of MIB (50) that does not compress, is brought to all machines, unpacked and run, and its output must be right on each. Standard output gets JSON: seconds, CPU time and largest resident set of the program on this host and its
children, of every run. `make bench-fleet` sets everything up.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = "/opt/benchkit"
# What vmrun does on the machines, but for the checksum, which the others leave out.
SCRIPT = f"mkdir -p {ROOT} && tar -xozf /var/tmp/payload.tgz -C {ROOT} && cd {ROOT} && env -i BENCH_ROOT={ROOT} ./payload.sh"


def machines():
    """Name, address and port of each, from kvrun's map."""
    found = []
    for line in open(os.environ["VIRTMARK_MAP"]):
        words = line.split("#")[0].split()
        if words:
            address, _, port = words[0].partition(":")
            found.append((words[1], address, int(port or 22)))
    return found


def parallel_ssh(payload):
    """One run by parallel-ssh; prints what the machines printed."""
    from gevent import joinall
    from pssh.clients import ParallelSSHClient
    from pssh.config import HostConfig

    key = json.load(open(os.environ["VIRTMARK_AUTH"]))["details"]["file"]
    places = machines()
    client = ParallelSSHClient(
        [address for _, address, _ in places],
        host_config=[HostConfig(user="root", port=port, private_key=key) for _, _, port in places],
        pool_size=len(places),
    )
    joinall(client.copy_file(payload, "/var/tmp/payload.tgz"), raise_error=True)
    output = client.run_command(SCRIPT)
    client.join(output)
    for host in output:
        print(*host.stdout, sep="\n")
        if host.exit_code != 0:
            sys.exit(f"{host.host}: exit code {host.exit_code}: {list(host.stderr)}")


def openssh(at_once):
    """A line of the shell: scp, then ssh, for one machine after the other or for all at once."""
    end = "&" if at_once else ";"
    options = "-q -F $VIRTMARK_SSH_CONFIG"
    each = f"scp {options} $1 $name:/var/tmp/payload.tgz && ssh {options} $name {shlex.quote(SCRIPT)}"
    names = " ".join(name for name, _, _ in machines())
    return ["sh", "-c", f"for name in {names}; do {{ {each}; }} {end} done; wait", "sh"]


def link(payload):
    """The bytes alone, to all at once: what the way there and the emulated processors allow."""
    names = " ".join(name for name, _, _ in machines())
    line = f"for name in {names}; do ssh -F $VIRTMARK_SSH_CONFIG $name 'cat >/dev/null; echo {{}}' <$1 & done; wait"
    return ["sh", "-c", line.replace("{}", expected(payload)), "sh", payload]


def ways(virtmark, place, payload, run):
    vmrun = [virtmark, "-q", "vmrun", "-H", os.environ["VIRTMARK_MAP"], "-A", os.environ["VIRTMARK_AUTH"]]
    return {
        "virtmark vmrun": vmrun + ["-o", place, "-U", f"run-{run}", payload],
        "parallel-ssh": [sys.executable, __file__, "--parallel-ssh", payload],
        "scp and ssh, one by one": openssh(False) + [payload],
        "scp and ssh, all at once": openssh(True) + [payload],
        "the bytes alone, by ssh": link(payload),
    }


def expected(payload):
    return os.path.basename(payload).removesuffix(".tgz")


def measured(command, place):
    """Runs it; gives seconds, CPU seconds and the largest resident set in KiB of it and its children."""
    with open(os.path.join(place, "stdout"), "w+b") as stdout:
        begun = time.monotonic()
        child = subprocess.Popen(command, stdout=stdout)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        said = stdout.read().decode()
    if child.returncode != 0:
        sys.exit(f"exit code {child.returncode}: {command}")
    return said, {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_kib": usage.ru_maxrss}


def pack(virtmark, place, name, mib):
    directory = os.path.join(place, name)
    os.mkdir(directory)
    with open(os.path.join(directory, "ballast"), "wb") as ballast:
        for _ in range(mib):
            ballast.write(os.urandom(1 << 20))
    entry = os.path.join(directory, "payload.sh")
    with open(entry, "w") as script:
        # The whole file is there, and its last byte was written.
        script.write(f"#!/bin/sh\n[ $(/usr/bin/wc -c <$BENCH_ROOT/ballast) = {mib << 20} ] && echo {name}\n")
    os.chmod(entry, 0o755)
    subprocess.run([virtmark, "-q", "payload", "pack", directory], cwd=place, check=True, stdout=sys.stderr)
    made = [file for file in os.listdir(place) if file.endswith(".tgz") and file.startswith(name)]
    file = os.path.join(place, f"{name}.tgz")
    os.rename(os.path.join(place, made[0]), file)
    return file


def compare(virtmark, place, payload, rounds):
    """All ways in turn."""
    count, runs = len(machines()), {}
    for number in range(rounds):
        offered = list(ways(virtmark, place, payload, f"{expected(payload)}-{number}").items())
        at = number % len(offered)
        for name, command in offered[at:] + offered[:at]:
            said, figures = measured(command, place)
            if name == "virtmark vmrun":
                result = os.path.join(place, f"run-{expected(payload)}-{number}", f"run-{expected(payload)}-{number}-result")
                said = open(result).read()
            right = said.splitlines().count(expected(payload))
            if right != count:
                sys.exit(f"{name}: right on {right} of {count} machines: {said}")
            print(f"{expected(payload)}, round {number}, {name}: {figures}", file=sys.stderr)
            runs.setdefault(name, []).append(figures)
    median = lambda name, figure: statistics.median(run[figure] for run in runs[name])
    own = median("virtmark vmrun", "seconds")
    return {
        name: {
            "seconds": median(name, "seconds"),
            "ours_to_this": own / median(name, "seconds"),
            "cpu_ms_per_machine": 1000 * median(name, "cpu_s") / count,
            "peak_mib": max(run["peak_kib"] for run in runs[name]) / 1024,
            "runs": runs[name],
        }
        for name in runs
    }


def main():
    if sys.argv[1] == "--parallel-ssh":
        return parallel_ssh(sys.argv[2])
    virtmark = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    mib = int(sys.argv[3]) if len(sys.argv) > 3 else 50
    with tempfile.TemporaryDirectory() as place:
        os.environ["VIRTMARK_ARCHIVE"] = os.path.join(place, "archive.sqlite")
        result = {"machines": len(machines()), "mib": mib, "rounds": rounds, "load": os.getloadavg()[0]}
        # First, as it also warms up what the machines and their emulation need for a connection.
        result["nothing"] = compare(virtmark, place, pack(virtmark, place, "small", 0), rounds)
        result["payload"] = compare(virtmark, place, pack(virtmark, place, "big", mib), rounds)
        json.dump(result, sys.stdout, indent=2)
        print()


main()
