//! What `lab/test.sh` decides: where the tests run, what it says where they cannot, and that it ends what it started. Cargo,
//! the program and the tests are scripts that write down how they were called.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::World;

/// What the test programs of the fake Cargo are.
const TESTS: [(&str, &str); 4] = [
    ("drivers/qemu", "real_conformance"),
    ("lab", "real_bad_days"),
    ("lab", "real_kvm"),
    ("lab", "real_lab"),
];

struct Fakes {
    world: World,
}

impl Fakes {
    /// Where KVM works, and how `lab up` ends after it has said this.
    fn new(place: &str, up: (i32, &str)) -> Self {
        let world = World::new();
        fs::create_dir(world.path("tools")).unwrap();
        for tool in ["mmdebstrap", "depmod", "mke2fs", "tar"] {
            world.script(&format!("tools/{tool}"), "");
        }
        let called = world.path("called");
        let note = format!("echo \"${{0##*/}}${{LAB_DIRECT:+ direct}} $*\" >> {}", called.display());
        let (code, says) = up;
        let virtmark = format!(
            "{note}\ncase \"$*\" in 'lab where') echo {place};; 'lab up '*) echo 'virtmark: {says}' >&2; exit {code};; esac"
        );
        let mut lines = vec![artifact("cli", "bin", "virtmark", &world.script("virtmark", &virtmark))];
        // As the program's own tests are named.
        lines.push(artifact("cli", "bin", "virtmark", &world.path("virtmark-0123456789abcdef")));
        for (package, name) in TESTS {
            let file =
                world.script(&format!("{name}-0123456789abcdef"), &format!("{note}\nexit ${{FAKE_CODE:-0}}"));
            lines.push(artifact(package, "test", name, &file));
        }
        // Another package has a test of the same name.
        lines.push(artifact("cli", "test", "real_bad_days", &world.path("of-another-package")));
        fs::write(world.path("artifacts"), lines.join("\n")).unwrap();
        let cargo = format!("{note}\ncat {}", world.path("artifacts").display());
        world.script("cargo", &cargo);
        Self { world }
    }

    fn run(&self, what: &str, variables: &[(&str, &str)]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/test.sh");
        let mut command = Command::new(script);
        command.arg(what).envs(variables.iter().copied()).env("CARGO", self.world.path("cargo"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.world.path("tools").display()));
        command.output().unwrap()
    }

    /// What was called since the last time, after Cargo and the question where KVM works.
    fn called(&self) -> Vec<String> {
        let path = self.world.path("called");
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        let text = text.replace("-0123456789abcdef", "").replace(self.world.path("").to_str().unwrap(), "");
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        assert!(lines[0].starts_with("cargo test --profile dev --locked --no-run"), "{lines:?}");
        assert_eq!(lines[1], "virtmark lab where");
        lines.drain(..2);
        lines
    }
}

/// A line of Cargo's about a program that it has built.
fn artifact(package: &str, kind: &str, name: &str, file: &Path) -> String {
    format!(
        r#"{{"reason":"compiler-artifact","manifest_path":"/x/crates/{package}/Cargo.toml","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":"{}","fresh":true}}"#,
        file.display()
    )
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const UP: &str = "virtmark lab up --share real_conformance=bin/real_conformance";
const DOWN: &str = "virtmark --quiet lab down";
const SHORT: &str = "real_kvm --ignored --test-threads=1 real_doctor real_driver_conforms_in_short";

#[test]
fn without_kvm_the_tests_run_in_the_lab_which_ends() {
    let fakes = Fakes::new("lab", (0, "the lab is up"));
    let output = fakes.run("short", &[]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fakes.called(), [UP, SHORT, DOWN]);
    assert!(
        words(&output).contains("short passed in the lab (KVM nested in emulation)"),
        "{}",
        words(&output)
    );
    assert!(fakes.run("all", &[]).status.success());
    let kvm = "real_kvm --ignored --test-threads=1 --skip real_driver_conforms_in_short";
    let rest = ["real_lab --ignored --test-threads=1", "real_bad_days --ignored --test-threads=1"];
    assert_eq!(fakes.called(), [UP, kvm, rest[0], rest[1], DOWN]);
    assert!(fakes.run("boots", &[("LAB_BOOTS", "7")]).status.success());
    let boots = "virtmark lab exec -- virtmark tti --accel kvm --iterations 7 --warmup 0 --timeout 60s";
    assert_eq!(fakes.called(), [UP, boots, DOWN]);
}

#[test]
fn where_kvm_works_the_same_tests_run_directly() {
    let fakes = Fakes::new("this-host", (0, "the lab is up"));
    let output = fakes.run("short", &[]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fakes.called(), [SHORT.replacen("real_kvm", "real_kvm direct", 1)]);
    assert!(words(&output).contains("running directly, without the lab"), "{}", words(&output));
    // What tests the lab itself, or breaks KVM, is for the lab everywhere.
    assert!(fakes.run("all", &[]).status.success());
    let kvm = "real_kvm direct --ignored --test-threads=1 --skip real_driver_conforms_in_short";
    let rest = ["real_lab --ignored --test-threads=1", "real_bad_days --ignored --test-threads=1"];
    assert_eq!(fakes.called(), [kvm, UP, rest[0], rest[1], DOWN]);
    assert!(fakes.run("boots", &[]).status.success());
    assert_eq!(fakes.called(), ["virtmark direct tti --accel kvm --iterations 100 --warmup 0 --timeout 60s"]);
}

#[test]
fn a_host_that_can_have_no_lab_is_told() {
    let reason = "the QEMU of this host cannot emulate svm";
    let fakes = Fakes::new("lab", (24, reason));
    let output = fakes.run("short", &[]);
    assert!(output.status.success());
    let said = format!("lab: SKIPPED, nothing has run under KVM: virtmark: {reason}\n");
    assert_eq!((words(&output), fakes.called()), (said, vec![UP.to_owned()]));
    let output = fakes.run("all", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((words(&output), fakes.called()), (format!("lab: virtmark: {reason}\n"), vec![UP.to_owned()]));
    let fakes = Fakes::new("this-host", (13, reason));
    let output = fakes.run("all", &[]);
    assert!(output.status.success());
    assert!(
        words(&output).ends_with(&format!("lab: SKIPPED, the tests of the lab itself: virtmark: {reason}\n"))
    );
}

#[test]
fn what_fails_is_not_passed_over() {
    // A lab that ought to be there.
    let fakes = Fakes::new("lab", (22, "the lab has no working KVM"));
    let output = fakes.run("short", &[]);
    assert_eq!((output.status.code(), fakes.called()), (Some(1), vec![UP.to_owned()]));
    assert!(words(&output).contains("the lab has no working KVM"), "{}", words(&output));
    // Tests, after which the lab ends.
    let fakes = Fakes::new("lab", (0, "the lab is up"));
    let output = fakes.run("short", &[("FAKE_CODE", "101")]);
    assert_eq!(
        (output.status.code(), fakes.called()),
        (Some(101), [UP, SHORT, DOWN].map(String::from).into())
    );
    assert!(!words(&output).contains("passed"), "{}", words(&output));
    // Tests that were not built.
    let gone: PathBuf = fakes.world.path("real_kvm-0123456789abcdef");
    fs::set_permissions(gone, fs::Permissions::from_mode(0o644)).unwrap();
    let output = fakes.run("short", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(words(&output), "lab: Cargo has not built real_kvm\n");
}
