//! A Debian with few packages as a tree of files, made by `mmdebstrap`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ImageError;
use crate::error::IoContext;
use crate::tools::run;

/// Where owners of files are kept for one who may not give files away; `None` to leave all files to whoever runs this.
pub(crate) type Owners<'a> = Option<&'a Path>;

/// What `mmdebstrap` is told besides where to write. It takes Debian's own servers.
pub(crate) fn arguments(suite: &str, packages: &[String]) -> Vec<String> {
    let mut arguments = vec!["--variant=minbase".to_owned(), "--format=tar".into()];
    arguments.push(format!("--include={}", packages.join(",")));
    for unread in ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"] {
        arguments.push(format!("--dpkgopt=path-exclude={unread}"));
    }
    arguments.push(suite.into());
    arguments
}

/// Unpacks a minimal Debian into a new directory of `work`. As an archive first, so that no privilege is needed: device
/// files stay out of it. With `epoch`, nothing in it depends on when it was made, and no file is younger than that.
pub(crate) fn unpack(
    suite: &str,
    packages: &[String],
    epoch: Option<u64>,
    owners: Owners<'_>,
    work: &Path,
) -> Result<PathBuf, ImageError> {
    let archive = work.join("root.tar");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.arg("--quiet").args(arguments(suite, packages)).arg(&archive);
    if let Some(epoch) = epoch {
        mmdebstrap.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    run(&mut mmdebstrap, "mmdebstrap")?;
    let tree = work.join("tree");
    fs::create_dir(&tree).on("create", &tree)?;
    let (mut tar, tool) = with_owners("tar", owners);
    tar.arg("--extract").arg(if owners.is_some() { "--same-owner" } else { "--no-same-owner" });
    tar.args(["--numeric-owner", "--exclude=./dev/*", "--directory"]).arg(&tree).arg("--file").arg(&archive);
    run(&mut tar, tool)?;
    fs::remove_file(&archive).on("remove", &archive)?;
    Ok(tree)
}

/// A program that sees the owners of files as they are to be. Root needs no help for that; for others `fakeroot` keeps
/// them in a file. Gives the name of what is started, too.
pub(crate) fn with_owners(program: &'static str, owners: Owners<'_>) -> (Command, &'static str) {
    let Some(state) = owners.filter(|_| !rustix::process::geteuid().is_root()) else {
        return (Command::new(program), program);
    };
    let mut command = Command::new("fakeroot");
    if state.exists() {
        command.arg("-i").arg(state);
    }
    command.arg("-s").arg(state).arg("--").arg(program);
    (command, "fakeroot")
}
