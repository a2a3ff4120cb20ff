//! What runs ran on and how they were configured, side by side.

use serde_json::Value;
use virtmark_model::{HypervisorFacts, Run};

use crate::format;
use crate::notes;

/// One line of a comparison of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: String,
    /// What each run has; absent where it was not recorded.
    pub(crate) values: Vec<Option<String>>,
    /// Whether it came about during the run (load, steal) instead of being a condition of it. A difference in
    /// these is no difference between the setups.
    pub(crate) observed: bool,
}

impl Fact {
    /// Whether the runs' conditions differ here.
    pub(crate) fn differs(&self) -> bool {
        !self.observed && self.values.iter().any(|value| *value != self.values[0])
    }

    /// Each value with the positions of the runs that have it, in the order of first appearance.
    pub(crate) fn grouped(&self) -> Vec<(Option<&str>, Vec<usize>)> {
        let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
        for (position, value) in self.values.iter().enumerate() {
            match groups.iter_mut().find(|(other, _)| *other == value.as_deref()) {
                Some((_, who)) => who.push(position),
                None => groups.push((value.as_deref(), vec![position])),
            }
        }
        groups
    }
}

/// A group of facts under a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) facts: Vec<Fact>,
}

/// The environments of the runs, without the facts that no run recorded.
pub(crate) fn sections(runs: &[&Run]) -> Vec<Section> {
    let sections = [
        ("Platform", platform(runs)),
        ("Image", image(runs)),
        ("Host", host(runs)),
        ("Limits of the control group", cgroup(runs)),
        ("During the run", during(runs)),
    ];
    sections
        .into_iter()
        .map(|(title, mut facts)| {
            facts.retain(|fact| fact.values.iter().any(Option::is_some));
            Section { title, facts }
        })
        .filter(|section| !section.facts.is_empty())
        .collect()
}

/// The options of the runs, nested ones as `outer.inner`; the command line is not among them.
pub(crate) fn configuration(runs: &[&Run]) -> Vec<Fact> {
    let flat: Vec<Vec<(String, String)>> = runs
        .iter()
        .map(|run| {
            let mut options = Vec::new();
            flatten("", &run.configuration, &mut options);
            options.retain(|(name, _)| name != "command_line");
            options
        })
        .collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in flat.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value = |options: &[(String, String)], name: &str| {
        options.iter().find(|(option, _)| option == name).map(|(_, value)| value.clone())
    };
    names
        .iter()
        .map(|name| Fact {
            name: (*name).clone(),
            values: flat.iter().map(|options| value(options, name)).collect(),
            observed: false,
        })
        .collect()
}

/// The command that made a run, as a shell takes it; absent when the run does not say.
pub(crate) fn command_line(run: &Run) -> Option<String> {
    match run.configuration.get("command_line")? {
        Value::String(line) => Some(line.clone()),
        Value::Array(arguments) => {
            let quoted: Option<Vec<String>> =
                arguments.iter().map(|argument| argument.as_str().map(format::shell_word)).collect();
            quoted.map(|quoted| quoted.join(" "))
        }
        _ => None,
    }
}

fn platform(runs: &[&Run]) -> Vec<Fact> {
    let hypervisor = |read: fn(&HypervisorFacts) -> Option<String>| {
        move |run: &Run| read(&run.environment.hypervisor).filter(|text| !text.is_empty())
    };
    vec![
        fact(
            runs,
            "Hypervisor",
            hypervisor(|facts| Some(format!("{} {}", facts.name, facts.version).trim().into())),
        ),
        fact(runs, "Accelerator", notes::accelerator),
        fact(runs, "Why this accelerator", hypervisor(|facts| facts.accelerator_reason.clone())),
        fact(runs, "Machine", hypervisor(|facts| facts.configuration.clone())),
        fact(runs, "virtmark", |run| {
            let program = &run.environment.virtmark;
            let commit = program.commit.as_ref().map(|commit| format!(" ({commit})")).unwrap_or_default();
            text(&format!("{}{commit}", program.version))
        }),
    ]
}

fn image(runs: &[&Run]) -> Vec<Fact> {
    let image = |run: &Run| run.environment.image.clone();
    vec![
        fact(runs, "Image", |run| image(run).and_then(|image| text(&image.name))),
        fact(runs, "Image id", |run| image(run).and_then(|image| text(&image.id))),
        fact(runs, "Guest kernel", |run| image(run).and_then(|image| image.kernel_release)),
        fact(runs, "Kernel SHA-256", |run| image(run).and_then(|image| text(&image.kernel_sha256))),
        fact(runs, "Initramfs SHA-256", |run| image(run).and_then(|image| image.initramfs_sha256)),
    ]
}

