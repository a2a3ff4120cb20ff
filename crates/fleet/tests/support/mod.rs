//! Real SSH servers on loopback, each a machine with a directory of its own, and payloads for them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What payloads are unpacked below; every server has it in its own directory.
pub(crate) const ROOT: &str = "/far-root";

const SSHD: &str = "/usr/sbin/sshd";

/// A server that is one machine. Its end is the end of everything that it started.
pub(crate) struct Sshd {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    child: Child,
}

impl Sshd {
    /// One that lets `key` in; its files are below `parent`.
    pub(crate) fn start(parent: &Path, name: &str, key: &Path) -> Self {
        Self::start_on(parent, name, key, free_port())
    }

    /// One on this port.
    pub(crate) fn start_on(parent: &Path, name: &str, key: &Path, port: u16) -> Self {
        Self::start_with(parent, name, key, port, &["ed25519"])
    }

    /// One on this port with new host keys of these kinds, as `ssh-keygen -t` names them.
    pub(crate) fn start_with(parent: &Path, name: &str, key: &Path, port: u16, kinds: &[&str]) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is not here: run `CI=1 guest/setup.sh`, which installs openssh-server"
        );
        let directory = parent.join(name);
        fs::create_dir_all(directory.join("fs")).unwrap();
        let host_key = |kind: &&str| {
            let file = Self::host_key(&directory, kind);
            let _ = fs::remove_file(&file);
            let _ = fs::remove_file(file.with_extension("pub"));
            make_key_of(kind, &file);
            format!("HostKey {}\n", file.display())
        };
        let host_keys: String = kinds.iter().map(host_key).collect();
        let authorised = directory.join("authorized_keys");
        fs::copy(key.with_extension("pub"), &authorised).unwrap();
        // A machine has its own file system: here, its own place for the root.
        let wrapper = directory.join("wrapper");
        let far = directory.join("fs");
        let text = format!(
            "#!/bin/sh\ncommand=$(printf %s \"$SSH_ORIGINAL_COMMAND\" | sed 's|{ROOT}|{}|g')\nexec /bin/sh -c \"$command\"\n",
            far.display()
        );
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        // Nor does what the user's own shell does when it starts belong to it.
        let home = directory.join("home");
        fs::create_dir_all(&home).unwrap();
        let config = directory.join("config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\n{host_keys}AuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nForceCommand {}\nSetEnv HOME={}\n",
            authorised.display(),
            wrapper.display(),
            home.display()
        );
        fs::write(&config, text).unwrap();
        // What the package's own start makes; a user who is not root has no use for it.
        let _ = fs::create_dir_all("/run/sshd");
        let log = fs::File::create(directory.join("log")).unwrap();
        let mut command = Command::new(SSHD);
        command.args(["-D", "-e", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.process_group(0).spawn().unwrap();
        let server = Self { name: name.into(), port, directory, child };
        server.wait();
        server
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "{SSHD} does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The line of known_hosts with its host key of this kind.
    pub(crate) fn known_as(&self, kind: &str) -> String {
        let key = fs::read_to_string(Self::host_key(&self.directory, kind).with_extension("pub")).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    fn host_key(directory: &Path, kind: &str) -> PathBuf {
        directory.join(format!("host_key_{kind}"))
    }

    /// The line of the map.
    pub(crate) fn line(&self) -> String {
        format!("127.0.0.1:{} {}\n", self.port, self.name)
    }

    /// Where the machine has its root.
    pub(crate) fn far_root(&self) -> PathBuf {
        self.directory.join("fs")
    }

    /// Ends the machine with everything that runs on it, as a power cut does.
    pub(crate) fn kill(&mut self) {
        // At once: a shell whose child is killed alone goes on.
        let all: Vec<String> = descendants(self.child.id()).iter().map(ToString::to_string).collect();
        let _ = self.child.kill();
        let _ = Command::new("kill").arg("-KILL").args(&all).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All processes below one, parents first.
fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all = Vec::new();
    for child in children.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
        all.push(child);
        all.extend(descendants(child));
    }
    all
}

/// A port that nobody has, nor is given by the kernel until it is used; tests in other processes begin elsewhere.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    loop {
        let offset = std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + offset % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A key pair without a passphrase.
pub(crate) fn make_key(path: &Path) {
    make_key_of("ed25519", path);
}

fn make_key_of(kind: &str, path: &Path) {
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-t", kind, "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

/// Packs a payload with this script, and these bytes beside it.
pub(crate) fn payload(parent: &Path, name: &str, script: &str, ballast: &[u8]) -> PathBuf {
    let directory = parent.join(name);
    fs::create_dir_all(&directory).unwrap();
    let entry = directory.join("payload.sh");
    fs::write(&entry, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.join("ballast"), ballast).unwrap();
    let file = parent.join(format!("{name}.tgz"));
    virtmark_payload::pack(&directory, &file).unwrap();
    file
}

/// Bytes that do not compress.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(next).collect()
}
