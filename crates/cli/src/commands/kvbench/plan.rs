//! From the file of a bench to what is to be done.

use std::path::{Path, PathBuf};

use virtmark_fleet::bench::{AccelName, BenchFile, HypervisorName, NetworkName, Step, Via};
use virtmark_fleet::provider::{Door, NetworkChoice};
use virtmark_fleet::{Job, Source, all_at_once, local, map::HostMap};
use virtmark_payload::{Code, Limits, Report};

use crate::args::{Accel, Driver, KernelArguments, KernelChoice, MachineArguments};
use crate::failure::Failure;
use crate::payload_run;
use crate::platform::{self, Prepared};
use crate::progress::Progress;

/// How often an upload is tried again.
const RETRIES: u32 = 3;

/// A bench with its payloads, all of which lint has passed.
pub(super) struct Bench {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: BenchFile,
    pub(super) via: Via,
    pub(super) results: PathBuf,
    pub(super) payloads: Vec<(Report, Source)>,
    pub(super) steps: Vec<Step>,
}

impl Bench {
    pub(super) fn read(path: &Path, via: Option<Via>, progress: &Progress) -> anyhow::Result<Self> {
        let file = BenchFile::from_file(path)?;
        let via = via.unwrap_or(file.via);
        if file.machines.hypervisor == HypervisorName::Native && via == Via::Ssh {
            return Err(
                Failure::usage("the hypervisor native is entered by its agent: leave out --via ssh").into()
            );
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = file.name().map_or(stem, str::to_owned);
        // What it names is beside it.
        let beside = path.parent().unwrap_or(Path::new(""));
        let results = match &file.results {
            Some(results) => beside.join(results),
            None => beside.join(format!("{name}-results")),
        };
        let read = |payload: &virtmark_fleet::bench::Payload| {
            let archive = beside.join(payload.file());
            let report = payload_run::checked(&archive, &Limits::default(), progress)?;
            let source = payload_run::source(&archive, &report)?;
            Ok((report, source))
        };
        let payloads = file.payloads.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        let sums: Vec<String> = payloads.iter().map(|(_, source)| source.sha256.clone()).collect();
        let steps = Step::all(&file, via, &sums);
        Ok(Self { name, path: path.into(), file, via, results, payloads, steps })
    }

    pub(super) fn payload_name(&self, at: usize) -> String {
        self.payloads
            .get(at)
            .map_or_else(String::new, |(report, source)| payload_run::name_of(report, source))
    }

    pub(super) fn prepare(&self, progress: &Progress) -> anyhow::Result<Prepared> {
        platform::prepare(&self.machine(), None, progress)
    }

    /// The machines, as options have them.
    pub(super) fn machine(&self) -> MachineArguments {
        let machines = &self.file.machines;
        MachineArguments {
            hypervisor: match machines.hypervisor {
                HypervisorName::Native => Driver::Native,
                HypervisorName::Qemu => Driver::Qemu,
            },
            accel: match machines.accel {
                AccelName::Auto => Accel::Auto,
                AccelName::Kvm => Accel::Kvm,
                AccelName::Tcg => Accel::Tcg,
            },
            vcpus: Some(machines.vcpus.get()),
            memory: Some(u64::from(machines.memory_mib.get()) << 20),
            image: Some(machines.image.clone()),
            kernel: KernelArguments { kernel: KernelChoice::Debian, modules: None },
            kernel_arguments: machines.kernel_arguments.clone(),
            qemu: None,
        }
    }

    pub(super) fn door(&self) -> Door {
        match self.via {
            Via::Agent => Door::Agent,
            Via::Ssh => Door::Ssh,
        }
    }

    pub(super) fn network(&self) -> NetworkChoice {
        match self.file.machines.network {
            NetworkName::Auto => NetworkChoice::Auto,
            NetworkName::Bridge => NetworkChoice::Bridge,
            NetworkName::User => NetworkChoice::User,
        }
    }

    /// What is to be done on every machine of the map.
    pub(super) fn job(&self, step: &Step, id: &str, map: &HostMap) -> Job {
        let wanted = &self.file.payloads[step.payload];
        let (report, source) = &self.payloads[step.payload];
        let manifest = report.manifest.clone().unwrap_or_default();
        let timeout = wanted.timeout.map(|seconds| seconds.0);
        Job {
            id: id.into(),
            source: source.clone(),
            root: wanted.root().into(),
            variables: wanted.parameters().clone(),
            tools: manifest.tools,
            absolute_paths: report.findings.iter().any(|finding| finding.code == Code::OutsideRoot),
            need: self.file.ready(),
            ready_time: Some(self.file.machines.timeout.0),
            transfer_time: Some(wanted.transfer_timeout.0),
            run_time: timeout.or(manifest.timeout).or(Some(local::DEFAULT_TIMEOUT)),
            retries: RETRIES,
            parallel: wanted.parallel.unwrap_or_else(|| all_at_once(map)),
        }
    }
}
