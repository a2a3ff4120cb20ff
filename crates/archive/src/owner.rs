//! Which process writes a run, and whether it still lives.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, told apart from every other that ever had or will have its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Name of the host.
    host: String,
    /// Names the boot of the host.
    boot_id: String,
    /// Names the space that `pid` is a number of; containers on one host have one each.
    pid_namespace: String,
    /// Process id.
    pub(crate) pid: u32,
    /// Clock ticks from boot to the start of the process: a later process of the same id started later.
    start_ticks: u64,
}

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    Alive,
    Dead,
    /// It runs, or ran, where this process cannot look.
    Unseen,
}

impl Owner {
    /// This process; `None` without a readable `/proc`.
    pub(crate) fn this_process() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned(),
            pid_namespace: fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned(),
            pid: stat.split(' ').next()?.parse().ok()?,
            start_ticks: ProcessStat::parse(&stat)?.start_ticks,
        })
    }

    /// Whether it lives, as seen by `observer` (this process).
    pub(crate) fn liveness(&self, observer: Option<&Self>) -> Liveness {
        let Some(observer) = observer else { return Liveness::Unseen };
        if self.boot_id != observer.boot_id {
            // No process outlives a reboot of its host; of another host nothing is known.
            return if self.host == observer.host { Liveness::Dead } else { Liveness::Unseen };
        }
        if self.pid_namespace != observer.pid_namespace {
            return Liveness::Unseen;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok();
        match stat.as_deref().and_then(ProcessStat::parse) {
            Some(stat) if stat.start_ticks == self.start_ticks && !stat.has_exited => Liveness::Alive,
            _ => Liveness::Dead,
        }
    }
}

/// What `/proc/PID/stat` tells (proc_pid_stat(5)).
struct ProcessStat {
    /// A zombie, or about to become none.
    has_exited: bool,
    start_ticks: u64,
}

impl ProcessStat {
    fn parse(stat: &str) -> Option<Self> {
        // The command name may hold spaces and parentheses: fields are counted from its end.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        // Field 22, and the state is field 3.
        let start_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self { has_exited: matches!(state, "X" | "Z"), start_ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_had_its_id_before_is_not() {
        let this = Owner::this_process().unwrap();
        assert_eq!(this.pid, std::process::id());
        assert_eq!(this.liveness(Some(&this)), Liveness::Alive);
        let former = Owner { start_ticks: this.start_ticks - 1, ..this.clone() };
        assert_eq!(former.liveness(Some(&this)), Liveness::Dead);
    }

    #[test]
    fn nothing_is_claimed_about_places_that_cannot_be_seen() {
        let this = Owner::this_process().unwrap();
        let before_reboot = Owner { boot_id: "x".into(), ..this.clone() };
        assert_eq!(before_reboot.liveness(Some(&this)), Liveness::Dead);
        let elsewhere = Owner { host: "elsewhere.test".into(), ..before_reboot };
        assert_eq!(elsewhere.liveness(Some(&this)), Liveness::Unseen);
        let container = Owner { pid_namespace: "pid:[1]".into(), ..this.clone() };
        assert_eq!(container.liveness(Some(&this)), Liveness::Unseen);
        assert_eq!(this.liveness(None), Liveness::Unseen);
    }

    #[test]
    fn command_names_with_parentheses_are_skipped_and_zombies_have_exited() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        let stat = ProcessStat::parse(&format!("42 (a) S) Z {rest}")).unwrap();
        assert!(stat.has_exited);
        assert_eq!(stat.start_ticks, 777);
        assert!(ProcessStat::parse("42 (cut off) S 1").is_none());
    }
}
