//! Checks of snapshots and of the machines that go on from them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Check, Failure, Finding, Subject, Test, ensure, names, spec, started};
use crate::{Capability, Command, Disk, GuestLink, Machine, MachineSpec, Snapshot};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "snapshots_restore_to_the_same_guest",
        needs: &[Capability::Snapshot, Capability::Restore],
        test: Test::Alone(same_guest),
    },
    Check {
        name: "restored_guests_are_their_own",
        needs: &[Capability::Snapshot, Capability::Restore],
        test: Test::Alone(their_own),
    },
    Check {
        name: "restored_guests_can_be_kept_again",
        needs: &[Capability::Snapshot, Capability::Restore],
        test: Test::Alone(kept_again),
    },
    Check {
        name: "disks_belong_to_their_snapshot",
        needs: &[Capability::Disks, Capability::Snapshot, Capability::Restore],
        test: Test::Alone(disks),
    },
    Check {
        name: "damaged_snapshots_are_refused",
        needs: &[Capability::Snapshot, Capability::Restore],
        test: Test::Alone(damaged),
    },
    Check {
        name: "cooled_snapshots_restore",
        needs: &[Capability::CoolSnapshot, Capability::Snapshot, Capability::Restore],
        test: Test::Alone(cooled),
    },
];

/// How far a restored guest's wall clock may be from the host's: its guest may be slow to be told.
const CLOCK_TOLERANCE_NS: u64 = 1_000_000_000;

fn same_guest(subject: &Subject<'_>) -> Finding {
    let mut source = started(subject, "source")?;
    let guest = source.guest()?;
    run(&*guest, "echo before > /tmp/kept")?;
    let (snapshot, timeline) = source.snapshot(&subject.scratch.join("conformance-snapshot"))?;
    ensure!(
        names(&timeline) == ["prepare", "pause", "save", "resume", "store"],
        "phases of snapshot are {:?}",
        names(&timeline)
    );
    ensure!(run(&*guest, "cat /tmp/kept")? == b"before\n", "the source lost its file");
    ensure!(source.snapshot(&snapshot.directory).is_err(), "a snapshot was taken in the place of another");
    run(&*guest, "echo after > /tmp/kept")?;

    let (first, timeline) = subject.hypervisor.restore(&snapshot, &spec(subject, "restored"))?;
    ensure!(
        names(&timeline) == ["prepare", "spawn", "load", "connect", "identity"],
        "phases of restore are {:?}",
        names(&timeline)
    );
    let guest_of_first = first.guest()?;
    ensure!(run(&*guest_of_first, "cat /tmp/kept")? == b"before\n", "a restored guest sees a later change");
    run(&*guest_of_first, "echo own > /tmp/kept")?;
    let second = restored(subject, &snapshot, "again")?;
    ensure!(
        run(&*second.guest()?, "cat /tmp/kept")? == b"before\n",
        "one restored guest sees the other's change"
    );
    ensure!(run(&*guest, "cat /tmp/kept")? == b"after\n", "the source sees a restored guest's change");
    drop((first, second, source));
    discard(subject, snapshot)
}

fn their_own(subject: &Subject<'_>) -> Finding {
    let mut source = started(subject, "source")?;
    let (snapshot, _) = source.snapshot(&subject.scratch.join("conformance-own"))?;
    source.destroy()?;
    let mut seen: Vec<[Vec<u8>; 3]> = Vec::new();
    for name in ["own-1", "own-2"] {
        let machine = restored(subject, &snapshot, name)?;
        let guest = machine.guest()?;
        // The first command, before anything else could have changed what the kernel draws from.
        let random = run(&*guest, "head -c 32 /dev/urandom")?;
        ensure!(random.len() == 32, "{} random bytes came", random.len());
        let hostname = run(&*guest, "cat /proc/sys/kernel/hostname")?;
        ensure!(
            hostname == format!("{}\n", machine.name()).as_bytes(),
            "the hostname of {} is {:?}",
            machine.name(),
            String::from_utf8_lossy(&hostname)
        );
        let id = run(&*guest, "cat /etc/machine-id")?;
        ensure!(
            id.len() == 33 && id[..32].iter().all(u8::is_ascii_hexdigit),
            "the machine id is {:?}",
            String::from_utf8_lossy(&id)
        );
        let (before, clock, after) = (host_realtime_ns()?, guest.clock()?, host_realtime_ns()?);
        ensure!(
            (before.saturating_sub(CLOCK_TOLERANCE_NS)..=after + CLOCK_TOLERANCE_NS)
                .contains(&clock.realtime_ns),
            "its wall clock says {}, the host's {before} to {after}",
            clock.realtime_ns
        );
        seen.push([random, hostname, id]);
    }
    for (number, what) in ["random bytes", "hostname", "machine id"].iter().enumerate() {
        ensure!(seen[0][number] != seen[1][number], "two guests have the same {what}");
    }
    discard(subject, snapshot)
}

