//! What `/proc/PID/stat` says of a process, as far as identifying and hunting processes needs it.

use std::fs;

/// The fields of `/proc/PID/stat` that tell one process from another (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcStat {
    pub(crate) pid: i32,
    /// One letter; `Z` and `X` are processes that have ended.
    pub(crate) state: u8,
    pub(crate) group: i32,
    /// Clock ticks from the boot of the host to the start of the process. With the pid it names a process
    /// for as long as the host is up.
    pub(crate) start_ticks: u64,
}

impl ProcStat {
    /// The process with this pid now, if there is one.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the one line of the file.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let pid = number(identity(line)?.0)?;
        let mut fields = after_command(line)?;
        let state = *fields.next()?.first()?;
        let group = number(fields.nth(1)?)?;
        let start_ticks = number(identity(line)?.1)?;
        Some(Self { pid, state, group, start_ticks })
    }

    /// Whether it still runs; a zombie only waits for its parent to notice.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Pid and start time as they stand in the line. Neither allocates nor panics: it also runs between fork and exec.
pub(crate) fn identity(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let pid = line.split(|&byte| byte == b' ').next()?;
    Some((pid, after_command(line)?.nth(19)?))
}

/// Field 3 and on. The command name may hold anything, also `)`, so the last one ends it.
fn after_command(line: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let end = line.iter().rposition(|&byte| byte == b')')?;
    Some(line.get(end + 2..)?.split(|&byte| byte == b' '))
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let line = b"4321 (a) R 1 (2 3) S 1 4300 4200 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 18446744073709551615 0\n";
        let stat = ProcStat::parse(line).unwrap();
        assert_eq!(stat, ProcStat { pid: 4321, state: b'S', group: 4300, start_ticks: 987_654 });
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert_eq!(ProcStat::parse(b""), None);
        assert_eq!(ProcStat::parse(b"1 (x)"), None);
        assert_eq!(ProcStat::parse(b"1 (x) S 1 2 3"), None);
    }

    #[test]
    fn this_process_is_found() {
        let me = ProcStat::read(std::process::id() as i32).unwrap();
        assert_eq!(me.pid, std::process::id() as i32);
        assert!(me.is_running());
        assert!(me.start_ticks > 0);
    }
}
