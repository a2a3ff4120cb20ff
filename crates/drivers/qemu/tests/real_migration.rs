//! Machines that move to another QEMU process while they run, and those that cannot.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use virtmark_host::process::{kill_children_named, live_children};
use virtmark_hypervisor::{
    Command, Disk, Error, Machine, MachineSpec, MachineState, Migration, MigrationChannel, MigrationMode,
};
use virtmark_model::FailureClass;

use common::Place;

fn migration() -> Migration {
    Migration {
        mode: MigrationMode::PreCopy,
        channel: MigrationChannel::Unix,
        max_bandwidth_bytes: None,
        downtime_limit_ms: None,
        timeout: Duration::from_secs(60),
    }
}

/// What a line prints in the guest, where it must succeed.
fn run(machine: &dyn Machine, line: &str) -> String {
    let output = machine.guest().unwrap().exec(&Command::shell(line)).unwrap();
    assert!(output.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn spec(place: &Place, name: &str) -> MachineSpec {
    MachineSpec { memory_bytes: 256 << 20, snapshots: false, ..place.spec(name) }
}

fn processes() -> Vec<String> {
    live_children().into_iter().map(|child| child.name).collect()
}

/// Runs beside a migration that is under way.
fn meanwhile(act: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while processes().len() < 2 {
            assert!(Instant::now() < deadline, "no second process came");
            thread::sleep(Duration::from_millis(5));
        }
        // Long enough for the copy to have begun, and shorter than it takes at the speed that it is given.
        thread::sleep(Duration::from_secs(4));
        act();
    })
}

#[test]
fn real_a_machine_moves_with_all_it_has() {
    let place = Place::new();
    let disks = vec![Disk { name: "data".into(), size_bytes: 16 << 20 }];
    let mut machine = place.started(&MachineSpec { disks, ..spec(&place, "moves") });
    let guest = machine.guest().unwrap();
    run(&*machine, "head -c 32m /dev/urandom > /tmp/known && sha256sum /tmp/known > /tmp/sum");
    run(&*machine, "echo kept | dd of=/dev/vda conv=fsync 2>/dev/null");
    // In the background: what a link's command started and left is not that link's.
    run(&*machine, "(while :; do echo >> /tmp/lines; sleep 0.01; done) >/dev/null 2>&1 &");
    let name = run(&*machine, "cat /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id");
    let ways = [
        (MigrationMode::PreCopy, MigrationChannel::Unix),
        (MigrationMode::PostCopy, MigrationChannel::Unix),
        (MigrationMode::Multifd, MigrationChannel::Tcp),
    ];
    for (mode, channel) in ways {
        let moved = machine.migrate(&Migration { mode, channel, ..migration() });
        let moved = moved.unwrap_or_else(|error| panic!("{mode}: {error}"));
        eprintln!("{mode} by {channel}: {moved:?}");
        let phases: Vec<_> = moved.timeline.phases.iter().map(|phase| &*phase.name).collect();
        assert_eq!(phases, ["prepare", "spawn", "setup", "copy", "switch", "finish", "remove"]);
        assert!(moved.figures.transferred_bytes.unwrap() > 32 << 20);
        assert_eq!(processes().len(), 1, "{:?}", processes());
        assert_eq!(machine.state(), MachineState::Running);
        // The old link is closed, and the machine is the same.
        assert!(matches!(guest.clock(), Err(Error::AgentLost { .. })));
        assert!(run(&*machine, "cd /tmp; sha256sum -c sum").contains("OK"));
        assert_eq!(run(&*machine, "head -c 5 /dev/vda"), "kept\n");
        assert_eq!(run(&*machine, "cat /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id"), name);
        let before = run(&*machine, "wc -c < /tmp/lines; sleep 0.1");
        assert_ne!(before, run(&*machine, "wc -c < /tmp/lines"), "the work in the background stands still");
        let host_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128;
        let off = (host_ns - i128::from(machine.guest().unwrap().clock().unwrap().realtime_ns)).abs();
        assert!(off < 1_000_000_000, "its clock is {off} ns off");
    }
    let (snapshot, _) = machine.snapshot(&place.path("kept")).unwrap();
    assert_eq!(run(&*machine, "head -c 5 /dev/vda"), "kept\n");
    machine.destroy().unwrap();
    assert!(snapshot.disk_bytes > 0);
    assert_eq!(place.others_than(""), Vec::<String>::new());
}

