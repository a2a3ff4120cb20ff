//! Limits of the cgroup that this process is in, and of all above it: the tightest one counts.
//!
//! cgroup v2 (cgroup-v2 in the kernel's documentation), v1, and both side by side (hybrid), where a controller is
//! in one of the two.

use std::path::{Path, PathBuf};

use virtmark_model::CgroupLimits;

use crate::source::Source;

/// v1 writes "no limit" as the largest page-aligned 63-bit number.
const V1_UNLIMITED_BYTES: u64 = 1 << 62;

/// Where this process is in the hierarchies.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    source: Source,
    memberships: Vec<Membership>,
    mounts: Vec<Mount>,
}

/// A line of `/proc/self/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    /// Empty for v2.
    controllers: Vec<String>,
    path: PathBuf,
}

/// A hierarchy in `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    is_v2: bool,
    /// The cgroup that shows at the mount point.
    root: PathBuf,
    point: PathBuf,
    options: Vec<String>,
}

/// A cgroup and those above it, innermost first, as directories of one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) is_v2: bool,
    pub(crate) directories: Vec<PathBuf>,
}

impl Cgroups {
    pub(crate) fn read(source: &Source) -> Self {
        let lines = |path| source.text(path).unwrap_or_default();
        Self {
            source: source.clone(),
            memberships: lines("proc/self/cgroup").lines().filter_map(parse_membership).collect(),
            mounts: lines("proc/self/mountinfo").lines().filter_map(parse_mount).collect(),
        }
    }

    pub(crate) fn limits(&self) -> CgroupLimits {
        CgroupLimits {
            cpus: self.cpus(),
            cpuset: self.cpuset(),
            memory_bytes: self.memory_limits().map(|(_, bytes)| bytes).min(),
            version: self.version(),
        }
    }

    /// 1 when any controller is in a v1 hierarchy.
    pub(crate) fn version(&self) -> Option<u8> {
        let has_v1 = self.memberships.iter().flat_map(|membership| &membership.controllers);
        let has_v1 = has_v1.filter(|controller| !controller.starts_with("name=")).count() > 0;
        match (has_v1, self.memberships.is_empty()) {
            (_, true) => None,
            (true, false) => Some(1),
            (false, false) => Some(2),
        }
    }

    /// Memory that the limits leave, file cache that can be dropped counted as free; `None` without a limit.
    pub(crate) fn memory_available_bytes(&self) -> Option<u64> {
        let is_v2 = self.chain("memory")?.is_v2;
        let (usage, cache) = if is_v2 {
            ("memory.current", "inactive_file")
        } else {
            ("memory.usage_in_bytes", "total_inactive_file")
        };
        let left = self.memory_limits().filter_map(|(directory, limit)| {
            let stat = self.source.text(directory.join("memory.stat")).unwrap_or_default();
            let cache =
                stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse().ok()).unwrap_or(0);
            let used = self.source.number(directory.join(usage))?.saturating_sub(cache);
            Some(limit.saturating_sub(used))
        });
        left.min()
    }

    /// The directories of the hierarchy that a controller is in.
    pub(crate) fn chain(&self, controller: &str) -> Option<Chain> {
        let has = |names: &[String]| names.iter().any(|name| name == controller);
        let v1 = || {
            let membership = self.memberships.iter().find(|membership| has(&membership.controllers))?;
            let mount = self.mounts.iter().find(|mount| !mount.is_v2 && has(&mount.options))?;
            Some((membership, mount))
        };
        let v2 = || {
            let membership = self.memberships.iter().find(|membership| membership.controllers.is_empty())?;
            Some((membership, self.mounts.iter().find(|mount| mount.is_v2)?))
        };
        let (membership, mount) = v1().or_else(v2)?;
        Some(Chain { is_v2: mount.is_v2, directories: directories(membership, mount) })
    }

    fn cpus(&self) -> Option<f64> {
        let Chain { is_v2, directories } = self.chain("cpu")?;
        let of = |directory: &PathBuf| {
            if is_v2 {
                let text = self.source.text(directory.join("cpu.max"))?;
                let (quota, period) = text.split_once(' ')?;
                ratio(quota.parse().ok()?, period.parse().ok()?)
            } else {
                // -1 for no quota, which is not a number of this type.
                let quota = self.source.number(directory.join("cpu.cfs_quota_us"))?;
                ratio(quota, self.source.number(directory.join("cpu.cfs_period_us"))?)
            }
        };
        directories.iter().filter_map(of).min_by(f64::total_cmp)
    }

    /// The innermost cgroup's set is within those above it already.
    fn cpuset(&self) -> Option<String> {
        let Chain { is_v2, directories } = self.chain("cpuset")?;
        let file = if is_v2 { "cpuset.cpus.effective" } else { "cpuset.effective_cpus" };
        directories.iter().find_map(|directory| self.source.text(directory.join(file)))
    }

    fn memory_limits(&self) -> impl Iterator<Item = (PathBuf, u64)> {
        let chain = self.chain("memory");
        let file = if chain.as_ref().is_some_and(|chain| chain.is_v2) {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        chain.into_iter().flat_map(|chain| chain.directories).filter_map(move |directory| {
            // `max` is not a number.
            let bytes = self.source.number(directory.join(file))?;
            (bytes < V1_UNLIMITED_BYTES).then_some((directory, bytes))
        })
    }
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    if period == 0 { None } else { Some(quota as f64 / period as f64) }
}

