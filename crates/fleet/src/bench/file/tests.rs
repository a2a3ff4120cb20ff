use proptest::prelude::*;

use super::*;

const WHOLE: &str = r#"
name = "nightly"
results = "out"
via = "agent"
repetitions = 3
ready = 2

[machines]
count = 4
name = "web"
image = "tiny"
hypervisor = "qemu"
accel = "tcg"
vcpus = 2
memory_mib = 512
network = "user"
outbound = true
kernel_arguments = ["quiet"]
parallel = 2
timeout_s = 90

[[payload]]
file = "a.tgz"

[[payload]]
file = "/b.tgz"
repetitions = 1
timeout_s = 1.5
transfer_timeout_s = 60
root = "/opt/b"
parallel = 1
[payload.parameters]
SECONDS = "3"
"#;

fn parse(text: &str) -> Result<BenchFile, String> {
    BenchFile::parse(text.as_bytes(), Path::new("bench.toml")).map_err(|error| error.to_string())
}

#[test]
fn everything_is_read() {
    let file = parse(WHOLE).unwrap();
    assert_eq!((file.name(), file.results.as_deref()), (Some("nightly"), Some(Path::new("out"))));
    assert_eq!((file.via, file.ready().count(4)), (Via::Agent, 2));
    assert_eq!((file.machines.count.get(), file.machines.memory_mib.get()), (4, 512));
    assert_eq!(file.machines.timeout, Seconds(Duration::from_secs(90)));
    assert_eq!((file.machines.accel, file.machines.network), (AccelName::Tcg, NetworkName::User));
    let [first, second] = file.payloads.as_slice() else { panic!("two payloads") };
    assert_eq!((file.repetitions(first), file.repetitions(second)), (3, 1));
    assert_eq!((first.root(), second.root()), (DEFAULT_ROOT, "/opt/b"));
    assert_eq!(second.timeout, Some(Seconds(Duration::from_millis(1500))));
    assert_eq!(second.parameters()["SECONDS"], "3");
}

#[test]
fn little_is_required() {
    let file = parse("[[payload]]\nfile = \"a.tgz\"").unwrap();
    assert_eq!((file.machines.clone(), file.via), (Machines::default(), Via::Ssh));
    assert_eq!((file.machines.memory_mib.get(), file.machines.image.as_str()), (256, "bench"));
    assert_eq!((file.ready(), file.repetitions(&file.payloads[0])), (Need::All, 1));
}

#[test]
fn mistakes_are_told_with_their_line() {
    const PAYLOAD: &str = "[[payload]]\nfile = \"a\"\n";
    for (text, line, expected) in [
        ("name = ".to_owned(), 1, ""),
        (format!("\nnmae = \"x\"\n{PAYLOAD}"), 2, "unknown field `nmae`"),
        (format!("[machines]\nvcpus = 1\nmemory = 5\n{PAYLOAD}"), 3, "unknown field `memory`"),
        (format!("{PAYLOAD}\ntimeout = 3"), 4, "unknown field `timeout`"),
        (format!("{PAYLOAD}root = \"opt\""), 3, "absolute path"),
        (format!("{PAYLOAD}root = \"/a/../b\""), 3, "absolute path"),
        (format!("{PAYLOAD}timeout_s = 0"), 3, "more than 0"),
        (format!("{PAYLOAD}timeout_s = nan"), 3, "more than 0"),
        (format!("{PAYLOAD}timeout_s = 1e9"), 3, "at most"),
        (format!("{PAYLOAD}timeout_s = \"5m\""), 3, "invalid type"),
        (format!("{PAYLOAD}repetitions = 0"), 3, "nonzero"),
        (format!("{PAYLOAD}[payload.parameters]\nlower = \"1\""), 3, "no parameter"),
        (format!("{PAYLOAD}[payload.parameters]\nA = 1"), 4, "invalid type"),
        (format!("name = \"a/b\"\n{PAYLOAD}"), 1, "letters, digits"),
        (format!("via = \"telnet\"\n{PAYLOAD}"), 1, "`agent` or `ssh`"),
        (format!("\nready = 2\n{PAYLOAD}"), 2, "more than the 1 machines"),
        (format!("ready = \"most\"\n{PAYLOAD}"), 1, "\"any\""),
        (format!("[machines]\nname = \"a_b\"\n{PAYLOAD}"), 2, "hostnames"),
        (format!("{PAYLOAD}[machines]\nvcpus = 1\nname = \"-\"\n"), 5, "hostnames"),
        (format!("machines = {{ vcpus = 1,\n  name = \"-\" }}\n{PAYLOAD}"), 2, "hostnames"),
        (format!("[machines]\ncount = 0\n{PAYLOAD}"), 2, "nonzero"),
        (format!("[machines]\n\ncount = 1001\n{PAYLOAD}"), 3, "more than 1000"),
        (format!("[machines]\nhypervisor = \"native\"\n{PAYLOAD}"), 2, "by its agent"),
        (
            format!("via = \"agent\"\n[machines]\nhypervisor = \"native\"\ncount = 2\n{PAYLOAD}"),
            4,
            "by its agent",
        ),
        ("name = \"x\"\npayload = []".to_owned(), 2, "no payload"),
        ("payload = []".to_owned(), 1, "no payload"),
        ("name = \"x\"".to_owned(), 1, "missing field `payload`"),
        ("[[payload]]\nfile = \"\"".to_owned(), 2, "empty"),
        ("[[payload]]\n".to_owned(), 1, "missing field `file`"),
    ] {
        let told = parse(&text).unwrap_err();
        let place = format!("bench.toml:{line}:");
        assert!(told.starts_with(&place) && told.contains(expected), "{text:?}: {told}");
    }
    let error = BenchFile::parse(b"name = \"x\"\n\xff", Path::new("b")).unwrap_err().to_string();
    assert_eq!(error, "b:2:1: this is not UTF-8");
    let told = parse(&format!("[machines]\n  count = 1001\n{PAYLOAD}")).unwrap_err();
    assert_eq!(told, "bench.toml:2:3: `count` of [machines] is more than 1000");
    // The letter before it takes two bytes and one column.
    let told = parse(&format!("[machines]\nmachine = {{ \"ü\" = 1, count = 0 }}\n{PAYLOAD}")).unwrap_err();
    assert!(told.starts_with("bench.toml:2:1: unknown field `machine`"), "{told}");
    let told = parse("name = \"ü\" x").unwrap_err();
    assert!(told.starts_with("bench.toml:1:12: "), "{told}");
    assert!(matches!(BenchFile::from_file(Path::new("/none")), Err(BenchFileError::Read { .. })));
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..600_usize) {
        let _ = BenchFile::parse(&bytes, Path::new("x"));
        // A whole file with something in it.
        let mut text = WHOLE.as_bytes().to_vec();
        let at = at.min(text.len());
        text.splice(at..at, bytes);
        if let Err(BenchFileError::Invalid { line, .. }) = BenchFile::parse(&text, Path::new("x")) {
            let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!((1..=lines).contains(&line));
        }
    }
}
