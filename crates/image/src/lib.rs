//! Kernels and initramfs images for guests, kept by content hash.
