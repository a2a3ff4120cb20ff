//! Guest memory that is in a file which virtmark has open too.

use std::fs::File;
use std::io;

use virtmark_hypervisor::{Error, Result};

use super::Vm;
use crate::sparse;

impl Vm {
    /// Copies guest memory to a file that is empty. Gives the checksum of the copy. Of a guest that runs, the copy is of
    /// no moment in particular until [`refresh_memory`](Self::refresh_memory).
    pub(crate) fn copy_memory(&self, copy: &File) -> Result<u32> {
        let copied = self.memory_file().and_then(|memory| sparse::copy(memory, copy, self.memory_bytes));
        copied.map_err(Error::io(format!("copy the memory of {}", self.name)))
    }

    /// Makes a copy of guest memory exact, of a guest that is stopped now.
    pub(crate) fn refresh_memory(&self, copy: &File) -> Result<()> {
        let copied = self.memory_file().and_then(|memory| sparse::refresh(memory, copy, self.memory_bytes));
        copied.map_err(Error::io(format!("copy what changed of the memory of {}", self.name)))
    }

    fn memory_file(&self) -> io::Result<&File> {
        self.memory.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
