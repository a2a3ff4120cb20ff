//! Overlays over the disks of a machine that runs, and the way back to one file.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde_json::json;
use virtmark_hypervisor::{Error, Result};

use super::{QMP_TIMEOUT, Vm};
use crate::command_line::node_name;
use crate::disks::Layer;
use crate::qmp::QmpError;

/// How long the control connection is kept from others while a disk is put into one file.
const TURN: Duration = Duration::from_millis(20);

impl Vm {
    /// Puts an empty overlay over every disk, of a guest that is stopped: what was written until now is not written any
    /// more.
    pub(crate) fn freeze_disks(&mut self) -> Result<()> {
        for number in 0..self.disks.len() {
            let overlay = self.disks[number].next_overlay()?;
            if let Err(error) = self.put_over(number, &overlay) {
                // The next attempt makes it again.
                let _ = fs::remove_file(&overlay.path);
                return Err(error);
            }
            self.disks[number].put_over(overlay);
        }
        Ok(())
    }

    fn put_over(&mut self, number: usize, overlay: &Layer) -> Result<()> {
        let disk = &self.disks[number];
        let node = node_name(&disk.name);
        let (old, new) = (disk.top_node(&node), disk.next_node(&node));
        let added = self.qmp().add_to_set(overlay.file.as_fd(), &new, QMP_TIMEOUT);
        let file = added.map_err(|error| self.qmp_error(&error))?;
        let blockdev = json!({
            "driver": overlay.format.as_str(), "node-name": new, "discard": "unmap",
            "file": { "driver": "file", "filename": file, "locking": "off" },
        });
        self.command("blockdev-add", blockdev)?;
        let put = self.command("blockdev-snapshot", json!({ "node": old, "overlay": new }));
        put.map(drop).inspect_err(|_| {
            // Its name is needed again; the first error is the one that matters.
            let _ = self.command("blockdev-del", json!({ "node-name": new }));
        })
    }

    /// Puts all that is in the layers of a disk that has many into what is written to, while the guest runs: each
    /// layer is a file to look into and a table in memory. Snapshots keep the layers that they share.
    pub(crate) fn shorten_disks(&mut self) -> Result<()> {
        for number in 0..self.disks.len() {
            if self.disks[number].is_deep() {
                self.pull_up(number)?;
            }
        }
        Ok(())
    }

    fn pull_up(&mut self, number: usize) -> Result<()> {
        let disk = &self.disks[number];
        let node = node_name(&disk.name);
        let (top, below) = (disk.top_node(&node), disk.layer_nodes(&node));
        let path = disk.top.path.clone();
        let job = format!("{top}.stream");
        for event in ["BLOCK_JOB_COMPLETED", "JOB_STATUS_CHANGE"] {
            self.qmp().forget_events(event);
        }
        self.command("block-stream", json!({ "job-id": job, "device": top }))?;
        match self.wait_job(&job) {
            Ok(()) => {}
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
                return Err(Error::DiskFull { path, remedy: "another directory for the files of machines" });
            }
            Err(error) => return Err(error),
        }
        self.disks[number].forget_layers();
        self.close_nodes(&below)
    }

    /// Has QEMU close the files of nodes that nothing is over any more: open, they would keep their space.
    fn close_nodes(&mut self, nodes: &[String]) -> Result<()> {
        let sets = self.command("query-fdsets", json!({}))?;
        // The uppermost first: each holds the one below it.
        for node in nodes.iter().rev() {
            self.command("blockdev-del", json!({ "node-name": node }))?;
            let set = sets.as_array().into_iter().flatten().find(|set| set["fds"][0]["opaque"] == **node);
            if let Some(set) = set {
                self.command("remove-fd", json!({ "fdset-id": set["fdset-id"] }))?;
            }
        }
        Ok(())
    }

    /// Waits until a block job has ended and holds no node any more. One that makes no progress is told to end.
    fn wait_job(&mut self, job: &str) -> Result<()> {
        let (mut deadline, mut done) = (Instant::now() + QMP_TIMEOUT, 0);
        let (mut failure, mut cancelled) = (None, false);
        loop {
            let event = self.qmp().wait_event("JOB_STATUS_CHANGE", TURN, |event| match &*event.name {
                "BLOCK_JOB_COMPLETED" | "BLOCK_JOB_CANCELLED" => event.data["device"] == job,
                "JOB_STATUS_CHANGE" => event.data["id"] == job && event.data["status"] == "null",
                _ => false,
            });
            match event {
                Ok(event) if event.name == "JOB_STATUS_CHANGE" => break,
                Ok(event) if event.name == "BLOCK_JOB_CANCELLED" => {
                    failure = Some("it made no progress".into())
                }
                Ok(event) => failure = event.data["error"].as_str().map(str::to_owned),
                Err(QmpError::Silent { .. }) => {
                    let jobs = self.command("query-block-jobs", json!({}))?;
                    let ours = jobs.as_array().into_iter().flatten().find(|found| found["device"] == job);
                    let offset = ours.and_then(|found| found["offset"].as_u64()).unwrap_or(done);
                    if offset > done {
                        (deadline, done) = (Instant::now() + QMP_TIMEOUT, offset);
                    } else if Instant::now() >= deadline && cancelled {
                        let (command, timeout) = ("block-stream".into(), QMP_TIMEOUT);
                        return Err(self.qmp_error(&QmpError::Silent { command, timeout }));
                    } else if Instant::now() >= deadline {
                        self.command("block-job-cancel", json!({ "device": job, "force": true }))?;
                        cancelled = true;
                        deadline = Instant::now() + QMP_TIMEOUT;
                    }
                }
                Err(error) => return Err(self.qmp_error(&error)),
            }
        }
        let Some(reason) = failure else { return Ok(()) };
        let full = reason.contains("No space left on device");
        let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Err(Error::io(format!("put a disk of {} into one file", self.name))(io::Error::new(kind, reason)))
    }
}
