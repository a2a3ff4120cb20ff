//! How a script begins, and where its lines end.

/// The kernel reads this much of a script to find its interpreter (`BINPRM_BUF_SIZE` of Linux 5.1 and later).
const LINE_LIMIT_BYTES: usize = 256;

/// Looks at a script while it passes by.
#[derive(Debug, Default)]
pub(crate) struct Script {
    start: Vec<u8>,
    line: u64,
    /// The last byte was a carriage return.
    after_return: bool,
    first_return: Option<Return>,
    newlines: u64,
}

/// A carriage return that ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// Alone: the line endings of an old Macintosh.
    Alone,
    /// Before a newline, on this line, counted from 1: the line endings of Windows.
    BeforeNewline(u64),
}

impl Script {
    /// The next bytes of it.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT_BYTES.saturating_sub(self.start.len());
        self.start.extend_from_slice(&bytes[..bytes.len().min(room)]);
        for byte in bytes {
            if *byte == b'\n' {
                self.newlines += 1;
                self.line += 1;
                if self.after_return {
                    self.first_return.get_or_insert(Return::BeforeNewline(self.line));
                }
            }
            self.after_return = *byte == b'\r';
        }
    }

    /// Whether it asks for an interpreter at all.
    pub(crate) fn is_script(&self) -> bool {
        self.start.starts_with(b"#!")
    }

    /// Line endings that are no newlines alone. A carriage return within a line is none.
    pub(crate) fn wrong_line_ending(&self) -> Option<Return> {
        let old_macintosh = self.newlines == 0 && self.start.contains(&b'\r');
        self.first_return.or_else(|| old_macintosh.then_some(Return::Alone))
    }

    /// What is wrong with the first line, if something is.
    pub(crate) fn shebang_problem(&self) -> Option<&'static str> {
        if self.start.is_empty() {
            return Some("is empty");
        }
        if self.start.starts_with(b"\xef\xbb\xbf#!") {
            return Some("begins with a byte order mark, which hides the `#!` from the kernel");
        }
        if self.start.starts_with(b"\x7fELF") {
            return Some(
                "is a program and no script; start it from a script, which the specification asks for",
            );
        }
        let Some(rest) = self.start.strip_prefix(b"#!") else {
            return Some("does not begin with `#!`");
        };
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        if end.is_none() && self.start.len() == LINE_LIMIT_BYTES {
            return Some("has a first line that is longer than the 255 bytes that the kernel reads");
        }
        let line = rest[..end.unwrap_or(rest.len())].trim_ascii();
        let interpreter = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        match interpreter {
            [] => Some("names no interpreter after `#!`"),
            [b'/', rest @ ..] if !rest.is_empty() && !interpreter.contains(&0) => None,
            _ => Some("does not name its interpreter by an absolute path after `#!`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &[u8]) -> Script {
        let mut script = Script::default();
        // One byte at a time: what is found must not hang on where reads end.
        text.chunks(1).for_each(|byte| script.pass(byte));
        script
    }

    #[test]
    fn interpreters_are_found_as_the_kernel_finds_them() {
        for text in
            ["#!/bin/sh\n", "#! /bin/sh -eu\n", "#!\t/usr/bin/env bash\n", "#!/bin/sh", "#!/bin/sh\r\n"]
        {
            assert_eq!(script(text.as_bytes()).shebang_problem(), None, "{text:?}");
        }
        let long = format!("#!/{}\n", "x".repeat(300));
        for (text, expected) in [
            ("", "empty"),
            ("echo", "does not begin"),
            (" #!/bin/sh\n", "does not begin"),
            ("\u{feff}#!/bin/sh\n", "byte order mark"),
            ("#!\n/bin/sh\n", "no interpreter"),
            ("#!sh\n", "absolute path"),
            ("#!/\n", "absolute path"),
            ("\x7fELF\x02", "is a program"),
            (&long, "255 bytes"),
        ] {
            let problem = script(text.as_bytes()).shebang_problem().unwrap();
            assert!(problem.contains(expected), "{text:?}: {problem}");
        }
    }

    #[test]
    fn line_endings_are_told_from_carriage_returns() {
        assert_eq!(script(b"#!/bin/sh\necho\n").wrong_line_ending(), None);
        assert_eq!(script(b"#!/bin/sh\nprintf '\rx'\n").wrong_line_ending(), None);
        assert_eq!(script(b"#!/bin/sh\na\r\nb\r\n").wrong_line_ending(), Some(Return::BeforeNewline(2)));
        assert_eq!(script(b"#!/bin/sh\recho\r").wrong_line_ending(), Some(Return::Alone));
    }
}
