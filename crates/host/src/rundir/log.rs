//! The record of started processes: a file `processes`, one line `pid start_ticks boot_id name` each, appended by
//! the child itself before it executes its program.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::proc;

/// Longest line that is written; a name is cut to fit.
const LINE_BYTES: usize = 256;
/// Longest name that is kept: pid, ticks, boot id and spaces need fewer than 128 bytes.
const NAME_BYTES: usize = 100;

/// What a child needs to record itself, prepared before the fork.
#[derive(Debug)]
pub(crate) struct ProcessLog {
    file: Arc<File>,
    tail: Vec<u8>,
}

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) pid: i32,
    pub(super) start_ticks: u64,
    pub(super) boot_id: String,
    pub(super) name: String,
}

impl ProcessLog {
    pub(super) fn new(file: Arc<File>, boot_id: &str, name: &str) -> Self {
        let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let name = &name[..name.floor_char_boundary(NAME_BYTES)];
        Self { file, tail: format!(" {boot_id} {name}\n").into_bytes() }
    }

    /// Appends the line of the calling process.
    ///
    /// Runs between fork and exec: system calls and stack buffers only. One write of one short line to a file
    /// opened for appending, so that lines of children started at once do not mix.
    pub(crate) fn record_self(&self) -> std::io::Result<()> {
        let stat = rustix::fs::open(c"/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = [0; 1024];
        let length = rustix::io::read(&stat, &mut buffer)?;
        let (pid, start) = buffer.get(..length).and_then(proc::identity).ok_or(Errno::INVAL)?;

        let mut line = [0; LINE_BYTES];
        let mut end = 0;
        for part in [pid, b" ", start, &self.tail] {
            line.get_mut(end..end + part.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(part);
            end += part.len();
        }
        let line = line.get(..end).ok_or(Errno::NAMETOOLONG)?;
        if rustix::io::write(&*self.file, line)? == line.len() { Ok(()) } else { Err(Errno::NOSPC.into()) }
    }
}

/// Reads a record; what a crash left half-written is passed over.
pub(super) fn parse(text: &str) -> Vec<Recorded> {
    text.split_inclusive('\n').filter_map(|line| parse_line(line.strip_suffix('\n')?)).collect()
}

fn parse_line(line: &str) -> Option<Recorded> {
    let mut fields = line.splitn(4, ' ');
    Some(Recorded {
        pid: fields.next()?.parse().ok().filter(|&pid| pid > 1)?,
        start_ticks: fields.next()?.parse().ok()?,
        boot_id: fields.next()?.to_owned(),
        name: fields.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::ProcStat;

    #[test]
    fn what_is_recorded_is_read_back() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = Arc::new(File::options().append(true).open(path.path()).unwrap());
        let long = "ü".repeat(200);
        for name in ["qemu of machine 1", "a\nb", &long] {
            ProcessLog::new(file.clone(), "boot-1", name).record_self().unwrap();
        }
        let read = parse(&std::fs::read_to_string(path.path()).unwrap());
        let me = ProcStat::read(std::process::id() as i32).unwrap();
        assert_eq!(read.len(), 3);
        assert!(read.iter().all(|line| line.pid == me.pid && line.start_ticks == me.start_ticks));
        assert_eq!(read[0].boot_id, "boot-1");
        assert_eq!(read[0].name, "qemu of machine 1");
        assert_eq!(read[1].name, "a?b");
        assert_eq!(read[2].name, "ü".repeat(50));
    }

    #[test]
    fn half_a_line_and_nonsense_are_passed_over() {
        let text = "12 34 boot qemu\nnonsense\n-1 5 boot all\n0 5 boot group\n1 5 boot init\n56 78 bo";
        let expected = Recorded { pid: 12, start_ticks: 34, boot_id: "boot".into(), name: "qemu".into() };
        assert_eq!(parse(text), [expected]);
    }
}
