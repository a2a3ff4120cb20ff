//! Files and a command to wherever KVM works, and results back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::time::Duration;

use virtmark_driver_qemu::Program;
use virtmark_driver_qemu::probe::{self, KvmFinding, KvmState};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Command};
use virtmark_image::{SharedFile, Store, TinyRecipe};

use crate::error::io;
use crate::machine::{Lab, LabOptions, SHARE};
use crate::{Outcome, Result};

/// The variable that names the directory with the job's files.
pub const FILES_VARIABLE: &str = "LAB_FILES";

/// The variable that names the directory whose files come back.
pub const RESULTS_VARIABLE: &str = "LAB_RESULTS";

/// Where results lie in the lab.
const LAB_RESULTS: &str = "/root/results";

/// What is to run where KVM works.
#[derive(Clone, Debug)]
pub struct Job {
    /// Files that it needs, below `$LAB_FILES`.
    pub files: Vec<SharedFile>,
    /// A line for the shell. What it leaves as files in `$LAB_RESULTS` comes back.
    pub command: String,
    /// More of its environment.
    pub env: BTreeMap<String, String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// Where a job ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In the lab: KVM, nested in emulation.
    Lab,
    /// On this host, whose KVM works.
    ThisHost,
}

/// Where programs of this host find KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// There.
    pub place: Where,
    /// What was found out about KVM on this host, in one line.
    pub reason: String,
}

/// What came back from a job.
#[derive(Debug)]
pub struct JobOutput {
    /// Where it ran.
    pub place: Where,
    /// How the command ended.
    pub outcome: Outcome,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Contents of the files that the command left, by name.
    pub results: BTreeMap<String, Vec<u8>>,
}

/// Runs a job on this host where KVM works here, and in a lab of its own otherwise. Nothing of either is left.
///
/// Errors: there is no lab to be had, or it ended. A command's own failure is an outcome.
pub fn run(job: &Job, options: &LabOptions, progress: &mut dyn FnMut(&str)) -> Result<JobOutput> {
    let run_dir = Arc::new(RunDir::create()?);
    let Choice { place, reason } = choose(options, &run_dir, progress)?;
    match place {
        Where::ThisHost => here(job, &run_dir),
        Where::Lab => {
            progress(&format!("the lab it is: {reason}"));
            let options = LabOptions { shared: job.files.clone(), ..options.clone() };
            let mut lab = Lab::start(&options, run_dir, progress)?;
            let output = in_lab(job, &lab);
            lab.end()?;
            output
        }
    }
}

/// Finds out where KVM works: on this host when a probe guest runs under it, in the lab otherwise. The first time
/// since this host's boot takes as long as that guest, at most 20 s; a minute where it is emulated itself.
pub fn choose(options: &LabOptions, run_dir: &Arc<RunDir>, progress: &mut dyn FnMut(&str)) -> Result<Choice> {
    if let Some(finding) = probe::node() {
        return Ok(choice(finding));
    }
    let program = Program::find(options.qemu.as_deref())?;
    let store = Store::open(options.store.clone())?;
    let image = store.ensure_tiny(&TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec()), &mut *progress)?;
    let finding = probe::kvm(&program, &BootImage::of(&image), run_dir, &options.store, progress)?;
    Ok(choice(finding))
}

fn choice(finding: KvmFinding) -> Choice {
    let place = match finding.state {
        KvmState::Usable => Where::ThisHost,
        KvmState::Absent | KvmState::Forbidden | KvmState::Unusable => Where::Lab,
    };
    Choice { place, reason: finding.reason }
}

fn in_lab(job: &Job, lab: &Lab) -> Result<JobOutput> {
    let guest = lab.guest();
    let line = format!("mkdir -p {LAB_RESULTS} && cd {LAB_RESULTS} && {{ {}\n}}", job.command);
    let mut command = Command::shell(line);
    command.env = job.env.clone();
    command.env.insert(FILES_VARIABLE.into(), SHARE.into());
    command.env.insert(RESULTS_VARIABLE.into(), LAB_RESULTS.into());
    command.timeout = Some(job.timeout);
    let output = guest.exec(&command)?;
    let listing = guest.exec(&Command::shell(format!("cd {LAB_RESULTS} && find . -type f")))?;
    let mut results = BTreeMap::new();
    for name in String::from_utf8_lossy(&listing.stdout).lines() {
        let name = name.trim_start_matches("./");
        let mut content = Vec::new();
        guest.get(&format!("{LAB_RESULTS}/{name}"), &mut content)?;
        results.insert(name.to_owned(), content);
    }
    use virtmark_hypervisor::ExecStatus;
    let outcome = match output.status {
        ExecStatus::Exited(code) => Outcome::Exited(code),
        ExecStatus::Signaled(signal) => Outcome::Signaled(signal),
        ExecStatus::TimedOut => Outcome::TimedOut,
    };
    Ok(JobOutput { place: Where::Lab, outcome, stdout: output.stdout, stderr: output.stderr, results })
}

