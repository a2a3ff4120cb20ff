//! Landlock: a process gives up access for good, without being root (`Documentation/userspace-api/landlock.rst` of the
//! kernel). The standard library and rustix have no calls for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `LANDLOCK_ACCESS_FS_WRITE_FILE`.
const WRITE_FILE: u64 = 1 << 1;
/// `REMOVE_DIR` to `MAKE_SYM`: everything that changes a directory.
const CHANGE_DIRECTORY: u64 = ((1 << 13) - 1) & !((1 << 4) - 1);
/// `REFER` (version 2): linking and renaming into another directory.
const REFER: u64 = 1 << 13;
/// `TRUNCATE` (version 3).
const TRUNCATE: u64 = 1 << 14;
/// `BIND_TCP` and `CONNECT_TCP` (version 4).
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;
/// `ABSTRACT_UNIX_SOCKET` and `SIGNAL` (version 6): both only within what is locked in together.
const SCOPES: u64 = 0b11;

const CREATE_RULESET_VERSION: libc::c_uint = 1;
const RULE_PATH_BENEATH: libc::c_uint = 1;
const RULE_NET_PORT: libc::c_uint = 2;

/// `struct landlock_ruleset_attr`. A kernel that knows fewer fields takes it when the others are zero.
#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

/// What a child may still do with TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tcp {
    /// Nothing.
    None,
    /// Wait for connections at a port that the kernel chooses.
    Listen,
    /// What its user may.
    Any,
}

/// What a child may still do: write to the files that are allowed here, and to what it has open. It can change no other
/// file or directory, use TCP as far as it was told, and signal no process but itself and its children, as far as the
/// kernel's version of Landlock knows these things.
#[derive(Debug)]
pub struct WriteRules {
    ruleset: OwnedFd,
    file_access: u64,
}

impl WriteRules {
    /// The version of Landlock that this kernel has (1 since Linux 5.13), or why it has none.
    pub fn version() -> io::Result<u32> {
        let version = create_ruleset(None, CREATE_RULESET_VERSION)?;
        u32::try_from(version).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Rules that allow no file yet.
    pub fn new(tcp: Tcp) -> io::Result<Self> {
        let version = Self::version()?;
        let since = |wanted: u32, access: u64| if version >= wanted { access } else { 0 };
        let file_access = WRITE_FILE | since(3, TRUNCATE);
        let attributes = RulesetAttributes {
            handled_access_fs: file_access | CHANGE_DIRECTORY | since(2, REFER),
            handled_access_net: if tcp == Tcp::Any { 0 } else { since(4, BIND_TCP | CONNECT_TCP) },
            scoped: since(6, SCOPES),
        };
        let ruleset = create_ruleset(Some(&attributes), 0)?;
        let rules = Self { ruleset: owned(ruleset)?, file_access };
        if tcp == Tcp::Listen && attributes.handled_access_net != 0 {
            // Port 0 stands for a port of the kernel's choice.
            rules.add(RULE_NET_PORT, &NetPort { allowed_access: BIND_TCP, port: 0 })?;
        }
        Ok(rules)
    }

    /// Allows writing to this file, also when it is opened again.
    pub fn allow(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let rule = PathBeneath { allowed_access: self.file_access, parent_fd: file.as_raw_fd() };
        self.add(RULE_PATH_BENEATH, &rule)
    }

    /// Adds a rule; `T` is the structure of rules of type `kind`.
    #[allow(unsafe_code)]
    fn add<T>(&self, kind: libc::c_uint, rule: &T) -> io::Result<()> {
        // SAFETY: `rule` is a whole rule of this type for the length of the call; the descriptor, and one that it names,
        // are open.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.ruleset.as_raw_fd(),
                kind,
                std::ptr::from_ref(rule),
                0,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts the calling thread, and what it executes, under these rules for ever. It must have given up new privileges.
    /// One system call: also runs between fork and exec.
    #[allow(unsafe_code)]
    pub(super) fn enter(&self) -> io::Result<()> {
        // SAFETY: passes two numbers, of which the first is an open descriptor.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.ruleset.as_raw_fd(), 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for WriteRules {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ruleset.as_fd()
    }
}

#[allow(unsafe_code)]
fn create_ruleset(attributes: Option<&RulesetAttributes>, flags: libc::c_uint) -> io::Result<libc::c_long> {
    let size = if attributes.is_some() { size_of::<RulesetAttributes>() } else { 0 };
    let attributes: *const RulesetAttributes = attributes.map_or(std::ptr::null(), |attributes| attributes);
    // SAFETY: `attributes` is null with a size of zero, or points to as many bytes as `size` says.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[allow(unsafe_code)]
fn owned(descriptor: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = i32::try_from(descriptor).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