fn kept_again(subject: &Subject<'_>) -> Finding {
    let mut source = started(subject, "source")?;
    run(&*source.guest()?, "echo first > /tmp/first")?;
    let (first, _) = source.snapshot(&subject.scratch.join("conformance-first"))?;
    drop(source);
    let mut machine = restored(subject, &first, "kept")?;
    run(&*machine.guest()?, "echo second > /tmp/second")?;
    let (second, _) = machine.snapshot(&subject.scratch.join("conformance-second"))?;
    run(&*machine.guest()?, "echo later > /tmp/second")?;
    drop(machine);
    // The second must not need the first.
    discard(subject, first)?;
    let machine = restored(subject, &second, "kept-again")?;
    let kept = run(&*machine.guest()?, "cat /tmp/first /tmp/second")?;
    ensure!(kept == b"first\nsecond\n", "it knows {:?}", String::from_utf8_lossy(&kept));
    drop(machine);
    discard(subject, second)
}

fn disks(subject: &Subject<'_>) -> Finding {
    let disks = ["first", "second"].map(|name| Disk { name: name.into(), size_bytes: 16 << 20 });
    let spec = |name: &str| MachineSpec { disks: disks.to_vec(), ..spec(subject, name) };
    let hypervisor = subject.hypervisor;
    let (mut source, _) = hypervisor.create(&spec("source"))?;
    source.start()?;
    write(&*source, "kept")?;
    let (snapshot, _) = source.snapshot(&subject.scratch.join("conformance-disks"))?;
    ensure!(read(&*source)? == "kept", "after the snapshot, the source's disk says {}", read(&*source)?);
    write(&*source, "later")?;

    let (first, _) = hypervisor.restore(&snapshot, &spec("disk-1"))?;
    ensure!(read(&*first)? == "kept", "restored while the source went on, a disk says {}", read(&*first)?);
    write(&*first, "own")?;
    ensure!(read(&*source)? == "later", "the source's disk says {}", read(&*source)?);
    let (mut second, _) = hypervisor.restore(&snapshot, &spec("disk-2"))?;
    ensure!(read(&*second)? == "kept", "restored beside another, a disk says {}", read(&*second)?);
    drop((first, source));
    write(&*second, "second")?;
    let (third, _) = hypervisor.restore(&snapshot, &spec("disk-3"))?;
    ensure!(read(&*third)? == "kept", "restored after all others, a disk says {}", read(&*third)?);
    drop(third);

    // A snapshot of a restored machine, which then goes on and is kept once more, while the one it came from goes.
    let (again, _) = second.snapshot(&subject.scratch.join("conformance-disks-again"))?;
    discard(subject, snapshot)?;
    write(&*second, "third")?;
    let (last, _) = second.snapshot(&subject.scratch.join("conformance-disks-last"))?;
    write(&*second, "fourth")?;
    for (snapshot, expected) in [(again, "second"), (last, "third")] {
        let (machine, _) = hypervisor.restore(&snapshot, &spec("disk-again"))?;
        ensure!(read(&*machine)? == expected, "kept with {expected}, a disk says {}", read(&*machine)?);
        drop(machine);
        discard(subject, snapshot)?;
    }
    ensure!(read(&*second)? == "fourth", "without its snapshots, a disk says {}", read(&*second)?);
    let other = MachineSpec { disks: disks[..1].to_vec(), ..spec("disk-other") };
    let (snapshot, _) = second.snapshot(&subject.scratch.join("conformance-disks-other"))?;
    ensure!(hypervisor.restore(&snapshot, &other).is_err(), "a machine with other disks was restored");
    discard(subject, snapshot)
}

