//! QEMU machines: direct kernel start, QMP, snapshots that share memory.
