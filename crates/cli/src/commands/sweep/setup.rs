//! What goes to where a target runs, and what cannot.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use virtmark_host::facts::host_facts;
use virtmark_host::rundir::RunDir;
use virtmark_load::TargetSpec;
use virtmark_load_binary::LOAD;
use virtmark_scenarios::sweep::redis::{self, Data, Redis};
use virtmark_scenarios::sweep::{Brought, Driven, Location, Outfit, ServiceSpec, SweepPlan, Upload};

use super::target::loopback_port;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::platform::Platform;

/// Where everything is put in a machine.
const DIRECTORY: &str = "/tmp/virtmark-sweep";
/// The built-in plan whose data can be made.
const REELS: &str = "reels_plan_a";
/// More than the load generator and the files beside it take.
const SPARE_BYTES: u64 = 64 << 20;

/// What goes to where a target runs.
pub(super) struct Setup {
    pub(super) outfit: Outfit,
    /// Where the plan finds its Redis, when one goes there too.
    pub(super) redis: Option<String>,
    /// What a reader of every row has to know.
    pub(super) warnings: Vec<String>,
}

/// Refuses what could not work, before anything is made.
pub(super) fn check(plan: &SweepPlan) -> Result<(), Failure> {
    let in_machine = plan.location == Location::Vm;
    if let Driven::Generator { spec: TargetSpec::Http(http) } = &plan.target
        && in_machine
    {
        let default_image = plan.machine.get("image").is_none_or(|image| image == "tiny");
        match loopback_port(&plan.target) {
            None => {
                let message = format!(
                    "a machine of a sweep has no network, and {} is not in it: drive it from this host with --in native",
                    http.url
                );
                return Err(Failure::usage(message));
            }
            Some(_) if plan.service.is_none() && default_image => {
                let message = format!(
                    "nothing would answer {} in the machine: bring a server with --service and --upload, or drive one on \
                     this host with --in native",
                    http.url
                );
                return Err(Failure::usage(message));
            }
            Some(_) => {}
        }
    }
    if let Driven::Generator { spec: TargetSpec::Plan(spec) } = &plan.target
        && let Some(address) = spec.redis.as_ref().filter(|_| in_machine)
    {
        let message = format!(
            "a machine of a sweep has no network, and cannot read the Redis {address}: leave out --redis, and one is \
             brought into the machine, or add --in native"
        );
        return Err(Failure::usage(message));
    }
    if plan.location == Location::Native
        && let Some(upload) = plan.uploads.iter().find(|upload| !is_inside(&upload.path))
    {
        let message = format!(
            "--upload {}={} would write to this host: with --in native, files are put below the directory of the sweep \
             only",
            upload.source.display(),
            upload.path
        );
        return Err(Failure::usage(message));
    }
    if plan.wants_redis() {
        if redis::installed().is_none() {
            let message = format!(
                "{} reads a Redis, and redis-server is not installed (apt-get install redis-server); a running one is \
                 named with --redis HOST:PORT and --in native",
                plan.name
            );
            return Err(Failure { exit: Exit::Unsupported, message });
        }
        if plan.redis_data.is_none() && plan.name != REELS {
            let message = format!(
                "{} reads a Redis whose data nobody knows: give a dump with --redis-data FILE, or a running one with \
                 --redis HOST:PORT and --in native",
                plan.name
            );
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

impl Setup {
    pub(super) fn new(plan: &SweepPlan, platform: &Platform) -> anyhow::Result<Self> {
        let run_dir = &platform.run_dir;
        let directory = match plan.location {
            Location::Vm | Location::Service => DIRECTORY.to_owned(),
            Location::Native => native_directory(run_dir)?.display().to_string(),
        };
        let mut files: Vec<Upload> = plan.uploads.iter().map(upload).collect::<Result<_, _>>()?;
        let (mut services, mut address) = (Vec::new(), None);
        if plan.wants_redis() {
            let data = match &plan.redis_data {
                Some(dump) => Data::File(dump.source.clone()),
                None => Data::Reels,
            };
            let redis = Redis::new(run_dir, plan.location, &directory, &data)?;
            files.extend(redis.files);
            services.push(redis.service);
            address = Some(redis.address);
        }
        if let Some(argv) = plan.service.clone() {
            services.push(ServiceSpec { name: "service".into(), argv, port: plan.service_port });
        }
        let outfit = Outfit { generator: LOAD, directory, files, services };
        Ok(Self { outfit, redis: address, warnings: warnings(plan) })
    }
}

/// More than the host has is allowed, and said.
fn warnings(plan: &SweepPlan) -> Vec<String> {
    let cpus = host_facts().logical_cpus;
    let most = plan.vcpus.iter().max().copied().unwrap_or(0);
    if plan.location == Location::Service || most <= cpus {
        return Vec::new();
    }
    let sizes: Vec<String> =
        plan.vcpus.iter().filter(|vcpus| **vcpus > cpus).map(ToString::to_string).collect();
    vec![format!(
        "{} vCPUs are more than the {cpus} CPUs of this host, which they share",
        sizes.join(" and ")
    )]
}

fn upload(file: &Brought) -> anyhow::Result<Upload> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file.source)?.permissions().mode() & 0o777;
    Ok(Upload { source: file.source.clone(), path: file.path.clone(), mode })
}

/// Whether a path stays below where it begins.
fn is_inside(path: &str) -> bool {
    use std::path::Component;
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// A directory of this run from which programs may be executed.
fn native_directory(run_dir: &RunDir) -> anyhow::Result<PathBuf> {
    let places = [run_dir.bulk_dir("sweep", SPARE_BYTES)?, run_dir.machine_dir("sweep-files")?];
    let allows_programs = |place: &&PathBuf| {
        statvfs(place.as_path()).is_ok_and(|facts| !facts.f_flag.contains(StatVfsMountFlags::NOEXEC))
    };
    places.iter().find(allows_programs).cloned().ok_or_else(|| {
        let message = format!(
            "no program may be executed in {} (mounted noexec): name another place with VIRTMARK_SCRATCH",
            places[0].display()
        );
        Failure { exit: Exit::PermissionDenied, message }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_where_they_are_put() {
        assert!(is_inside("a/b") && is_inside("./a"));
        assert!(!is_inside("/a") && !is_inside("../a") && !is_inside("a/../../b"));
    }
}