fn here(job: &Job, run_dir: &RunDir) -> Result<JobOutput> {
    use std::os::unix::process::ExitStatusExt;
    let (files, results) = (run_dir.machine_dir("files")?, run_dir.machine_dir("results")?);
    for file in &job.files {
        let target = files.join(&file.path);
        let parent = target.parent().unwrap_or(&files);
        fs::create_dir_all(parent)
            .and_then(|()| std::os::unix::fs::symlink(&file.source, &target))
            .map_err(io(format!("link {}", target.display())))?;
    }
    // timeout(1) ends the whole group, as the agent does in the lab.
    let limit = format!("{:.3}", job.timeout.as_secs_f64());
    let mut command = process::Command::new("timeout");
    command.args(["--signal=KILL", &limit, "/bin/sh", "-c", &job.command]);
    command.envs(&job.env).env(FILES_VARIABLE, &files).env(RESULTS_VARIABLE, &results);
    command.current_dir(&results).stdin(Stdio::null());
    let output = command.output().map_err(io("run a job on this host"))?;
    let outcome = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => Outcome::Exited(code),
        // The signal that timeout(1) sends reaches itself as well.
        (None, Some(9)) => Outcome::TimedOut,
        (None, signal) => Outcome::Signaled(signal.unwrap_or_default()),
    };
    let mut contents = BTreeMap::new();
    collect(&results, &results, &mut contents)?;
    let process::Output { stdout, stderr, .. } = output;
    Ok(JobOutput { place: Where::ThisHost, outcome, stdout, stderr, results: contents })
}

/// The files below `directory`, by their names below `root`.
fn collect(root: &Path, directory: &Path, into: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let failed = |path: &Path| io(format!("read {}", path.display()));
    for entry in fs::read_dir(directory).map_err(failed(directory))?.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, into)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            into.insert(name, fs::read(&path).map_err(failed(&path))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtmark_host::rundir::Roots;

    #[test]
    fn only_a_guest_that_ran_is_kvm() {
        let place = |state| choice(KvmFinding { state, reason: "seen".into() }).place;
        assert_eq!(place(KvmState::Usable), Where::ThisHost);
        for state in [KvmState::Absent, KvmState::Forbidden, KvmState::Unusable] {
            assert_eq!(place(state), Where::Lab, "{state:?}");
        }
        assert_eq!(choice(KvmFinding { state: KvmState::Absent, reason: "seen".into() }).reason, "seen");
    }

    #[test]
    fn on_a_host_with_kvm_a_job_runs_directly() {
        let place = tempfile::tempdir().unwrap();
        let roots = Roots::new(place.path().join("c"), [place.path().join("b")]);
        let run_dir = RunDir::create_in(roots).unwrap();
        let source = place.path().join("input");
        fs::write(&source, "in").unwrap();
        let job = |command: &str| Job {
            files: vec![SharedFile { source: source.clone(), path: "deep/input".into() }],
            command: command.into(),
            env: [("WORD".to_owned(), "x".to_owned())].into(),
            timeout: Duration::from_secs(20),
        };
        let line = "cat $LAB_FILES/deep/input; mkdir a; echo $WORD > $LAB_RESULTS/a/b; echo no >&2; exit 3";
        let output = here(&job(line), &run_dir).unwrap();
        assert_eq!((output.place, output.outcome), (Where::ThisHost, Outcome::Exited(3)));
        assert_eq!((&*output.stdout, &*output.stderr), (&b"in"[..], &b"no\n"[..]));
        assert_eq!(output.results, [("a/b".to_owned(), b"x\n".to_vec())].into());
        drop(run_dir);
        let roots = Roots::new(place.path().join("c"), [place.path().join("b")]);
        let run_dir = RunDir::create_in(roots).unwrap();
        let job = Job { timeout: Duration::from_millis(200), ..job("sleep 30") };
        assert_eq!(here(&job, &run_dir).unwrap().outcome, Outcome::TimedOut);
    }
}
