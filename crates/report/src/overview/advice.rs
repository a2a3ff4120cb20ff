//! What could be done about a bad grade: only remedies that the machine on record lacks.
//!
//! Source: the hypervisor guide's list of optimisations for KVM and QEMU. What a run's record does not say is not
//! advised on: a remedy that may be in place already is noise.

use virtmark_model::{Accelerator, Run};

use super::Part;
use super::grades::is_bad;
use crate::entry::Entry;
use crate::style::Tone;
use crate::table::{Column, Table};

/// A machine with a disk, and something that reads it.
const IO_THREAD: &str =
    "virtmark tune --try iothread -- tti --image bench --cmd 'dd if=/dev/vda of=/dev/null bs=1M count=64'";

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
    trial: Option<&'static str>,
}

pub(super) fn part(entries: &[Entry<'_>]) -> Option<Part> {
    let mut table = Table::new("");
    table.column("", Column::Name).column("found", Column::Text);
    table.column("the machine has", Column::Text).column("remedy", Column::Text);
    table.column("to prove it", Column::Text);
    let mut rows = 0;
    for entry in entries {
        for (finding, found) in findings(entry) {
            for Advice { instead, remedy, trial } in advice(finding, entry.run()) {
                let trial = trial.unwrap_or("the same run again, and virtmark compare");
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

fn advice(finding: Finding, run: &Run) -> Vec<Advice> {
    let remedies: &[fn(&Run) -> Option<Advice>] = match finding {
        Finding::Cpu | Finding::Operation => {
            &[accelerator, cpu_mode, cpu_features, governor, topology, huge_pages]
        }
        Finding::Memory => &[huge_pages],
        Finding::Network => &[accelerator],
        Finding::Storage => &[accelerator, io_thread],
    };
    remedies.iter().filter_map(|remedy| remedy(run)).collect()
}

fn accelerator(run: &Run) -> Option<Advice> {
    let emulated = run.environment.hypervisor.accelerator == Some(Accelerator::Tcg);
    emulated.then(|| Advice {
        instead: "software emulation".into(),
        remedy: "hardware virtualisation; virtmark doctor says what keeps this host from it",
        trial: None,
    })
}

/// The processor that the guest sees: anything but the host's own costs what it hides.
fn cpu_mode(run: &Run) -> Option<Advice> {
    let model = cpu_model(run)?;
    let lacking =
        run.environment.hypervisor.accelerator == Some(Accelerator::Kvm) && !model.starts_with("host");
    lacking.then(|| Advice {
        instead: format!("CPU model {model}"),
        remedy: "the host's own CPU model (host-passthrough)",
        trial: None,
    })
}

/// An emulated processor has what it is told to have.
fn cpu_features(run: &Run) -> Option<Advice> {
    let model = cpu_model(run)?;
    let emulated = run.environment.hypervisor.accelerator == Some(Accelerator::Tcg);
    let lacking = emulated && !model.starts_with("max") && lacks(run, "cpu-max");
    lacking.then(|| Advice {
        instead: format!("CPU model {model}"),
        remedy: "every feature that the emulated CPU can have",
        trial: Some("virtmark tune --try cpu-max -- tti"),
    })
}

fn cpu_model(run: &Run) -> Option<&str> {
    configuration(run)?.split(", ").find_map(|part| part.strip_prefix("cpu "))
}

fn configuration(run: &Run) -> Option<&str> {
    run.environment.hypervisor.configuration.as_deref()
}

/// Whether the record of a machine of QEMU, which names what it was tuned with, does not name this.
fn lacks(run: &Run, remedy: &str) -> bool {
    let with = format!("with {remedy}");
    run.environment.hypervisor.name == "qemu"
        && configuration(run).is_some_and(|all| !all.split(", ").any(|part| part == with))
}

fn governor(run: &Run) -> Option<Advice> {
    let governor = run.environment.host.governor.as_deref().filter(|governor| *governor != "performance")?;
    Some(Advice {
        instead: format!("frequency governor {governor}"),
        remedy: "the governor performance on the host's CPUs",
        trial: None,
    })
}

fn topology(run: &Run) -> Option<Advice> {
    let vcpus = run.configuration.get("vcpus")?.as_u64()?;
    let cpus = u64::from(run.environment.host.logical_cpus);
    (cpus > 0 && vcpus > cpus).then(|| Advice {
        instead: format!("{vcpus} vCPUs on {cpus} CPUs"),
        remedy: "no more vCPUs than the host has CPUs, each on its own",
        trial: None,
    })
}

fn huge_pages(run: &Run) -> Option<Advice> {
    let reserved = run.environment.host.huge_pages_total?;
    lacks(run, "hugepages").then(|| match reserved {
        0 => Advice {
            instead: "ordinary pages, and the host has no huge ones reserved".into(),
            remedy: "huge pages for the guest's memory; virtmark doctor says how they are reserved",
            trial: Some("virtmark tune --try hugepages -- tti"),
        },
        reserved => Advice {
            instead: format!("ordinary pages, and the host has {reserved} huge ones reserved"),
            remedy: "huge pages for the guest's memory",
            trial: Some("virtmark tune --try hugepages -- tti"),
        },
    })
}

fn io_thread(run: &Run) -> Option<Advice> {
    lacks(run, "iothread").then(|| Advice {
        instead: "disks served by QEMU's main thread".into(),
        remedy: "an I/O thread for disks",
        trial: Some(IO_THREAD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::entries;
    use crate::fixtures;
    use crate::{Overhead, RunSamples};

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

    #[test]
    fn what_the_record_lacks_is_advised_and_nothing_else() {
        let mut run = fixtures::run("guest", 0, fixtures::kvm());
        run.configuration["vcpus"] = 4.into();
        run.environment.hypervisor.configuration =
            Some("machine pc, cpu qemu64, PVH direct kernel start".into());
        run.environment.host.huge_pages_total = Some(0);
        let advice = said(&graded(run.clone(), "needs optimisation (≥5 %)"));
        assert_eq!(advice.len(), 4, "{advice:#?}");
        assert!(advice[0].starts_with("CPU model qemu64: the host's own"), "{advice:#?}");
        assert!(advice[1].starts_with("4 vCPUs on 2 CPUs"), "{advice:#?}");
        assert!(advice[2].starts_with("ordinary pages, and the host has no huge ones"), "{advice:#?}");
        assert!(advice[2].ends_with("virtmark tune --try hugepages -- tti"), "{advice:#?}");
        assert!(advice[3].starts_with("disks served by QEMU's main thread: an I/O thread"), "{advice:#?}");
        // All of it in place: the governor already is.
        run.configuration["vcpus"] = 2.into();
        run.environment.hypervisor.configuration =
            Some("machine q35, cpu host,migratable=off, PVH, with hugepages, with iothread".into());
        run.environment.host.huge_pages_total = Some(512);
        assert_eq!(said(&graded(run, "needs optimisation (≥5 %)")), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_on_record_or_was_graded_well_is_not_advised_on() {
        let run = || {
            let mut run = fixtures::run("guest", 1, fixtures::kvm());
            run.environment.hypervisor.configuration = None;
            run
        };
        assert_eq!(said(&graded(run(), "needs optimisation (≥5 %)")), Vec::<String>::new());
        let mut lacking = run();
        lacking.environment.host.governor = Some("powersave".into());
        assert_eq!(said(&graded(lacking.clone(), "on target (<3 %)")), Vec::<String>::new());
        assert_eq!(said(&graded(lacking, "needs optimisation (≥5 %)")).len(), 1);
    }

    #[test]
    fn emulation_is_the_first_thing_to_be_rid_of() {
        let mut run = fixtures::run("guest", 0, fixtures::tcg());
        run.environment.hypervisor.configuration = Some("machine pc, cpu qemu64".into());
        let advice = said(&graded(run, "needs optimisation (≥5 %)"));
        assert!(advice[0].starts_with("software emulation: hardware virtualisation"), "{advice:#?}");
        assert!(advice[1].ends_with("virtmark tune --try cpu-max -- tti"), "{advice:#?}");
    }
}
