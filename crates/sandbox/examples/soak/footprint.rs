//! What a process has, and what it has put on the host.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Result;

/// What the service may have grown by, in memory and in its files each. It remembers the names of the last 10,000 sandboxes that are gone, at most
/// some hundred bytes each, and its run directory records each VMM; and its allocator does not give everything back.
const GROWTH_BYTES: u64 = 1 << 20;

/// Where cgroups of all versions are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What a service has at one moment.
pub(crate) struct Footprint {
    /// What its open descriptors lead to, numbers of sockets and pipes left out.
    descriptors: Vec<String>,
    threads: usize,
    processes: BTreeSet<u32>,
    files: BTreeSet<PathBuf>,
    /// The sum of their lengths.
    file_bytes: u64,
    cgroups: BTreeSet<PathBuf>,
    resident_bytes: u64,
}

impl Footprint {
    /// That of the service `pid`, which keeps its files in `place`.
    pub(crate) fn of(pid: u32, place: &Path) -> Result<Self> {
        let mut files = BTreeSet::new();
        let mut file_bytes = 0;
        walk(place, &mut |path| {
            // One that has gone since it was listed has no length.
            file_bytes += fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
            files.insert(path.to_owned());
        })?;
        let usage = virtmark_host::process::usage(i32::try_from(pid)?);
        Ok(Self {
            descriptors: descriptors(pid)?,
            threads: fs::read_dir(format!("/proc/{pid}/task"))?.count(),
            processes: children(pid)?,
            files,
            file_bytes,
            cgroups: cgroups(pid)?,
            resident_bytes: usage.ok_or("the service is gone")?.rss_bytes,
        })
    }

    /// What there is more of than there was, in words.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<String> {
        let mut left = Vec::new();
        if self.descriptors != before.descriptors {
            let (old, new) = (before.descriptors.join(" "), self.descriptors.join(" "));
            left.push(format!("other descriptors, {new} instead of {old}"));
        }
        if self.threads > before.threads {
            left.push(format!("{} threads instead of {}", self.threads, before.threads));
        }
        if self.processes != before.processes {
            left.push(format!("other processes, {:?} instead of {:?}", self.processes, before.processes));
        }
        for (what, now, then) in
            [("files", &self.files, &before.files), ("cgroups", &self.cgroups, &before.cgroups)]
        {
            if now != then {
                let more: Vec<_> = now.difference(then).collect();
                let fewer: Vec<_> = then.difference(now).collect();
                left.push(format!("other {what}: {more:?} more, {fewer:?} fewer"));
            }
        }
        for (what, now, then) in [
            ("memory", self.resident_bytes, before.resident_bytes),
            ("files", self.file_bytes, before.file_bytes),
        ] {
            let grown = now.saturating_sub(then);
            if grown > GROWTH_BYTES {
                left.push(format!("{grown} bytes in {what}, more than {GROWTH_BYTES}"));
            }
        }
        left
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} descriptors, {} threads, {} processes, {} files of {} bytes, {} cgroups, {:.2} MiB resident",
            self.descriptors.len(),
            self.threads,
            self.processes.len(),
            self.files.len(),
            self.file_bytes,
            self.cgroups.len(),
            self.resident_bytes as f64 / 1_048_576.0
        )
    }
}

/// What is left in `place`, and of cgroups, of the service `pid`, which has ended: its state may stay.
pub(crate) fn leftovers(pid: u32, place: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = cgroups(pid)?;
    // Everything that a run makes has its name, which begins with its process.
    let run = format!("/{pid}-");
    walk(place, &mut |path| {
        if path.to_string_lossy().contains(&run) {
            found.insert(path.to_owned());
        }
    })?;
    Ok(found)
}

/// What they lead to, sorted.
fn descriptors(pid: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        match fs::read_link(entry?.path()) {
            Ok(target) => {
                let target = target.to_string_lossy().into_owned();
                let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind);
                found.push(kind.to_owned());
            }
            // Closed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Its children with theirs, dead ones that nobody has waited for included.
fn children(pid: u32) -> Result<BTreeSet<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended since it was listed.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // The name is in parentheses and may contain anything; state and parent follow the last one.
        let fields = stat.rsplit_once(')').map(|(_, tail)| tail.split_whitespace());
        let parent =
            fields.and_then(|mut fields| fields.nth(1)).and_then(|parent| parent.parse::<u32>().ok());
        parents.push((process, parent.ok_or("a line of /proc/PID/stat has no parent")?));
    }
    let mut found = BTreeSet::new();
    let mut pending = vec![pid];
    while let Some(parent) = pending.pop() {
        for &(process, of) in &parents {
            if of == parent && found.insert(process) {
                pending.push(process);
            }
        }
    }
    Ok(found)
}

/// The cgroups of its run and of the run's machines.
fn cgroups(pid: u32) -> Result<BTreeSet<PathBuf>> {
    // That of a run is named after its process.
    let run = format!("/virtmark-{pid}-");
    let mut found = BTreeSet::new();
    walk(Path::new(CGROUPS), &mut |path| {
        if path.to_string_lossy().contains(&run) && path.is_dir() {
            found.insert(path.to_owned());
        }
    })?;
    Ok(found)
}

/// Everything below `directory`, links not followed.
fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Gone since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot list {}: {error}", directory.display()).into()),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        visit(&path);
        if entry.file_type()?.is_dir() {
            walk(&path, visit)?;
        }
    }
    Ok(())
}
