//! Machines that were set up together.

use std::sync::Arc;
use std::time::Duration;

use virtmark_hypervisor::{Error, GuestLink};

use super::Replica;
use super::setup::tear_down_all;
use crate::map::HostMap;

/// Machines that were set up together; dropping them tears them down.
pub struct Replicas {
    members: Vec<Member>,
    map: HostMap,
}

/// One of them.
pub(super) struct Member {
    pub(super) replica: Box<dyn Replica>,
    /// From the start of the set-up until it was ready.
    pub(super) ready: Duration,
}

impl Replicas {
    /// The error says why they make no map; they are torn down.
    pub(super) fn new(members: Vec<Member>) -> Result<Self, String> {
        let machines = members.iter().map(|member| member.replica.machine().clone()).collect();
        match HostMap::new(machines, "machines") {
            Ok(map) => Ok(Self { members, map }),
            Err(error) => {
                tear_down_all(members);
                Err(error.to_string())
            }
        }
    }

    /// The machines with their addresses, in the order of the plan.
    pub fn map(&self) -> &HostMap {
        &self.map
    }

    /// The known_hosts file (sshd(8)) of all of them.
    pub fn known_hosts(&self) -> String {
        self.members.iter().map(|member| member.replica.known_hosts()).collect()
    }

    /// The ways to their agents, by name.
    pub fn links(&self) -> impl Iterator<Item = (String, Arc<dyn GuestLink>)> {
        self.members.iter().filter_map(|Member { replica, .. }| {
            let link = replica.link()?;
            Some((replica.machine().name.clone(), link))
        })
    }

    /// How long each took until it was ready, from the start of the set-up, which includes waiting for its turn.
    pub fn ready_times(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.members.iter().map(|member| (member.replica.machine().name.as_str(), member.ready))
    }

    /// Those that have ended by themselves, by name, with the reason.
    pub fn ended(&self) -> Vec<(String, String)> {
        let ended = self.members.iter().filter_map(|Member { replica, .. }| {
            let reason = replica.ended()?;
            Some((replica.machine().name.clone(), reason))
        });
        ended.collect()
    }

    /// Tears all of them down at once; what could not be, by name.
    pub fn tear_down(self) -> Vec<(String, Error)> {
        tear_down_all(self.members)
    }
}
