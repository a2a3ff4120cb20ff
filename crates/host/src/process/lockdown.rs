//! What a child gives up before it executes its program: root, capabilities, and most of the file system.

use std::fs;
use std::io;

use rustix::process::{Gid, Uid, geteuid, getpid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::landlock::WriteRules;

/// The first of the users that children become; the process id is added, so that no two have the same one at a time.
///
/// In the part of the 31-bit range that nobody hands out: systemd's list of user ranges has containers end at
/// 0x6fffffff and names nothing from there to 0x7ffe0000.
pub const FIRST_USER: u32 = 0x7600_0000;

/// The group of all such children. A file that this group may use is for them, if they are given its descriptor.
pub const GROUP: u32 = FIRST_USER;

/// The largest process id that Linux can be set to give (`PID_MAX_LIMIT`).
const LAST_PID: u32 = 1 << 22;

/// Capabilities without which root cannot become another user, end its processes and give files to its group:
/// `CAP_CHOWN`, `CAP_KILL`, `CAP_SETGID`, `CAP_SETUID`.
const WANTED: CapabilitySet =
    CapabilitySet::CHOWN.union(CapabilitySet::KILL).union(CapabilitySet::SETGID).union(CapabilitySet::SETUID);

/// What a child gives up before it executes its program. It always gives up capabilities, and new privileges: executing
/// a set-user-ID program gives it none.
#[derive(Debug, Default)]
pub struct Lockdown {
    /// The user that it becomes, for a parent that is root.
    pub user: Option<OwnUser>,
    /// What it may still change in the file system; everything that its user may when absent.
    pub writes: Option<WriteRules>,
}

/// A user of its own: [`FIRST_USER`] plus its process id, in [`GROUP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnUser {
    /// One more group, which is its only supplementary one.
    pub group: Option<u32>,
}

impl OwnUser {
    /// Whether this process can make children that are users of their own; otherwise why not.
    pub fn check() -> Result<(), String> {
        if !geteuid().is_root() {
            return Err("virtmark is not root".into());
        }
        let held = rustix::thread::capabilities(None).map_err(|error| error.to_string())?.effective;
        if !held.contains(WANTED) {
            return Err("virtmark is root without the capabilities chown, kill, setgid and setuid".into());
        }
        let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        let users = FIRST_USER..=FIRST_USER + LAST_PID;
        if !maps(&read("uid_map"), *users.start(), *users.end()) || !maps(&read("gid_map"), GROUP, GROUP) {
            return Err(format!("this user namespace has no users from {FIRST_USER:#x}"));
        }
        if read("setgroups").trim() == "deny" {
            return Err("this user namespace does not let groups be given up".into());
        }
        Ok(())
    }
}

impl Lockdown {
    /// Locks in the calling process.
    ///
    /// Runs between fork and exec, where there is one thread: system calls on values prepared before.
    pub(super) fn enter(&self) -> io::Result<()> {
        if let Some(OwnUser { group }) = self.user {
            let user = Uid::from_raw(FIRST_USER + getpid().as_raw_pid().cast_unsigned());
            let own = Gid::from_raw(GROUP);
            match group {
                Some(group) => set_thread_groups(&[Gid::from_raw(group)])?,
                None => set_thread_groups(&[])?,
            }
            set_thread_res_gid(own, own, own)?;
            set_thread_res_uid(user, user, user)?;
        }
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
        set_no_new_privs(true)?;
        self.writes.as_ref().map_or(Ok(()), WriteRules::enter)
    }
}

/// Whether one line of a map of users or groups, `inside outside count`, has all from `first` to `last`.
fn maps(map: &str, first: u32, last: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(inside)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        inside <= u64::from(first) && u64::from(last) < inside.saturating_add(count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_for_in_the_map_of_the_namespace() {
        let whole = "         0          0 4294967295\n";
        assert!(maps(whole, FIRST_USER, FIRST_USER + LAST_PID));
        let container = "0 100000 65536\n";
        assert!(!maps(container, FIRST_USER, FIRST_USER + LAST_PID));
        assert!(maps(container, 0, 65535) && !maps(container, 0, 65536));
        assert!(!maps("0 0\n", 0, 0) && !maps("", 0, 0));
    }
}
