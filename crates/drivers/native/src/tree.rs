//! What a tree of processes uses.

use std::collections::HashMap;
use std::fs;

use virtmark_host::process;
use virtmark_hypervisor::Usage;

/// What a process and all that descend from it use, together. CPU time is that of the living, to the nanosecond, and of
/// those they waited for, in clock ticks (`cutime` and `cstime` of proc(5)); a page that is shared counts in each resident
/// set, and in shares in the proportional ones.
pub(crate) fn usage(root: i32) -> Usage {
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    let processes = processes();
    let mut total = Usage::default();
    for pid in tree(root, &processes) {
        let Some(used) = process::usage(pid) else { continue };
        let waited_ticks = processes.get(&pid).map_or(0, |process| process.waited_ticks);
        add(&mut total.cpu_ns, used.cpu_ns + waited_ticks * 1_000_000_000 / ticks_per_second);
        add(&mut total.rss_bytes, used.rss_bytes);
        if let Some(pss_bytes) = used.pss_bytes {
            add(&mut total.pss_bytes, pss_bytes);
        }
        if let Some(private_bytes) = used.private_bytes {
            add(&mut total.private_bytes, private_bytes);
        }
    }
    total
}

fn add(total: &mut Option<u64>, more: u64) {
    *total = Some(total.unwrap_or(0) + more);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// CPU time of the children that it waited for, and of theirs.
    waited_ticks: u64,
}

/// The root, its children, theirs, and so on.
fn tree(root: i32, processes: &HashMap<i32, Process>) -> Vec<i32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(processes.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

fn processes() -> HashMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parse(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect()
}

/// Reads `/proc/PID/stat`. The name in parentheses may contain anything; the fields behind it are numbers.
fn parse(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Numbered from 3, the state, in proc(5): the parent is 4, cutime 16, cstime 17.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        parent: i32::try_from(number(4)?).ok()?,
        waited_ticks: number(16)?.checked_add(number(17)?)?,
    })
}

/// When a process started, in clock ticks after the boot of the host, from `/proc/PID/stat`.
pub(crate) fn start_ticks(stat: &str) -> Option<u64> {
    // Field 22 of proc(5), counted from 3, the state.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_any_name() {
        let stat = "71 (a) b (c)) S 12 71 71 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 100 200 300";
        assert_eq!(parse(stat), Some(Process { parent: 12, waited_ticks: 15 }));
        assert_eq!(parse("71 (cut) S 12"), None);
        assert_eq!(start_ticks(stat), Some(100));
        assert_eq!(start_ticks("71 (cut) S 12"), None);
    }

    #[test]
    fn the_tree_has_all_descendants_and_nobody_else() {
        let parents = [(2, 1), (3, 1), (4, 2), (5, 4), (6, 3), (7, 6)];
        let processes: HashMap<i32, Process> =
            parents.into_iter().map(|(pid, parent)| (pid, Process { parent, waited_ticks: 0 })).collect();
        let mut found = tree(2, &processes);
        found.sort_unstable();
        assert_eq!(found, [2, 4, 5]);
    }

    #[test]
    fn a_living_tree_uses_something() {
        let used = usage(std::process::id() as i32);
        assert!(used.cpu_ns.is_some_and(|ns| ns > 0) && used.rss_bytes.is_some_and(|bytes| bytes > 0));
        assert_eq!(usage(i32::MAX), Usage::default());
    }
}
