//! What is run on a machine: lines of the POSIX shell, with everything that varies quoted.
//!
//! They have no line ends, so that they pass through any login shell in one argument.

use std::collections::BTreeMap;

use virtmark_payload::{ENTRY_POINT, ROOT_VARIABLE, TOOL_DIRECTORIES};

use crate::Source;

/// Text as one word of a shell, whatever is in it.
pub(crate) fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:@%,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A script as one command for a login shell, which may be any.
pub(crate) fn command(script: &str) -> String {
    format!("exec /bin/sh -c {}", quote(script))
}

/// The script, held by its input: when that ends, because it is closed, or because the connection or the program at
/// its other end is gone, the whole process group is killed. The script itself has no input.
///
/// The watcher has nothing but builtins of the shell, and is gone before the script's status is handed on.
pub(crate) fn leased(script: &str) -> String {
    format!(
        "exec 3<&0 </dev/null; (read -r line <&3; kill -KILL 0) >/dev/null 2>&1 & watcher=$!; \
         ({script}) 3<&-; status=$?; exec 2>/dev/null; kill -KILL $watcher; exit $status"
    )
}

/// Says that the machine can run scripts.
pub(crate) fn ready() -> &'static str {
    "exit 0"
}

/// Takes the file from its input, and prints the checksum of what arrived. What is not the whole file is removed.
pub(crate) fn receive(source: &Source, directory: &str, path: &str) -> String {
    let (directory, path) = (quote(directory), quote(path));
    format!(
        "LC_ALL=C; export LC_ALL; umask 077; mkdir -p {directory} || exit 1; \
         cat >{path} || {{ rm -f {path}; exit 1; }}; \
         if command -v sha256sum >/dev/null; then sum=$(sha256sum <{path}); want={sha256}; \
         else sum=$(cksum <{path}); want='{cksum} {bytes}'; fi; \
         case $sum in \"$want\"*) ;; *) rm -f {path} ;; esac; \
         printf '%s\\n' \"$sum\"",
        sha256 = source.sha256,
        cksum = source.cksum,
        bytes = source.bytes,
    )
}

/// What was said of the file that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    Damaged { found: String },
    Unchecked,
    Whole,
}

/// Reads what [`receive`] printed.
pub(crate) fn arrived(source: &Source, printed: &[u8]) -> Arrived {
    let text = String::from_utf8_lossy(printed);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        [sha256, ..] if sha256.len() == 64 => match *sha256 == source.sha256 {
            true => Arrived::Whole,
            false => Arrived::Damaged { found: format!("SHA-256 {sha256}") },
        },
        [cksum, bytes, ..] if cksum.parse::<u32>().is_ok() => {
            match cksum.parse() == Ok(source.cksum) && bytes.parse() == Ok(source.bytes) {
                true => Arrived::Whole,
                false => Arrived::Damaged { found: format!("cksum {cksum}, {bytes} bytes") },
            }
        }
        _ => Arrived::Unchecked,
    }
}

/// Unpacks the file below the root, as the user who is logged in. Then looks for the programs that the payload needs,
/// where payloads look for them. The file stays, so that the same can be done once more.
pub(crate) fn unpack(path: &str, root: &str, absolute_paths: bool, tools: &[String]) -> String {
    let flags = if absolute_paths { "-xozPf" } else { "-xozf" };
    let (path, root) = (quote(path), quote(root));
    let mut script = format!(
        "LC_ALL=C; export LC_ALL; command -v tar >/dev/null || {{ echo 'tar: not found' >&2; exit 127; }}; \
         tar {flags} {path} -C {root} || exit"
    );
    let directories = TOOL_DIRECTORIES.join(" ");
    for tool in tools {
        let tool = quote(tool);
        script.push_str(&format!(
            "; found=; for directory in {directories}; do [ -x $directory/{tool} ] && found=1; done; \
             [ \"$found\" ] || {{ echo {tool}': not found' >&2; exit 127; }}"
        ));
    }
    script
}

/// Removes files; those that are not there are none of its business.
pub(crate) fn remove(paths: &[String]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quote(path)).collect();
    format!("rm -f {} 2>/dev/null", paths.join(" "))
}

