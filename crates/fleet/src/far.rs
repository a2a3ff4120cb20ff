//! What programs of a machine say, in our words.

use std::io;

use crate::script::Arrived;
use crate::{Failure, FailureKind, Source};

/// A far program that failed. Its last words tell some causes apart: they are in the C locale.
pub(crate) fn explain(kind: FailureKind, attempted: &str, words: &str) -> Failure {
    let lower = words.to_ascii_lowercase();
    let has = |text: &str| lower.contains(text);
    // GNU tar tells a write that came to a full disk in the middle by its size only.
    let is_full = has("no space left") || has("disk quota exceeded") || has("wrote only");
    let (kind, remedy) = if is_full {
        (FailureKind::DiskFull, "; free some space there, or choose another place with --root")
    } else if has("permission denied") || has("read-only file system") || has("operation not permitted") {
        (kind, "; choose a place that the account may write to with --root, or another account")
    } else if has("not found") && !has("payload.sh") {
        (FailureKind::ToolMissing, "; install it on the machine")
    } else {
        (kind, "")
    };
    Failure::new(kind, format!("cannot {attempted}: {words}{remedy}"))
}

/// What came of the comparison of checksums.
pub(crate) fn arrived(source: &Source, arrived: &Arrived) -> Result<(), Failure> {
    let file = source.path.display();
    match arrived {
        Arrived::Damaged { found } => {
            let message = format!(
                "{file} did not arrive as it was sent: {found} on the machine, SHA-256 {} here; it was not unpacked",
                source.sha256
            );
            Err(Failure::new(FailureKind::ChecksumMismatch, message))
        }
        Arrived::Unchecked => {
            let message =
                "the machine has neither sha256sum nor cksum to check what arrived; install coreutils there";
            Err(Failure::new(FailureKind::ToolMissing, message))
        }
        Arrived::Whole => Ok(()),
    }
}

/// Something on this host that could not be written.
pub(crate) fn local(error: &io::Error) -> Failure {
    let kind = FailureKind::of_local(error);
    let remedy = match kind {
        FailureKind::LocalDiskFull => "; free some space, or choose another place with --output",
        _ => "",
    };
    Failure::new(kind, format!("cannot keep the output on this host: {error}{remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Kept;

    #[test]
    fn the_cause_is_before_the_farewell() {
        let told = |lines: &str| Kept { stderr: lines.into(), ..Kept::default() }.last_words();
        let full =
            "tar: a: Wrote only 1 of 9 bytes\ntar: Exiting with failure status due to previous errors\n";
        assert_eq!(told(full).as_deref(), Some("tar: a: Wrote only 1 of 9 bytes"));
        let alone = "tar: Error is not recoverable: exiting now\n\n";
        assert_eq!(told(alone).as_deref(), Some("tar: Error is not recoverable: exiting now"));
        assert_eq!(told("first\nlast\n").as_deref(), Some("last"));
        assert_eq!(told("\n"), None);
    }

    #[test]
    fn causes_are_told_apart() {
        for (words, kind) in [
            ("cat: write error: No space left on device", FailureKind::DiskFull),
            ("tar: ballast: Wrote only 2560 of 10240 bytes", FailureKind::DiskFull),
            ("tar: not found", FailureKind::ToolMissing),
            ("mkdir: cannot create directory '/opt': Permission denied", FailureKind::UnpackFailed),
            ("gzip: stdin: unexpected end of file", FailureKind::UnpackFailed),
        ] {
            let failure = explain(FailureKind::UnpackFailed, "unpack it", words);
            assert_eq!(failure.kind, kind, "{words}");
            assert!(failure.message.contains(words));
        }
        assert_eq!(local(&io::ErrorKind::StorageFull.into()).kind, FailureKind::LocalDiskFull);
    }
}
