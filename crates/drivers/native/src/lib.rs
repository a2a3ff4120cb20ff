//! The bare host as a machine: the baseline every guest is compared with.
