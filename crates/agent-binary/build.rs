//! Builds the guest agent as a static program of the machine's own architecture, by a second Cargo in a target
//! directory of its own: the two never wait for each other's lock, and the agent is built once for all profiles.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the outer Cargo sets for this build alone, and what must not decide how the agent is compiled.
const NOT_INHERITED: [&str; 8] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// A static program at a fixed address: nothing to load and nothing to relocate before its first instruction.
const FLAGS: [&str; 4] = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"];

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    for input in
        ["Cargo.lock", "Cargo.toml", "crates/agent", "crates/protocol/Cargo.toml", "crates/protocol/src"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let target = format!("{}-unknown-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    let target_dir = target_dir()?.join("agent");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .current_dir(&workspace)
        .args(["build", "--quiet", "--package", "virtmark-agent", "--profile", "agent"])
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&target_dir);
    for variable in NOT_INHERITED {
        build.env_remove(variable);
    }
    for (variable, _) in env::vars_os() {
        let overrides_profile = variable.to_str().is_some_and(|name| name.starts_with("CARGO_PROFILE_"));
        if overrides_profile {
            build.env_remove(variable);
        }
    }
    build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    let status = build.status()?;
    if !status.success() {
        return Err(format!("cannot build the guest agent: {build:?} ended with {status}").into());
    }
    let program = target_dir.join(&target).join("agent/virtmark-agent");
    let copy = PathBuf::from(env::var("OUT_DIR")?).join("virtmark-agent");
    fs::copy(&program, &copy)
        .map_err(|error| format!("cannot copy {} to {}: {error}", program.display(), copy.display()))?;
    Ok(())
}

/// The directory above the outer build's profiles: `OUT_DIR` is `TARGET[/TRIPLE]/PROFILE/build/PACKAGE-HASH/out`.
/// Cargo's tag in the target directory says nothing: a directory that was there before Cargo came has none.
fn target_dir() -> Result<PathBuf, Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let above_profiles = out_dir.ancestors().nth(4).map(Into::into);
    above_profiles
        .ok_or_else(|| format!("cannot find Cargo's target directory above {}", out_dir.display()).into())
}
