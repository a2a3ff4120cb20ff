//! Ways to the host.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::retry_on_intr;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A way to the host.
pub(crate) trait Transport {
    /// Whether the device it opens is there. Modules are loaded until it is, or until all are.
    fn is_present(&self) -> bool {
        false
    }

    /// A descriptor that is readable once a host has connected; `None` where nobody has to connect.
    fn listener(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        Ok(None)
    }

    /// Opens the line, after the host has connected where it has to.
    fn open(&mut self) -> io::Result<OwnedFd>;

    /// What to do when the line ends.
    fn at_end(&self) -> AtEnd;

    /// How to name it in messages.
    fn describe(&self) -> String;
}

/// What the end of a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// The host is gone, and with it the agent's purpose.
    Finish,
    /// The host may connect again, as another connection.
    Reopen,
    /// The host may come back on the same line.
    Wait,
}

/// A port of a virtio-serial device, found by its name.
pub(crate) struct VirtioSerial {
    pub(crate) name: String,
}

impl VirtioSerial {
    fn device(&self) -> io::Result<PathBuf> {
        for port in fs::read_dir("/sys/class/virtio-ports")? {
            let port = port?;
            if fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim_end() == self.name) {
                return Ok(PathBuf::from("/dev").join(port.file_name()));
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "no virtio-serial port has this name"))
    }
}

impl Transport for VirtioSerial {
    fn is_present(&self) -> bool {
        self.device().is_ok_and(|device| device.exists())
    }

    fn open(&mut self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().read(true).write(true).open(self.device()?)?.into())
    }

    fn at_end(&self) -> AtEnd {
        AtEnd::Wait
    }

    fn describe(&self) -> String {
        format!("the virtio-serial port {}", self.name)
    }
}

/// A descriptor that the agent was started with.
pub(crate) struct Inherited {
    pub(crate) fd: Option<OwnedFd>,
}

impl Transport for Inherited {
    fn open(&mut self) -> io::Result<OwnedFd> {
        self.fd.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn at_end(&self) -> AtEnd {
        AtEnd::Finish
    }

    fn describe(&self) -> String {
        "the descriptor of --fd".into()
    }
}

/// A TCP port on which the agent listens.
pub(crate) struct Tcp {
    pub(crate) address: SocketAddr,
    pub(crate) listener: Option<TcpListener>,
}

impl Tcp {
    fn listen(&mut self) -> io::Result<&TcpListener> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(self.address)?,
        };
        Ok(self.listener.insert(listener))
    }
}

impl Transport for Tcp {
    fn listener(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        Ok(Some(self.listen()?.as_fd()))
    }

    fn open(&mut self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listen()?.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream.into())
    }

    fn at_end(&self) -> AtEnd {
        AtEnd::Reopen
    }

    fn describe(&self) -> String {
        format!("TCP {}", self.address)
    }
}

/// A vsock port on which the agent listens.
pub(crate) struct Vsock {
    pub(crate) port: u32,
    pub(crate) listener: Option<OwnedFd>,
}

impl Vsock {
    fn listen(&mut self) -> io::Result<&OwnedFd> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => {
                let (family, kind) = (AddressFamily::VSOCK, SocketType::STREAM);
                let listener = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
                rustix::net::bind(&listener, &VsockAddress::any(self.port))?;
                rustix::net::listen(&listener, 1)?;
                listener
            }
        };
        Ok(self.listener.insert(listener))
    }
}

impl Transport for Vsock {
    fn listener(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        Ok(Some(self.listen()?.as_fd()))
    }

    fn open(&mut self) -> io::Result<OwnedFd> {
        let listener = self.listen()?;
        Ok(retry_on_intr(|| rustix::net::accept_with(listener, SocketFlags::CLOEXEC))?)
    }

    fn at_end(&self) -> AtEnd {
        AtEnd::Reopen
    }

    fn describe(&self) -> String {
        format!("vsock port {}", self.port)
    }
}

/// `struct sockaddr_vm` of `linux/vm_sockets.h`.
#[repr(C)]
struct VsockAddress {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

impl VsockAddress {
    /// A port at any context identifier of this guest (`VMADDR_CID_ANY`).
    fn any(port: u32) -> Self {
        Self {
            family: AddressFamily::VSOCK.as_raw(),
            reserved: 0,
            port,
            cid: u32::MAX,
            flags: 0,
            zero: [0; 3],
        }
    }
}

// SAFETY: the pointer given to `call` is that of `self`, readable for its whole size, and the layout is that of the
// kernel's `struct sockaddr_vm`.
#[allow(unsafe_code)]
unsafe impl SocketAddrArg for VsockAddress {
    unsafe fn with_sockaddr<R>(&self, call: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        call(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}