/// Runs the entry point with these variables and no others: no `PATH`, as the specification has it.
pub(crate) fn run(root: &str, variables: &BTreeMap<String, String>) -> String {
    let root = root.trim_end_matches('/');
    let mut words = format!("{ROOT_VARIABLE}={}", quote(if root.is_empty() { "/" } else { root }));
    for (name, value) in variables {
        words.push_str(&format!(" {name}={}", quote(value)));
    }
    format!(
        "cd {directory} && exec env -i {words} {program}",
        directory = quote(if root.is_empty() { "/" } else { root }),
        program = quote(&format!("{root}/{ENTRY_POINT}")),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn source(directory: &std::path::Path, bytes: &[u8]) -> Source {
        let path = directory.join("p.tgz");
        std::fs::write(&path, bytes).unwrap();
        Source::read(&path).unwrap()
    }

    fn shell(script: &str, input: &[u8], path: Option<&str>) -> std::process::Output {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    fn what_arrives_is_checked_and_damage_removed() {
        let directory = tempfile::tempdir().unwrap();
        let source = source(directory.path(), b"hello\n");
        let far = directory.path().join("it's far");
        let file = far.join("x");
        let script = receive(&source, far.to_str().unwrap(), file.to_str().unwrap());
        let output = shell(&script, b"hello\n", None);
        assert_eq!(arrived(&source, &output.stdout), Arrived::Whole, "{output:?}");
        assert_eq!(std::fs::read(&file).unwrap(), b"hello\n");
        let output = shell(&script, b"hell", None);
        assert!(matches!(arrived(&source, &output.stdout), Arrived::Damaged { .. }), "{output:?}");
        assert!(!file.exists());
    }

    /// A machine without `sha256sum`: only what POSIX has is in the `PATH`.
    #[test]
    fn posix_tools_are_enough() {
        let directory = tempfile::tempdir().unwrap();
        let tools = directory.path().join("tools");
        std::fs::create_dir(&tools).unwrap();
        for tool in ["cat", "cksum", "mkdir", "rm"] {
            let found = ["/bin", "/usr/bin"].map(|place| std::path::Path::new(place).join(tool));
            let found = found.iter().find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
        }
        let source = source(directory.path(), b"hello\n");
        let file = directory.path().join("x");
        let script = receive(&source, directory.path().to_str().unwrap(), file.to_str().unwrap());
        let output = shell(&script, b"hello\n", tools.to_str());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "3015617425 6\n", "{output:?}");
        assert_eq!(arrived(&source, &output.stdout), Arrived::Whole);
        let output = shell(&script, b"hellO\n", tools.to_str());
        assert!(matches!(arrived(&source, &output.stdout), Arrived::Damaged { .. }), "{output:?}");
        assert!(!file.exists());
        assert_eq!(arrived(&source, b"what\n"), Arrived::Unchecked);
    }

    #[test]
    fn a_lease_ends_with_its_input() {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &leased("sleep 1000 & sleep 1000")]).process_group(0);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(child.try_wait().unwrap(), None);
        let started = Instant::now();
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_lease_hands_the_status_on_while_its_input_is_open() {
        for (script, expected) in [("exit 7", 7), ("cat; exit 0", 0), ("exec sh -c 'kill -TERM $$'", 143)] {
            let mut child = Command::new("/bin/sh")
                .args(["-c", &leased(script)])
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let input = child.stdin.take();
            assert_eq!(child.wait().unwrap().code(), Some(expected), "{script}");
            drop(input);
        }
    }

    #[test]
    fn the_payload_has_no_path() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("a b");
        std::fs::create_dir(&root).unwrap();
        let file = root.join(ENTRY_POINT);
        std::fs::write(&file, "#!/bin/sh\n/usr/bin/env\n").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let variables = BTreeMap::from([("SECONDS_MAX".to_owned(), "it's 5".to_owned())]);
        let output = shell(&run(&format!("{}/", root.display()), &variables), b"", None);
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        let root = format!("BENCH_ROOT={}", root.display());
        assert!(lines.contains(&root.as_str()) && lines.contains(&"SECONDS_MAX=it's 5"), "{output:?}");
        assert!(
            !lines.iter().any(|line| line.starts_with("PATH=") || line.starts_with("HOME=")),
            "{output:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn quoting_keeps_any_word(word in "[^\u{0}]{0,40}") {
            let output = shell(&format!("printf %s {}", quote(&word)), b"", None);
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
