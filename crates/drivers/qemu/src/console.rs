//! A machine's serial console: kept in a file, its end kept in memory, and watched for what it tells.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use virtmark_hypervisor::link::INIT_MARK;

/// What Linux writes when it gives up.
const PANIC_MARK: &[u8] = b"Kernel panic - not syncing";
/// Bytes of the end that are kept in memory.
const TAIL_BYTES: usize = 8 << 10;
/// Lines of the end that are shown with a failure.
const TAIL_LINES: usize = 20;

/// What the console has told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Observed {
    /// When the first user-space byte arrived.
    pub(crate) init_at: Option<Instant>,
    /// Whether the guest kernel has panicked.
    pub(crate) panicked: bool,
    /// Whether the console has closed, as it does when QEMU exits.
    pub(crate) closed: bool,
}

/// Reads a machine's console until it closes.
#[derive(Debug)]
pub(crate) struct Console {
    shared: Arc<Shared>,
    stream: Arc<UnixStream>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    observed: Observed,
    tail: VecDeque<u8>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Starts to read `stream`; everything read goes to the file `log` as well.
    pub(crate) fn start(stream: UnixStream, log: &Path) -> io::Result<Self> {
        let log = File::create(log)?;
        let (shared, stream) = (Arc::new(Shared::default()), Arc::new(stream));
        let reader = thread::Builder::new().name("console".into()).spawn({
            let shared = Arc::clone(&shared);
            let stream = Arc::clone(&stream);
            move || read_all(&stream, log, &shared)
        })?;
        Ok(Self { shared, stream, reader: Some(reader) })
    }

    /// What it has told so far.
    pub(crate) fn observed(&self) -> Observed {
        self.shared.lock().observed
    }

    /// Waits until the first user-space byte, a panic or the console's end, or until `deadline`.
    pub(crate) fn wait_init(&self, deadline: Instant) -> Observed {
        self.wait(deadline, |observed| observed.init_at.is_some() || observed.panicked || observed.closed)
    }

    /// Waits until everything that QEMU wrote has been read, or until `deadline`.
    pub(crate) fn wait_closed(&self, deadline: Instant) -> Observed {
        self.wait(deadline, |observed| observed.closed)
    }

    fn wait(&self, deadline: Instant, done: impl Fn(&Observed) -> bool) -> Observed {
        let mut state = self.shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if done(&state.observed) || left.is_zero() {
                return state.observed;
            }
            (state, _) =
                self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A handle that gives the console's last lines whenever it is called.
    pub(crate) fn tail_source(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || tail_of(&shared))
    }

    /// The console's last lines.
    pub(crate) fn tail(&self) -> String {
        tail_of(&self.shared)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Both fail only when QEMU or the reader has ended already, which is what is wanted.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read_all(mut stream: &UnixStream, mut log: File, shared: &Shared) {
    let mut chunk = [0; 4096];
    let mut scanner = Scanner::default();
    loop {
        let count = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let at = Instant::now();
        let bytes = &chunk[..count];
        {
            let mut state = shared.lock();
            scanner.scan(bytes, at, &mut state.observed);
            state.tail.extend(bytes);
            let excess = state.tail.len().saturating_sub(TAIL_BYTES);
            state.tail.drain(..excess);
            shared.changed.notify_all();
        }
        // A log that cannot be written must not end the reading: QEMU would block on a full console.
        let _ = log.write_all(bytes);
    }
    shared.lock().observed.closed = true;
    shared.changed.notify_all();
}

/// Finds the marks in a stream of pieces, also across the border of two pieces.
#[derive(Debug, Default)]
struct Scanner {
    carried: Vec<u8>,
}

impl Scanner {
    fn scan(&mut self, bytes: &[u8], at: Instant, observed: &mut Observed) {
        self.carried.extend_from_slice(bytes);
        if observed.init_at.is_none() && contains(&self.carried, INIT_MARK.as_bytes()) {
            observed.init_at = Some(at);
        }
        observed.panicked |= contains(&self.carried, PANIC_MARK);
        let excess = self.carried.len().saturating_sub(PANIC_MARK.len().max(INIT_MARK.len()) - 1);
        self.carried.drain(..excess);
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn tail_of(shared: &Shared) -> String {
    let state = shared.lock();
    let (front, back) = state.tail.as_slices();
    let bytes = [front, back].concat();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty() && *line != INIT_MARK).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn marks_are_found_across_pieces_and_the_tail_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let console = Console::start(ours, &directory.path().join("console.log")).unwrap();
        theirs.write_all(b"booting\r\nvirtmark-").unwrap();
        theirs.flush().unwrap();
        let soon = || Instant::now() + Duration::from_millis(50);
        assert!(console.wait_init(soon()).init_at.is_none());
        theirs.write_all(b"init\nKernel panic - not").unwrap();
        assert!(console.wait_init(Instant::now() + Duration::from_secs(5)).init_at.is_some());
        theirs.write_all(b" syncing: why not\n").unwrap();
        drop(theirs);
        let observed = console.wait_closed(Instant::now() + Duration::from_secs(5));
        assert!(observed.panicked && observed.closed);
        assert_eq!(console.tail(), "booting\nKernel panic - not syncing: why not");
        let log = std::fs::read(directory.path().join("console.log")).unwrap();
        assert!(log.starts_with(b"booting\r\nvirtmark-init\n"));
    }

    #[test]
    fn the_tail_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let console = Console::start(ours, &directory.path().join("console.log")).unwrap();
        for number in 0..5000 {
            writeln!(theirs, "line {number}").unwrap();
        }
        drop(theirs);
        console.wait_closed(Instant::now() + Duration::from_secs(5));
        let tail = console.tail();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 4999"));
    }
}
