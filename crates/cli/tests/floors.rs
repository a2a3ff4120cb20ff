//! The house of crates: each may use those on lower floors, never one on its own floor or above.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::MetadataCommand;

/// Every crate of the workspace with its floor; a room may be on the plan before it is built. Floor 2 has storeys: the
/// traits, the agent that drivers carry, the drivers.
const FLOORS: [(&str, &str); 26] = [
    ("virtmark-stats", "0"),
    ("virtmark-model", "0"),
    ("virtmark-protocol", "0"),
    ("virtmark-host", "1"),
    ("virtmark-image", "1"),
    ("virtmark-agent", "1"),
    ("virtmark-archive", "1"),
    ("virtmark-payload", "1"),
    ("virtmark-plan", "1"),
    ("virtmark-suite", "1"),
    ("virtmark-timeseries", "1"),
    ("virtmark-hypervisor", "2a"),
    ("virtmark-guest-build", "2a"),
    ("virtmark-load", "2a"),
    ("virtmark-agent-binary", "2b"),
    ("virtmark-load-binary", "2b"),
    ("virtmark-driver-endpoint", "2c"),
    ("virtmark-driver-native", "2c"),
    ("virtmark-driver-qemu", "2c"),
    ("virtmark-fleet", "3"),
    ("virtmark-lab", "3"),
    ("virtmark-recorder", "3"),
    ("virtmark-sandbox", "3"),
    ("virtmark-scenarios", "3"),
    ("virtmark-report", "4"),
    ("virtmark", "5"),
];

/// A crate and the crates of the workspace that it depends on.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_use_lower_floors_only() {
    let problems = problems(&FLOORS, &workspace());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn reaching_up_or_sideways_is_found() {
    let floors = [("low", "0"), ("beside", "0"), ("high", "2a"), ("higher", "2b")];
    let graph = |from: &str, to: &str| {
        let mut graph: Graph = floors.iter().map(|(name, _)| ((*name).to_owned(), BTreeSet::new())).collect();
        graph.get_mut(from).unwrap().insert(to.into());
        graph
    };
    assert_eq!(problems(&floors, &graph("high", "low")), Vec::<String>::new());
    assert_eq!(problems(&floors, &graph("higher", "high")), Vec::<String>::new());
    assert_eq!(problems(&floors, &graph("low", "high")), ["low (floor 0) reaches up to high (floor 2a)"]);
    assert_eq!(
        problems(&floors, &graph("high", "higher")),
        ["high (floor 2a) reaches up to higher (floor 2b)"]
    );
    assert_eq!(
        problems(&floors, &graph("low", "beside")),
        ["low (floor 0) reaches sideways to beside (floor 0)"]
    );
}

#[test]
fn a_crate_without_a_floor_is_found() {
    let graph = Graph::from([("known".into(), BTreeSet::new()), ("stranger".into(), BTreeSet::new())]);
    assert_eq!(problems(&[("known", "0"), ("planned", "1")], &graph), ["stranger has no floor"]);
}

/// What is wrong with the house, one sentence each.
fn problems(floors: &[(&str, &str)], graph: &Graph) -> Vec<String> {
    let floors: BTreeMap<&str, &str> = floors.iter().copied().collect();
    let mut problems = Vec::new();
    for (name, dependencies) in graph {
        let Some(floor) = floors.get(name.as_str()) else {
            problems.push(format!("{name} has no floor"));
            continue;
        };
        for dependency in dependencies {
            // One without a floor is told by its own line.
            let Some(below) = floors.get(dependency.as_str()) else { continue };
            if below >= floor {
                let direction = if below == floor { "sideways" } else { "up" };
                problems.push(format!(
                    "{name} (floor {floor}) reaches {direction} to {dependency} (floor {below})"
                ));
            }
        }
    }
    problems
}

/// Test dependencies count too: what a crate's tests need, its house needs.
fn workspace() -> Graph {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    let members: BTreeSet<String> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let dependencies = |package: &cargo_metadata::Package| {
        let names = package.dependencies.iter().map(|dependency| dependency.name.to_string());
        names.filter(|name| members.contains(name)).collect()
    };
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.to_string(), dependencies(package)))
        .collect()
}
