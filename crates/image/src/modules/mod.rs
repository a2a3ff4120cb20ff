//! Kernel modules: which ones a guest needs, in which order, and the form of them that loads fastest.

mod debug_info;
mod modinfo;
mod signature;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::ImageError;
use crate::fingerprint::Fingerprint;
use modinfo::ModInfo;
use tree::ModuleTree;

/// For [`fuzzing`](crate::fuzzing).
#[cfg(feature = "fuzzing")]
pub(crate) fn prepare(raw: &[u8]) -> Result<Vec<u8>, String> {
    tree::prepare(raw).map(|file| file.bytes)
}

/// Without these the agent cannot speak: the bus and the channel to the host.
const EARLY: [&str; 2] = ["virtio_pci", "virtio_console"];

/// What a guest may load when something asks for it.
const ON_DEMAND: [&str; 9] = [
    "ext4",
    "overlay",
    "virtio_balloon",
    "virtio_blk",
    "virtio_mem",
    "virtio_net",
    "virtio_rng",
    "virtiofs",
    "vmw_vsock_virtio_transport",
];

/// A module prepared for the guest: uncompressed, without signature and debug information.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// All modules it needs, in load order, without itself.
    pub(crate) needs: Vec<String>,
    /// Where it came from.
    pub(crate) source: PathBuf,
    /// The file as it was found.
    pub(crate) source_sha256: String,
    pub(crate) bytes: Vec<u8>,
}

/// The modules of one image.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// All modules in load order.
    pub(crate) modules: Vec<Module>,
    /// Names of those that the agent needs before it can speak, in load order.
    pub(crate) early: Vec<String>,
    /// Wanted modules that this kernel has built in.
    pub(crate) builtin: Vec<String>,
    /// On-demand modules that this kernel does not have.
    pub(crate) absent: Vec<String>,
    /// Every file that was read, as it looked before.
    pub(crate) inputs: Vec<Fingerprint>,
}

impl Selection {
    /// Picks the modules of the tiny image out of `dir` (a `/lib/modules/RELEASE`).
    ///
    /// Errors: an early module is missing, or a module belongs to a kernel other than `release`.
    pub(crate) fn tiny(dir: &Path, release: &str) -> Result<Self, ImageError> {
        select(dir, release, &EARLY, &ON_DEMAND)
    }
}

fn select(dir: &Path, release: &str, early: &[&str], on_demand: &[&str]) -> Result<Selection, ImageError> {
    let tree = ModuleTree::open(dir)?;
    let mut selection = Selection::default();
    let mut needs = BTreeMap::new();
    let mut early_names = BTreeSet::new();
    for (name, required) in
        early.iter().map(|name| (*name, true)).chain(on_demand.iter().map(|name| (*name, false)))
    {
        if tree.is_builtin(name) {
            selection.builtin.push(name.to_owned());
            continue;
        }
        let mut found = BTreeMap::new();
        match tree.collect(name, &mut found) {
            Err(ImageError::ModuleMissing { .. }) if !required => {
                selection.absent.push(name.to_owned());
                continue;
            }
            other => other?,
        }
        if required {
            early_names.extend(found.keys().cloned());
        }
        needs.append(&mut found);
    }
    let order = LoadOrder::of(&needs, dir)?;
    selection.early = order.sorted(&early_names);
    for name in order.sorted(&needs.keys().cloned().collect()) {
        let path = tree.path(&name)?;
        let file = tree.read(&name)?;
        if file.info.release != release {
            return Err(ImageError::ModuleRelease {
                path,
                found: file.info.release.clone(),
                expected: release.to_owned(),
            });
        }
        selection.modules.push(Module {
            needs: order.sorted(&closure(&needs, &name)),
            source: path,
            source_sha256: file.source_sha256.clone(),
            bytes: file.bytes.clone(),
            name,
        });
    }
    selection.inputs = tree.into_inputs();
    Ok(selection)
}

/// Everything `name` needs, directly or not, without itself.
fn closure(needs: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open: Vec<&str> = vec![name];
    while let Some(current) = open.pop() {
        for need in needs.get(current).into_iter().flatten() {
            if all.insert(need.clone()) {
                open.push(need);
            }
        }
    }
    all
}

/// The place of each module in a load order.
///
/// A module's rank is the length of the longest chain of needs below it. Ranks are the same whether `needs` holds only
/// direct needs (`.modinfo`) or all of them (`modules.dep`), so both sources give one order.
struct LoadOrder {
    ranks: BTreeMap<String, usize>,
}

impl LoadOrder {
    fn of(needs: &BTreeMap<String, BTreeSet<String>>, dir: &Path) -> Result<Self, ImageError> {
        let mut ranks = BTreeMap::new();
        while ranks.len() < needs.len() {
            let before = ranks.len();
            for (name, below) in
                needs.iter().filter(|(name, _)| !ranks.contains_key(*name)).collect::<Vec<_>>()
            {
                let known: Option<Vec<usize>> = below.iter().map(|need| ranks.get(need).copied()).collect();
                if let Some(known) = known {
                    let rank = known.into_iter().max().map_or(0, |highest| highest + 1);
                    ranks.insert(name.clone(), rank);
                }
            }
            if ranks.len() == before {
                let name = needs.keys().find(|name| !ranks.contains_key(*name));
                return Err(ImageError::ModuleCycle {
                    dir: dir.to_owned(),
                    name: name.cloned().unwrap_or_default(),
                });
            }
        }
        Ok(Self { ranks })
    }

    fn sorted(&self, names: &BTreeSet<String>) -> Vec<String> {
        let mut sorted: Vec<String> = names.iter().cloned().collect();
        sorted.sort_by_key(|name| self.ranks.get(name).copied().unwrap_or(0));
        sorted
    }
}

#[cfg(test)]
mod tests;