#[test]
fn real_a_machine_stays_when_its_destination_dies_and_is_lost_when_it_dies_itself() {
    let place = Place::new();
    let mut machine = place.started(&spec(&place, "stays"));
    run(&*machine, "head -c 32m /dev/urandom > /tmp/known && sha256sum /tmp/known > /tmp/sum");
    let slow = Migration { max_bandwidth_bytes: Some(4 << 20), ..migration() };
    let killer = meanwhile(|| assert_eq!(kill_children_named("stays.1"), 1));
    let error = machine.migrate(&slow).unwrap_err();
    killer.join().unwrap();
    assert_eq!(error.class(), FailureClass::VmmExited, "{error}");
    assert!(error.to_string().contains("the destination is gone"), "{error}");
    assert!(error.to_string().contains("it goes on where it was"), "{error}");
    assert_eq!((machine.state(), processes()), (MachineState::Running, vec!["stays".into()]));
    assert!(run(&*machine, "cd /tmp; sha256sum -c sum").contains("OK"));

    let killer = meanwhile(|| assert_eq!(kill_children_named("stays"), 1));
    let error = machine.migrate(&slow).unwrap_err();
    killer.join().unwrap();
    assert!(matches!(error, Error::VmmExited { .. }), "{error}");
    assert_eq!((machine.state(), processes().len()), (MachineState::Stopped, 0));
    drop(machine);
    assert_eq!(place.others_than(""), Vec::<String>::new());
}

#[test]
fn real_a_guest_that_is_ahead_of_the_copy_stays_where_it_is() {
    let place = Place::new();
    let mut machine = place.started(&spec(&place, "ahead"));
    write_for_ever(&*machine);
    let short = Migration {
        max_bandwidth_bytes: Some(16 << 20),
        downtime_limit_ms: Some(10),
        timeout: Duration::from_secs(4),
        ..migration()
    };
    let error = machine.migrate(&short).unwrap_err();
    assert_eq!(error.class(), FailureClass::Timeout, "{error}");
    assert!(
        error.to_string().contains("still differed after") && error.to_string().contains("--mode post-copy"),
        "{error}"
    );
    assert_eq!((machine.state(), processes()), (MachineState::Running, vec!["ahead".into()]));
    assert_eq!(run(&*machine, "echo alive"), "alive\n");
    // The same guest goes when it is given the means.
    machine.migrate(&Migration { mode: MigrationMode::PostCopy, ..migration() }).unwrap();
    assert_eq!(run(&*machine, "echo alive"), "alive\n");
    drop(machine);
    assert_eq!(place.others_than(""), Vec::<String>::new());
}

/// Has the guest write 24 MB over and over. Not zeros, which are sent in next to no time.
fn write_for_ever(machine: &dyn Machine) {
    run(machine, "head -c 4m /dev/urandom > /tmp/4");
    run(machine, "cd /tmp; (while :; do cat 4 4 4 4 4 4 > again; done) >/dev/null 2>&1 &");
}

/// Moves a machine by post-copy, and ends the process of this name once the guest executes at the destination and has not
/// got all of its memory.
fn halved(machine: &mut dyn Machine, dies: &'static str) -> Error {
    write_for_ever(machine);
    let killer = thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !live_children().iter().any(|child| waits_for_pages(child.pid)) {
            assert!(Instant::now() < deadline, "it did not switch");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(kill_children_named(dies), 1);
    });
    let slow =
        Migration { mode: MigrationMode::PostCopy, max_bandwidth_bytes: Some(24 << 20), ..migration() };
    let error = machine.migrate(&slow).unwrap_err();
    killer.join().unwrap();
    error
}

/// Whether a process hears of pages of its guest's memory that are touched and not there (`um` in `proc(5)`), as QEMU does
/// from the switch on. When it begins it tries that out, with less memory than a guest has.
fn waits_for_pages(pid: i32) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut size_kb = 0;
    maps.lines().any(|line| match line.split_once(':') {
        Some(("Size", size)) => {
            size_kb = size.trim().trim_end_matches(" kB").parse().unwrap();
            false
        }
        Some(("VmFlags", flags)) => size_kb >= 64 << 10 && flags.split_whitespace().any(|flag| flag == "um"),
        _ => false,
    })
}

#[test]
fn real_a_machine_whose_memory_is_in_both_places_is_lost_with_either() {
    let place = Place::new();
    for (name, dies, gone) in [("halved", "halved.1", "destination"), ("torn", "torn", "source")] {
        let mut machine = place.started(&spec(&place, name));
        let error = halved(&mut *machine, dies);
        eprintln!("{error}");
        assert_eq!(error.class(), FailureClass::VmmExited, "{error}");
        for words in [&*format!("the {gone} is gone"), "its memory was in both places", "Start it anew"] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
        assert_eq!((machine.state(), processes()), (MachineState::Stopped, Vec::new()));
        assert!(machine.destroy().is_ok());
        assert_eq!(place.others_than(""), Vec::<String>::new());
    }
}
