//! Under which cgroups a run may make its own.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::facts::{Cgroups, Chain};
use crate::source::Source;

/// What limits one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Cpu,
    Memory,
    Pids,
}

/// A cgroup under which others can be made that have these controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) directory: PathBuf,
    pub(super) is_v2: bool,
    pub(super) controllers: Vec<Controller>,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// One for each hierarchy that this process may use; when there is none, why.
pub(super) fn parents(cgroups: &Cgroups, source: &Source) -> Result<Vec<Parent>, String> {
    let mut parents: Vec<Parent> = Vec::new();
    let mut problem = "no hierarchy of cgroups is mounted here".to_owned();
    let mut v2_done = false;
    for controller in Controller::ALL {
        let Some(Chain { is_v2, directories }) = cgroups.chain(controller.name()) else { continue };
        let directories: Vec<PathBuf> =
            directories.iter().map(|directory| source.path(directory)).filter(|path| path.is_dir()).collect();
        let Some(own) = directories.first() else { continue };
        if is_v2 {
            // One hierarchy for all controllers.
            if !std::mem::replace(&mut v2_done, true) {
                match v2_parent(&directories) {
                    Ok(parent) => parents.push(parent),
                    Err(reason) => problem = reason,
                }
            }
            continue;
        }
        if let Some(parent) = parents.iter_mut().find(|parent| parent.directory == *own) {
            parent.controllers.push(controller);
        } else if access(own, Access::WRITE_OK).is_ok() {
            parents.push(Parent { directory: own.clone(), is_v2, controllers: vec![controller] });
        } else {
            problem = not_writable(own);
        }
    }
    if parents.is_empty() { Err(problem) } else { Ok(parents) }
}

/// The own cgroup where it hands down controllers, which takes one without processes or the root; else the one above.
fn v2_parent(chain: &[PathBuf]) -> Result<Parent, String> {
    let mut problem = "the own cgroup is not mounted here".to_owned();
    for directory in chain.iter().take(2) {
        if access(directory, Access::WRITE_OK).is_err() {
            problem = not_writable(directory);
            continue;
        }
        let controllers = handed_down(directory, &chain[0]);
        if controllers.is_empty() {
            problem = format!("{} hands down none of cpu, memory and pids", directory.display());
            continue;
        }
        return Ok(Parent { directory: directory.clone(), is_v2: true, controllers });
    }
    Err(problem)
}

/// The controllers that a new cgroup in `directory` has. More are switched on only where nobody else is concerned:
/// what a cgroup hands down changes how all that is in it share the host.
fn handed_down(directory: &Path, own: &Path) -> Vec<Controller> {
    let listed = |file: &str| -> Vec<Controller> {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        Controller::ALL
            .into_iter()
            .filter(|one| text.split_whitespace().any(|word| word == one.name()))
            .collect()
    };
    let (available, handed_down) = (listed("cgroup.controllers"), listed("cgroup.subtree_control"));
    if available.len() > handed_down.len() && has_only(directory, own) {
        let wanted: Vec<_> = available.iter().map(|one| format!("+{}", one.name())).collect();
        // Refused in a cgroup that has processes.
        if fs::write(directory.join("cgroup.subtree_control"), wanted.join(" ")).is_ok() {
            return available;
        }
    }
    handed_down
}

/// Whether no cgroup but `own` and those of runs is in `directory`.
fn has_only(directory: &Path, own: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).all(|entry| {
        entry.path() == own || entry.file_name().to_str().is_some_and(|name| name.starts_with("virtmark-"))
    })
}

fn not_writable(directory: &Path) -> String {
    format!("{} is not writable for this user", directory.display())
}
