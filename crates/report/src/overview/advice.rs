//! What could be done about a bad grade: only remedies that the machine on record lacks.
//!
//! Source: the hypervisor guide's list of optimisations for KVM and QEMU. What a run's record does not say is not
//! advised on: a remedy that may be in place already is noise.

mod remedies;

use self::remedies::lacking;
use super::Part;
use super::grades::is_bad;
use crate::entry::Entry;
use crate::style::Tone;
use crate::table::{Column, Table};

/// What was found to be slow or large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Cpu,
    Memory,
    Network,
    Storage,
    /// An operation of a machine's life.
    Operation,
}

/// A remedy with what the record says in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Advice {
    /// What there is instead of it.
    instead: String,
    /// What to do.
    remedy: &'static str,
    /// The command that measures what it brings; none where virtmark cannot set it.
    trial: Option<String>,
}

pub(super) fn part(entries: &[Entry<'_>]) -> Option<Part> {
    let mut table = Table::new("");
    table.column("", Column::Name).column("found", Column::Text);
    table.column("the machine has", Column::Text).column("remedy", Column::Text);
    table.column("to prove it", Column::Text);
    let mut rows = 0;
    for entry in entries {
        for (finding, found) in findings(entry) {
            for Advice { instead, remedy, trial } in lacking(finding, entry.run()) {
                let trial = trial.as_deref().unwrap_or("the same run again, and virtmark compare");
                let letter = entry.letter.as_str();
                table.row(vec![
                    letter.into(),
                    found.as_str().into(),
                    instead.into(),
                    remedy.into(),
                    trial.into(),
                ]);
                rows += 1;
            }
        }
    }
    table.note(
        "Named because the record of the run shows that it is not in place. What it brings here is for a measurement to \
         say, which is the last column.",
        Tone::Faint,
    );
    (rows > 0).then(|| Part { title: "Advice".into(), tables: vec![table], ..Part::default() })
}

/// What was graded badly in a run, with the grade.
fn findings(entry: &Entry<'_>) -> Vec<(Finding, String)> {
    let mut found = Vec::new();
    for (metric, grade) in entry.samples.extra.iter().flat_map(|column| &column.by_metric) {
        if is_bad(grade) {
            found.push((Finding::Operation, format!("{metric} {grade}")));
        }
    }
    for overhead in entry.samples.overheads.iter().filter(|overhead| is_bad(&overhead.grade)) {
        let finding = match overhead.name.as_str() {
            "CPU" => Finding::Cpu,
            "memory" => Finding::Memory,
            "network" => Finding::Network,
            "storage" => Finding::Storage,
            _ => continue,
        };
        found.push((finding, format!("{} overhead {}", overhead.name, overhead.grade)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::entries;
    use crate::fixtures;
    use crate::{Overhead, RunSamples};
    use virtmark_model::{DiskCache, MachineFacts, Run, Topology};

    const BAD: &str = "needs optimisation (≥5 %)";

    fn graded(run: Run, grade: &str) -> Vec<RunSamples> {
        let mut of_run = RunSamples::new(run, Vec::new());
        let overhead =
            |name: &str| Overhead { name: name.into(), percent: 9.0, interval: None, grade: grade.into() };
        of_run.overheads = vec![overhead("CPU"), overhead("storage")];
        vec![of_run]
    }

    fn said(runs: &[RunSamples]) -> Vec<String> {
        let part = part(&entries(runs).unwrap());
        let rows = |part: Part| {
            let content = part.tables[0].content();
            content
                .rows
                .iter()
                .map(|row| format!("{}: {}: {}", row[2].text, row[3].text, row[4].text))
                .collect::<Vec<_>>()
        };
        part.map(rows).unwrap_or_default()
    }

    /// A machine as QEMU's are made unless told otherwise.
    fn usual(cpu: &str) -> MachineFacts {
        MachineFacts {
            clock: None,
            cpu_model: Some(cpu.into()),
            disk_cache: Some(DiskCache::Writeback),
            disk_queue_size: Some(256),
            disk_queues: Some(2),
            huge_pages: Some(false),
            io_thread: Some(false),
            network_queues: Some(1),
            network_receive_queue_size: Some(256),
            pinned: Some(false),
            topology: Some(Topology::of_cores(2)),
            vhost: Some(false),
        }
    }

    /// A run of two virtual CPUs on two others under KVM.
    fn run() -> Run {
        let mut run = fixtures::run("guest", 0, fixtures::kvm());
        run.configuration["vcpus"] = 2.into();
        run.environment.host.logical_cpus = 2;
        run.environment.host.huge_pages_total = Some(0);
        run.environment.hypervisor.machine = Some(usual("host"));
        run
    }

    #[test]
    fn what_the_record_lacks_is_advised() {
        let advice = said(&graded(run(), BAD));
        let expected = [
            "vCPUs on whichever CPU of the host is free: a CPU of the host for each vCPU: \
             virtmark tune --try pin -- tti --vcpus 2",
            "ordinary pages, and the host has no huge ones reserved: huge pages for the guest's memory; \
             virtmark doctor says how they are reserved: virtmark tune --try hugepages -- tti --vcpus 2",
            "the host's page cache between disks and their files: direct input and output (cache=none): \
             virtmark tune --try cache-none -- tti --vcpus 2 --image bench --cmd 'dd if=/dev/vda of=/dev/null bs=1M count=64'",
            "disks served by QEMU's main thread: an I/O thread for disks: \
             virtmark tune --try iothread -- tti --vcpus 2 --image bench --cmd 'dd if=/dev/vda of=/dev/null bs=1M count=64'",
            "queues of disks for 256 requests: longer queues: \
             virtmark tune --try queue-size -- tti --vcpus 2 --image bench --cmd 'dd if=/dev/vda of=/dev/null bs=1M count=64'",
        ];
        assert_eq!(advice, expected);
    }

    /// Each thing that is in place takes away its own line, and no other.
    #[test]
    fn what_is_in_place_is_not_advised() {
        type Change = fn(&mut MachineFacts);
        let all = said(&graded(run(), BAD));
        let changes: [(Change, &str); 5] = [
            (|machine| machine.pinned = Some(true), "--try pin "),
            (|machine| machine.huge_pages = Some(true), "--try hugepages "),
            (|machine| machine.disk_cache = Some(DiskCache::None), "--try cache-none "),
            (|machine| machine.io_thread = Some(true), "--try iothread "),
            (|machine| machine.disk_queue_size = Some(1024), "--try queue-size "),
        ];
        let mut tuned = run();
        for (change, gone) in changes {
            let mut run = run();
            for run in [&mut run, &mut tuned] {
                change(run.environment.hypervisor.machine.as_mut().unwrap());
            }
            let rest: Vec<String> = all.iter().filter(|line| !line.contains(gone)).cloned().collect();
            assert_eq!(rest.len(), all.len() - 1, "{gone}");
            assert_eq!(said(&graded(run, BAD)), rest, "{gone}");
        }
        assert_eq!(said(&graded(tuned, BAD)), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_on_record_is_not_advised_on() {
        let mut unknown = run();
        unknown.environment.hypervisor.machine = None;
        assert_eq!(said(&graded(unknown, BAD)), Vec::<String>::new());
        let mut empty = run();
        empty.environment.hypervisor.machine = Some(MachineFacts::default());
        assert_eq!(said(&graded(empty, BAD)), Vec::<String>::new());
    }

    #[test]
    fn what_was_graded_well_needs_no_advice() {
        let mut lacking = run();
        lacking.environment.host.governor = Some("powersave".into());
        assert_eq!(said(&graded(lacking.clone(), "on target (<3 %)")), Vec::<String>::new());
        assert!(said(&graded(lacking, BAD))[0].starts_with("frequency governor powersave"));
    }

    #[test]
    fn the_cpu_of_the_host_is_advised_where_a_guest_has_another() {
        let mut other = run();
        other.configuration["vcpus"] = 4.into();
        other.environment.hypervisor.machine = Some(usual("qemu64"));
        let advice = said(&graded(other, BAD));
        assert!(advice[0].starts_with("CPU model qemu64: the host's own"), "{advice:#?}");
        // Four have no CPU each, and so nothing to be pinned to.
        assert!(advice[1].starts_with("4 vCPUs on 2 CPUs"), "{advice:#?}");
        assert!(!advice.iter().any(|line| line.contains("--try pin")), "{advice:#?}");
    }

    #[test]
    fn threads_are_advised_where_cores_have_some() {
        let advised = |run: Run| said(&graded(run, BAD)).iter().any(|line| line.contains("--try topology"));
        let mut threads = run();
        assert!(!advised(threads.clone()));
        threads.environment.host.smt = Some(true);
        assert!(advised(threads.clone()));
        let mut told = threads;
        let topology = Topology { sockets: 1, cores: 1, threads: 2 };
        told.environment.hypervisor.machine.as_mut().unwrap().topology = Some(topology);
        assert!(!advised(told));
    }

    #[test]
    fn networks_have_their_own_remedies() {
        let advised = |run: &Run| {
            let mut runs = graded(run.clone(), BAD);
            runs[0].overheads.retain(|overhead| overhead.name == "storage");
            runs[0].overheads[0].name = "network".into();
            let lines = said(&runs);
            lines.iter().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut run = run();
        let all = [
            "packets moved by QEMU",
            "interfaces with one pair of queues for 2 vCPUs",
            "interfaces that receive in queues of 256",
        ];
        assert_eq!(advised(&run), all);
        let lacking = usual("host");
        let tuned = [
            MachineFacts { vhost: Some(true), ..lacking.clone() },
            MachineFacts { network_queues: Some(2), ..lacking.clone() },
            MachineFacts { network_receive_queue_size: Some(1024), ..lacking.clone() },
        ];
        for (number, machine) in tuned.into_iter().enumerate() {
            run.environment.hypervisor.machine = Some(machine);
            let rest: Vec<&str> = (0..3).filter(|other| *other != number).map(|other| all[other]).collect();
            assert_eq!(advised(&run), rest);
        }
        // A host without taps, where the first two are not known.
        let without = MachineFacts { vhost: None, network_queues: None, ..lacking };
        run.environment.hypervisor.machine = Some(without);
        assert_eq!(advised(&run), all[2..]);
    }

    #[test]
    fn emulation_is_the_first_thing_to_be_rid_of() {
        let mut run = fixtures::run("guest", 0, fixtures::tcg());
        run.environment.hypervisor.machine = Some(usual("qemu64"));
        let advice = said(&graded(run.clone(), BAD));
        assert!(advice[0].starts_with("software emulation: hardware virtualisation"), "{advice:#?}");
        let cpu_max = |line: &String| line.contains("virtmark tune --try cpu-max -- tti");
        assert!(cpu_max(&advice[1]), "{advice:#?}");
        run.environment.hypervisor.machine = Some(usual("max"));
        assert!(!said(&graded(run, BAD)).iter().any(cpu_max));
    }
}