fn damaged(subject: &Subject<'_>) -> Finding {
    let mut source = started(subject, "source")?;
    let (snapshot, _) = source.snapshot(&subject.scratch.join("conformance-damaged"))?;
    drop(source);
    let failed = |error: std::io::Error| Failure(format!("cannot damage a snapshot: {error}"));
    for entry in fs::read_dir(&snapshot.directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        invert_middle(&path).map_err(failed)?;
        ensure!(
            subject.hypervisor.restore(&snapshot, &spec(subject, "damaged")).is_err(),
            "a machine was restored although {} was damaged",
            path.display()
        );
        invert_middle(&path).map_err(failed)?;
    }
    drop(restored(subject, &snapshot, "whole")?);
    discard(subject, snapshot)
}

fn cooled(subject: &Subject<'_>) -> Finding {
    let mut source = started(subject, "source")?;
    run(&*source.guest()?, "echo kept > /tmp/kept")?;
    let (snapshot, _) = source.snapshot(&subject.scratch.join("conformance-cooled"))?;
    drop(source);
    subject.hypervisor.cool(&snapshot)?;
    let machine = restored(subject, &snapshot, "cooled")?;
    ensure!(run(&*machine.guest()?, "cat /tmp/kept")? == b"kept\n", "a cooled snapshot lost its content");
    drop(machine);
    discard(subject, snapshot)
}

/// A machine that goes on from a snapshot.
fn restored(subject: &Subject<'_>, snapshot: &Snapshot, name: &str) -> Result<Box<dyn Machine>, Failure> {
    Ok(subject.hypervisor.restore(snapshot, &spec(subject, name))?.0)
}

/// Removes a snapshot and sees that it is gone.
fn discard(subject: &Subject<'_>, snapshot: Snapshot) -> Finding {
    let directory = snapshot.directory.clone();
    subject.hypervisor.discard(snapshot)?;
    ensure!(!directory.exists(), "{} is there after it was discarded", directory.display());
    Ok(())
}

/// Runs a line, which must succeed, and gives its output.
fn run(guest: &dyn GuestLink, line: &str) -> Result<Vec<u8>, Failure> {
    let output = guest.exec(&Command::shell(line))?;
    if output.success() {
        return Ok(output.stdout);
    }
    Err(Failure(format!(
        "`{line}` ended with {:?}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// Names the disk whose serial number is `second` in the shell's variable `d`.
const FIND: &str =
    "for s in /sys/block/*/serial; do [ \"$(cat $s)\" = second ] && d=${s%/serial} && d=/dev/${d##*/}; done;";

/// Writes a word on both ends of a disk, and brings it there.
fn write(machine: &dyn Machine, word: &str) -> Finding {
    let line = format!(
        "{FIND} for at in 0 15; do echo {word} | dd of=$d bs=1M seek=$at conv=sync,notrunc,fsync 2>/dev/null; done"
    );
    run(&*machine.guest()?, &line).map(drop)
}

/// The word that is on both ends of a disk; both, when they differ.
fn read(machine: &dyn Machine) -> Result<String, Failure> {
    let line = format!(
        "{FIND} echo 3 > /proc/sys/vm/drop_caches; for at in 0 15; do dd if=$d bs=1M skip=$at count=1 2>/dev/null | head -n 1; done"
    );
    let output = run(&*machine.guest()?, &line)?;
    let mut words: Vec<&str> = std::str::from_utf8(&output).unwrap_or("what is no text").lines().collect();
    words.dedup();
    Ok(words.join(" and "))
}

fn invert_middle(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (at, mut byte) = (file.metadata()?.len() / 2, [0]);
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[!byte[0]], at)
}

fn host_realtime_ns() -> Result<u64, Failure> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    // 2^64 ns are 584 years.
    since_1970.map(|time| time.as_nanos() as u64).map_err(|error| Failure(error.to_string()))
}
