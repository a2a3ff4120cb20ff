//! Real SSH servers on loopback, each a machine with a directory of its own, and payloads for them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtmark_host::process::{Child, Spawn, Stream};
use virtmark_host::rundir::{Roots, RunDir};

/// What payloads are unpacked below; every server has it in its own directory.
pub(crate) const ROOT: &str = "/far-root";

const SSHD: &str = "/usr/sbin/sshd";

/// A program that serves a test: it ends with the test, however that ends.
pub(crate) struct Service {
    child: Child,
    _run_dir: RunDir,
    _place: TempDir,
}

impl Service {
    /// What it says on standard error goes to `log`.
    pub(crate) fn start(program: &str, arguments: &[&str], log: &Path) -> Self {
        // A short path, wherever the user has temporary files.
        let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        let roots = Roots::new(place.path().join("run"), [place.path().join("bulk")]);
        let run_dir = RunDir::create_in(roots).unwrap();
        let mut spawn = Spawn::new("service", program);
        spawn.args(arguments).stderr(Stream::File(log.into()));
        Self { child: spawn.start(&run_dir).unwrap(), _run_dir: run_dir, _place: place }
    }

    /// Ends it with everything that it started, as a power cut does.
    fn kill(&self) {
        if self.child.try_wait().is_some() {
            return;
        }
        // At once: a shell whose child is killed alone goes on.
        let all: Vec<String> = descendants(self.child.pid()).iter().map(ToString::to_string).collect();
        self.child.kill_group();
        let _ = Command::new("kill").arg("-KILL").args(&all).stderr(Stdio::null()).status();
        self.child.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that is one machine. Its end is the end of everything that it started.
pub(crate) struct Sshd {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    service: Service,
}

impl Sshd {
    /// One that lets `key` in; its files are below `parent`.
    pub(crate) fn start(parent: &Path, name: &str, key: &Path) -> Self {
        Self::start_with(parent, name, key, &["ed25519"])
    }

    /// One with new host keys of these kinds, as `ssh-keygen -t` names them.
    pub(crate) fn start_with(parent: &Path, name: &str, key: &Path, kinds: &[&str]) -> Self {
        // Somebody else may be faster at a port that was free.
        let mut started = (0..100).map(|_| Self::started(parent, name, key, free_port(), kinds));
        started.find_map(|server| server).unwrap()
    }

    /// One on this port, with new host keys of these kinds.
    pub(crate) fn start_on(parent: &Path, name: &str, key: &Path, port: u16, kinds: &[&str]) -> Self {
        let server = Self::started(parent, name, key, port, kinds);
        server.unwrap_or_else(|| panic!("somebody else has taken the port {port}"))
    }

    /// None where somebody else has the port.
    fn started(parent: &Path, name: &str, key: &Path, port: u16, kinds: &[&str]) -> Option<Self> {
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
            format!("HostKey \"{}\"\n", file.display())
        };
        let host_keys: String = kinds.iter().map(host_key).collect();
        let authorised = directory.join("authorized_keys");
        fs::copy(key.with_extension("pub"), &authorised).unwrap();
        // A machine has its own file system: here, its own place for the root. Words with it are not in quotes.
        let wrapper = directory.join("wrapper");
        let far = directory.join("fs").display().to_string().replace(' ', r"\\ ");
        let text = format!(
            "#!/bin/sh\ncommand=$(printf %s \"$SSH_ORIGINAL_COMMAND\" | sed 's|{ROOT}|{far}|g')\nexec /bin/sh -c \"$command\"\n",
        );
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        // Nor does what the user's own shell does when it starts belong to it.
        let home = directory.join("home");
        fs::create_dir_all(&home).unwrap();
        let config = directory.join("config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\n{host_keys}AuthorizedKeysFile \"{}\"\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nForceCommand \"{}\"\nSetEnv \"HOME={}\"\n",
            authorised.display(),
            wrapper.display(),
            home.display()
        );
        fs::write(&config, text).unwrap();
        // What the package's own start makes; a user who is not root has no use for it.
        let _ = fs::create_dir_all("/run/sshd");
        let log = directory.join("log");
        // That of a server before it on the same machine says nothing of this one.
        fs::write(&log, "").unwrap();
        let service = Service::start(SSHD, &["-D", "-e", "-f", config.to_str().unwrap()], &log);
        let server = Self { name: name.into(), port, directory, service };
        server.listens().then_some(server)
    }

    /// Whether it listens, and not somebody else. To ask the port would be no answer.
    fn listens(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let has_ended = self.service.child.try_wait().is_some();
            let log = fs::read_to_string(self.directory.join("log")).unwrap();
            if log.contains("Server listening on ") {
                return true;
            }
            if has_ended {
                assert!(log.contains("Address already in use"), "{SSHD} has ended: {log}");
                return false;
            }
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
        self.service.kill();
    }
}

/// All processes below one, parents first.
fn descendants(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all = Vec::new();
    for child in children.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
        all.push(child);
        all.extend(descendants(child));
    }
    all
}

/// A port that nobody has, nor is given by the kernel until it is used.
pub(crate) fn free_port() -> u16 {
    free_listener().local_addr().unwrap().port()
}

/// A listener on such a port; tests in other processes begin elsewhere.
pub(crate) fn free_listener() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    loop {
        let offset = std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + offset % COUNT).unwrap();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
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