/// `id:controllers:path`, with no controllers for v2 (cgroups(7)).
fn parse_membership(line: &str) -> Option<Membership> {
    let mut fields = line.splitn(3, ':').skip(1);
    let controllers = fields.next()?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Membership { controllers, path: fields.next()?.into() })
}

/// proc_pid_mountinfo(5): root and mount point are fields 4 and 5; after ` - ` come type, source and the options of
/// the file system, which for v1 are its controllers.
fn parse_mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let mut filesystem = filesystem.split(' ');
    let is_v2 = match filesystem.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    Some(Mount {
        is_v2,
        root: mount.next()?.into(),
        point: mount.next()?.into(),
        options: filesystem.nth(1)?.split(',').map(str::to_owned).collect(),
    })
}

/// A container may see only its own part of a hierarchy; a path outside of what is mounted means the mount point.
fn directories(membership: &Membership, mount: &Mount) -> Vec<PathBuf> {
    let inside = membership.path.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let inside = if inside.starts_with("..") { Path::new("") } else { inside };
    let innermost = mount.point.join(inside);
    innermost.ancestors().take_while(|path| path.starts_with(&mount.point)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroups) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let cgroups = Cgroups::read(&Source::new(root.path()));
        (root, cgroups)
    }

    #[test]
    fn the_tightest_of_the_ancestors_counts_in_v2() {
        let (_root, cgroups) = fake(&[
            ("proc/self/cgroup", "0::/user.slice/job.scope\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"),
            ("sys/fs/cgroup/user.slice/job.scope/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/user.slice/job.scope/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/user.slice/job.scope/memory.current", "1000\n"),
            ("sys/fs/cgroup/user.slice/job.scope/cpuset.cpus.effective", "0-3\n"),
            ("sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/user.slice/memory.current", "73741824\n"),
            ("sys/fs/cgroup/user.slice/memory.stat", "anon 5\ninactive_file 3741824\n"),
        ]);
        let expected = CgroupLimits {
            cpus: Some(1.5),
            cpuset: Some("0-3".into()),
            memory_bytes: Some(1 << 30),
            version: Some(2),
        };
        assert_eq!(cgroups.limits(), expected);
        assert_eq!(cgroups.memory_available_bytes(), Some(1_073_741_824 - 70_000_000));
    }

    #[test]
    fn a_container_on_v1_sees_its_own_cgroup_at_the_mount_point() {
        let (_root, cgroups) = fake(&[
            (
                "proc/self/cgroup",
                "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n1:name=systemd:/docker/abc\n",
            ),
            (
                "proc/self/mountinfo",
                "40 30 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                 41 30 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ]);
        let expected =
            CgroupLimits { cpus: None, cpuset: None, memory_bytes: Some(512 << 20), version: Some(1) };
        assert_eq!(cgroups.limits(), expected);
    }

    #[test]
    fn side_by_side_each_controller_is_looked_up_where_it_is() {
        let (_root, cgroups) = fake(&[
            ("proc/self/cgroup", "2:cpu:/\n0::/app\n"),
            (
                "proc/self/mountinfo",
                "40 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                 41 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/app/memory.max", "1024\n"),
        ]);
        let limits = cgroups.limits();
        assert_eq!((limits.cpus, limits.memory_bytes, limits.version), (Some(0.5), Some(1024), Some(1)));
    }

    #[test]
    fn the_largest_number_of_v1_is_no_limit_and_no_cgroup_is_none() {
        let (_root, cgroups) = fake(&[
            ("proc/self/cgroup", "3:memory:/\n"),
            ("proc/self/mountinfo", "41 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(cgroups.limits().memory_bytes, None);
        assert_eq!(cgroups.memory_available_bytes(), None);
        assert_eq!(fake(&[]).1.limits(), CgroupLimits::default());
    }
}
