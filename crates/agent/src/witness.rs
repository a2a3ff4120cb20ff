//! A process that sees its guest being moved: it ticks every millisecond, holds memory whose content is known, and writes
//! to memory at a set rate.
//!
//! `witness start` leaves it in the background, where it belongs to no link and so outlives the one through which it was
//! started; `witness tell`, `sum` and `reset` ask it over an abstract socket of the guest.

mod memory;
mod ticker;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use self::memory::{Known, Writer};
use self::ticker::Ticker;

const USAGE: &str = "\
Usage: virtmark-agent witness start KNOWN_BYTES [DIRTY_BYTES_PER_SECOND OVER_BYTES]
       virtmark-agent witness (tell | sum | reset)
";

/// The socket, without a name in any file system.
const ADDRESS: &[u8] = b"virtmark-witness";

/// What the process in the background says when it can be asked.
const READY: &str = "ready\n";

/// Runs one of the commands.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["start", ref sizes @ ..] if Sizes::parse(sizes).is_some() => start(sizes),
        ["serve", ref sizes @ ..] => match Sizes::parse(sizes) {
            Some(sizes) => serve(&sizes),
            None => return usage(),
        },
        ["tell" | "sum" | "reset"] => ask(words[0]),
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtmark-agent: cannot {} the witness: {error}", words[0]);
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

/// What it holds and writes.
#[derive(Debug, PartialEq, Eq)]
struct Sizes {
    known_bytes: usize,
    /// Bytes a second, and of how much memory.
    writes: Option<(u64, usize)>,
}

impl Sizes {
    fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [known] => Some(Self { known_bytes: known.parse().ok()?, writes: None }),
            [known, rate, over] => {
                let writes = (rate.parse().ok().filter(|rate| *rate > 0)?, over.parse().ok()?);
                Some(Self { known_bytes: known.parse().ok()?, writes: Some(writes) })
            }
            _ => None,
        }
    }
}

/// Starts it in the background and waits until it can be asked.
fn start(sizes: &[&str]) -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .args(["witness", "serve"])
        .args(sizes)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said == READY { Ok(()) } else { Err(io::Error::other("it ended before it was ready")) }
}

fn serve(sizes: &Sizes) -> io::Result<()> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(ADDRESS)?)?;
    let known = Known::new(sizes.known_bytes);
    let writer = sizes.writes.map(|(rate, over)| Writer::start(rate, over)).transpose()?;
    let ticker = Ticker::start()?;
    {
        let mut stdout = io::stdout();
        stdout.write_all(READY.as_bytes())?;
        stdout.flush()?;
    }
    // Whoever started this waits for its output to end.
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    for stream in listener.incoming() {
        // One that goes away in the middle of its question wants no answer.
        let _ = answer(stream?, &known, writer.as_ref(), &ticker);
    }
    Ok(())
}

fn answer(
    stream: UnixStream,
    known: &Known,
    writer: Option<&Arc<Writer>>,
    ticker: &Arc<Ticker>,
) -> io::Result<()> {
    let mut word = String::new();
    BufReader::new(&stream).read_line(&mut word)?;
    let text = match word.trim_end() {
        "sum" => format!("known_crc32c={:08x}\n", known.checksum()),
        "reset" => {
            ticker.reset();
            String::new()
        }
        _ => {
            let written = writer.map(|writer| writer.tell()).unwrap_or_default();
            format!("{}{written}", ticker.tell())
        }
    };
    (&stream).write_all(text.as_bytes())
}

/// Asks the one in the background, and prints what it says.
fn ask(word: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(ADDRESS)?)?;
    stream.write_all(format!("{word}\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    io::stdout().write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_all_there_or_there_is_no_writer() {
        assert_eq!(Sizes::parse(&["4096"]), Some(Sizes { known_bytes: 4096, writes: None }));
        let writes = Some((100, 8192));
        assert_eq!(Sizes::parse(&["0", "100", "8192"]), Some(Sizes { known_bytes: 0, writes }));
        for words in [&[][..], &["x"], &["1", "2"], &["1", "0", "3"], &["1", "2", "3", "4"]] {
            assert_eq!(Sizes::parse(words), None, "{words:?}");
        }
    }
}
