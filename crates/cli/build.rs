//! Notes the commit that the program is built from; nothing where there is no checkout or no git.

use std::path::Path;
use std::process::Command;

fn main() {
    // Without any other path named, Cargo would run this at every change of the crate.
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let told = commit.as_ref().map_or_else(|| version.clone(), |commit| format!("{version} ({commit})"));
    println!("cargo::rustc-env=VIRTMARK_COMMIT={}", commit.unwrap_or_default());
    println!("cargo::rustc-env=VIRTMARK_VERSION={told}");
    // Grows with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let log = Path::new(&directory).join(log);
        // A path that is not there would make Cargo run this every time.
        if log.exists() {
            println!("cargo::rerun-if-changed={}", log.display());
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
