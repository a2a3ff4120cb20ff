//! Any bytes as what QEMU says on its control connection: answers and events, or an error in words, and no wait.

#![no_main]

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use virtmark_driver_qemu::fuzzing::control_connection;

/// As much as a socket holds while nobody reads.
const MOST_BYTES: usize = 64 << 10;

libfuzzer_sys::fuzz_target!(|input: (&[u8], bool)| {
    let (bytes, greets) = input;
    let (ours, mut theirs) = UnixStream::pair().expect("two descriptors are free");
    if greets {
        theirs.write_all(b"{\"QMP\": {}}\n{\"return\": {}, \"id\": 1}\n").expect("a socket holds it");
    }
    theirs.write_all(&bytes[..bytes.len().min(MOST_BYTES)]).expect("a socket holds it");
    theirs.shutdown(Shutdown::Write).expect("it is connected");
    let (done, problem) = control_connection(ours);
    assert_eq!(done < 5, problem.as_ref().is_some_and(|problem| !problem.is_empty()), "{done} {problem:?}");
    let problem = problem.unwrap_or_default();
    assert!(!problem.contains("did not answer"), "it waited for a connection that was closed: {problem}");
});
