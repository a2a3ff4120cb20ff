//! Samples running machines into a time-series store, and exports it.
//!
//! A [`Recorder`] is one thread that follows any number of machines. At every tick, on whole multiples of its interval
//! on the wall clock, it reads what each machine uses and records all of it at one time. What has to be asked for (the
//! VMM over its control connection, the guest through its agent) is asked by a thread of the machine's own: a guest
//! that hangs delays nobody.
//!
//! Metrics are named as in Prometheus, and each has the label `machine`. From the host: `vcpu_time_seconds_total{vcpu}`,
//! `vcpu_steal_seconds_total`, `vcpu_exits_total{reason}`, `vmm_cpu_seconds_total`, `vmm_resident_bytes`,
//! `vmm_open_fds`, `vmm_uptime_seconds`, `guest_memory_bytes`, `blk_requests_total{op}`, `blk_bytes_total{direction}`,
//! `blk_request_seconds{op}`. From inside: `guest_cpu_seconds_total{mode}`, `guest_memory_available_bytes`,
//! `guest_load1`, `guest_run_queue`. Of itself: `recorder_cpu_seconds_total`, `recorder_bytes`, `recorder_machines`,
//! `recorder_samples_total`, `recorder_missed_ticks_total`, `recorder_skipped_questions_total`. What a platform cannot
//! tell is absent.

mod asker;
mod book;
mod error;
pub mod evidence;
pub mod export;
mod follower;
mod guest;
mod keeper;
mod machine;
mod observer;
mod options;
mod pace;
pub mod prometheus;
mod recorder;
mod summary;

pub use error::Error;
pub use options::{RecorderOptions, SERIES_PER_MACHINE, SHORTEST_INTERVAL, default_options};
pub use recorder::{Attachment, MachineId, Notice, Recorder};
pub use summary::{MachineSummary, Summary};
