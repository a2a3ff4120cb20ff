//! Whether KVM really runs guests here. A `/dev/kvm` node alone proves nothing: a probe guest must reach user space.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use virtmark_host::doctor::{KvmNode, kvm_node};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Error, MachineSpec, Result};
use virtmark_model::{Accelerator, Stopwatch};

use crate::boot::BootPlan;
use crate::discover::Program;
use crate::vm::{Origin, Platform, Vm};

/// How long the probe guest may take to user space.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// The same where the host's own instructions are emulated: it takes 5 s there, and several times that beside others.
const NESTED_PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// What was found out about KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmFinding {
    /// Whether guests run under it.
    pub state: KvmState,
    /// What was seen, in one line.
    pub reason: String,
}

/// What KVM is good for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvmState {
    /// There is no `/dev/kvm`, or nothing behind it.
    Absent,
    /// The node is there and cannot be opened.
    Forbidden,
    /// The node opens, and no guest ran.
    Unusable,
    /// A guest ran.
    Usable,
}

/// Remembered findings, good for one boot of the host and the same QEMU and image.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    key: String,
    finding: KvmFinding,
}

/// Finds out whether KVM runs this image, by trying; once per boot of the host, remembered in `cache`.
pub fn kvm(
    program: &Program,
    image: &BootImage,
    run_dir: &Arc<RunDir>,
    cache: &Path,
    notice: &mut dyn FnMut(&str),
) -> Result<KvmFinding> {
    if let Some(finding) = node() {
        return Ok(finding);
    }
    let key = key(program, image);
    let path = cache.join("kvm-probe.json");
    if let Some(finding) = remembered(&path, &key) {
        return Ok(finding);
    }
    let limit =
        if virtmark_host::facts::host_facts().is_emulated() { NESTED_PROBE_TIMEOUT } else { PROBE_TIMEOUT };
    notice(&format!("testing whether KVM runs guests here (once per boot of this host, at most {limit:?})"));
    let finding = try_guest(program, image, run_dir, limit)?;
    // A finding that cannot be remembered is found again next time.
    let _ = remember(&path, Remembered { key, finding: finding.clone() });
    Ok(finding)
}

/// What the node alone tells: `None` when only a guest can tell more.
pub fn node() -> Option<KvmFinding> {
    let (state, reason) = match kvm_node(Path::new("/")) {
        KvmNode::Opens { api_version: Some(_) } => return None,
        KvmNode::Opens { api_version: None } => (KvmState::Unusable, "it opens, and is not KVM".to_owned()),
        KvmNode::Absent | KvmNode::NoDevice => (KvmState::Absent, "it is not there".to_owned()),
        KvmNode::NoPermission => (KvmState::Forbidden, "this user may not open it".to_owned()),
        KvmNode::Refuses(why) => (KvmState::Unusable, format!("it does not open: {why}")),
    };
    Some(KvmFinding { state, reason: format!("/dev/kvm: {reason}") })
}

fn try_guest(
    program: &Program,
    image: &BootImage,
    run_dir: &Arc<RunDir>,
    limit: Duration,
) -> Result<KvmFinding> {
    let spec = MachineSpec {
        name: "kvm-probe".into(),
        vcpus: 1,
        memory_bytes: 256 << 20,
        image: Some(image.clone()),
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: limit,
    };
    let platform = Platform::new(Accelerator::Kvm, u64::MAX, program.clone(), Arc::clone(run_dir));
    let plan = BootPlan::choose(Accelerator::Kvm, spec.vcpus);
    let unusable = |reason: String| Ok(KvmFinding { state: KvmState::Unusable, reason });
    let started = Instant::now();
    let mut vm = match Vm::launch(&platform, &spec, image, &plan, Origin::Boot, &mut Stopwatch::start()) {
        Ok(vm) => vm,
        Err(Error::AcceleratorUnavailable { reason, .. }) => return unusable(reason),
        Err(Error::VmmExited { status, output, .. }) => return unusable(format!("QEMU {status}: {output}")),
        Err(error) => return Err(error),
    };
    let observed = vm.go().map(|()| vm.console.wait_init(started + limit));
    let finding = match observed {
        Ok(observed) if observed.init_at.is_some() => Ok(KvmFinding {
            state: KvmState::Usable,
            reason: format!("a guest reached user space in {:.1} s", started.elapsed().as_secs_f64()),
        }),
        Ok(observed) if observed.panicked => {
            unusable("/dev/kvm opens, but the guest kernel panicked under it".into())
        }
        Ok(observed) if observed.closed => {
            unusable("/dev/kvm opens, but QEMU ended while the guest booted".into())
        }
        Ok(_) => unusable(format!("/dev/kvm opens, but a guest did not reach user space in {limit:?}")),
        Err(error) => unusable(error.to_string()),
    };
    vm.remove(run_dir)?;
    finding
}

fn key(program: &Program, image: &BootImage) -> String {
    let boot_id = virtmark_host::boot_id().unwrap_or_default();
    [&boot_id, &program.path.display().to_string(), &program.version, &image.facts.kernel_sha256]
        .map(String::as_str)
        .join("\n")
}

fn remembered(path: &PathBuf, key: &str) -> Option<KvmFinding> {
    let text = fs::read(path).ok()?;
    let remembered: Remembered = serde_json::from_slice(&text).ok()?;
    (remembered.key == key).then_some(remembered.finding)
}

fn remember(path: &Path, remembered: Remembered) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let partial = directory.join(format!("kvm-probe.json.{}", std::process::id()));
    fs::write(&partial, serde_json::to_vec_pretty(&remembered)?)?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_remembered_for_its_key_only() {
        let cache = tempfile::tempdir().unwrap();
        let path = cache.path().join("deep/kvm-probe.json");
        let finding = KvmFinding { state: KvmState::Unusable, reason: "hung".into() };
        remember(&path, Remembered { key: "this boot".into(), finding: finding.clone() }).unwrap();
        assert_eq!(remembered(&path, "this boot"), Some(finding));
        assert_eq!(remembered(&path, "next boot"), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(remembered(&path, "this boot"), None);
    }
}
