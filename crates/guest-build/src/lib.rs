//! For build scripts: builds a program for guests as a static one of the machine's own architecture, by a second Cargo
//! in a target directory of its own. The two never wait for each other's lock, and the program is built once for all
//! profiles of the rest.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the outer Cargo sets for this build alone, and what must not decide how the program is compiled.
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

/// A program of this workspace that runs in guests.
#[derive(Clone, Copy, Debug)]
pub struct GuestProgram<'a> {
    /// Its package, and what the program is called.
    pub package: &'a str,
    /// The profile it is built with, and its directory below the target directory.
    pub profile: &'a str,
    /// Files and directories of the workspace that it is made of, beside the manifest and the lock file at the top.
    pub inputs: &'a [&'a str],
}

impl GuestProgram<'_> {
    /// Builds it and puts it into `OUT_DIR`, under its own name. To be called by a build script of a crate two
    /// directories below the workspace.
    ///
    /// # Errors
    /// When the second Cargo fails; it has said why.
    pub fn build(&self) -> Result<(), Box<dyn Error>> {
        let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
        for input in ["Cargo.lock", "Cargo.toml"].iter().chain(self.inputs) {
            println!("cargo::rerun-if-changed={}", workspace.join(input).display());
        }
        let target = format!("{}-unknown-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
        let target_dir = target_dir()?.join(self.profile);
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build
            .current_dir(&workspace)
            .args(["build", "--quiet", "--package", self.package, "--bin", self.package])
            .args(["--profile", self.profile, "--target", &target])
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
            return Err(format!("cannot build {}: {build:?} ended with {status}", self.package).into());
        }
        let program = target_dir.join(&target).join(self.profile).join(self.package);
        let copy = PathBuf::from(env::var("OUT_DIR")?).join(self.package);
        fs::copy(&program, &copy)
            .map_err(|error| format!("cannot copy {} to {}: {error}", program.display(), copy.display()))?;
        Ok(())
    }
}

/// The directory above the outer build's profiles: `OUT_DIR` is `TARGET[/TRIPLE]/PROFILE/build/PACKAGE-HASH/out`.
/// Cargo's tag in the target directory says nothing: a directory that was there before Cargo came has none.
fn target_dir() -> Result<PathBuf, Box<dyn Error>> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let above_profiles = out_dir.ancestors().nth(4).map(Into::into);
    above_profiles
        .ok_or_else(|| format!("cannot find Cargo's target directory above {}", out_dir.display()).into())
}