fn host(runs: &[&Run]) -> Vec<Fact> {
    vec![
        fact(runs, "CPU", |run| text(&run.environment.host.cpu_model)),
        fact(runs, "CPUs usable", |run| {
            positive(u64::from(run.environment.host.logical_cpus)).map(|n| n.to_string())
        }),
        fact(runs, "SMT", |run| run.environment.host.smt.map(|on| if on { "on" } else { "off" }.into())),
        fact(runs, "Frequency governor", |run| run.environment.host.governor.clone()),
        fact(runs, "Memory", |run| {
            positive(run.environment.host.memory_total_bytes).map(|n| format::bytes(n as f64))
        }),
        fact(runs, "Transparent huge pages", |run| run.environment.host.transparent_huge_pages.clone()),
        fact(runs, "Huge pages reserved", |run| run.environment.host.huge_pages_total.map(|n| n.to_string())),
        fact(runs, "Architecture", |run| text(&run.environment.host.arch)),
        fact(runs, "Kernel", |run| text(&run.environment.host.kernel)),
        fact(runs, "Distribution", |run| run.environment.host.os.clone()),
        fact(runs, "Host runs in", |run| run.environment.host.host_hypervisor.clone()),
        fact(runs, "Boot of the host", |run| run.environment.host.boot_id.clone()),
        fact(runs, "CPU flags", |run| text(&run.environment.host.cpu_flags.join(" "))),
    ]
}

fn cgroup(runs: &[&Run]) -> Vec<Fact> {
    vec![
        fact(runs, "CPU time", |run| run.environment.host.cgroup.cpus.map(|cpus| format!("{cpus} CPUs"))),
        fact(runs, "CPU set", |run| run.environment.host.cgroup.cpuset.clone()),
        fact(runs, "Memory limit", |run| {
            run.environment.host.cgroup.memory_bytes.map(|n| format::bytes(n as f64))
        }),
        fact(runs, "Hierarchy", |run| {
            run.environment.host.cgroup.version.map(|version| format!("v{version}"))
        }),
    ]
}

fn during(runs: &[&Run]) -> Vec<Fact> {
    let facts = vec![
        fact(runs, "Load average at the start", |run| {
            run.environment.host.load_average_1m.map(|load| format!("{load:.2}"))
        }),
        fact(runs, "Time stolen from this host", |run| {
            run.environment.steal_ns.map(|ns| format::duration_ns(ns as f64))
        }),
        fact(runs, "CPU time of virtmark itself", |run| {
            let cost = run.environment.harness.as_ref()?;
            let whole = format::duration_ns(cost.cpu_ns as f64);
            Some(match cost.iterations {
                0 => whole,
                n => format!("{whole}, {} per iteration", format::duration_ns(cost.cpu_ns as f64 / n as f64)),
            })
        }),
        fact(runs, "Memory of virtmark itself, at most", |run| {
            run.environment.harness.as_ref().map(|cost| format::bytes(cost.max_rss_bytes as f64))
        }),
    ];
    facts.into_iter().map(|fact| Fact { observed: true, ..fact }).collect()
}

fn fact(runs: &[&Run], name: &str, read: impl Fn(&Run) -> Option<String>) -> Fact {
    Fact { name: name.into(), values: runs.iter().map(|run| read(run)).collect(), observed: false }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.into())
}

fn positive(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn flatten(name: &str, value: &Value, options: &mut Vec<(String, String)>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (key, value) in inner {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, options);
            }
        }
        Value::Null if name.is_empty() => {}
        Value::String(text) => options.push((name.into(), text.clone())),
        other => options.push((name.into(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn conditions_that_differ_are_found_and_observations_are_not() {
        let (one, two) = (fixtures::run("tti", 0, fixtures::tcg()), fixtures::run("tti", 1, fixtures::kvm()));
        let sections = sections(&[&one, &two]);
        let differing: Vec<&str> = sections
            .iter()
            .flat_map(|section| &section.facts)
            .filter(|fact| fact.differs())
            .map(|fact| fact.name.as_str())
            .collect();
        assert_eq!(differing, ["Accelerator", "Why this accelerator", "Frequency governor"]);
    }

    #[test]
    fn what_no_run_recorded_is_left_out() {
        let run = fixtures::run("tti", 0, fixtures::tcg());
        let names: Vec<String> =
            sections(&[&run]).into_iter().flat_map(|section| section.facts).map(|fact| fact.name).collect();
        assert!(names.iter().any(|name| name == "CPU"));
        assert!(!names.iter().any(|name| name == "Huge pages reserved"));
    }

    #[test]
    fn options_are_flat_and_the_command_line_stands_apart() {
        let run = fixtures::run("tti", 0, fixtures::tcg());
        let options = configuration(&[&run]);
        let option =
            |name: &str| options.iter().find(|fact| fact.name == name).map(|fact| fact.values[0].clone());
        assert_eq!(option("timeouts.boot_ns"), Some(Some("90000000000".into())));
        assert_eq!(option("kernel_arguments"), Some(Some(r#"["acpi=off","pci=conf1"]"#.into())));
        assert_eq!(option("command_line"), None);
        assert_eq!(command_line(&run).unwrap(), r"virtmark tti --count 50 --image 'it'\''s tiny'");
    }
}
