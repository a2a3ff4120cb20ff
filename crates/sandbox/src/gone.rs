//! What became of sandboxes that are not there any more.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use virtmark_model::FailureClass;

use crate::api::SandboxId;

/// How a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A client asked for it.
    Asked,
    /// Its life time was over.
    Expired,
    /// Its machine ended by itself, or could not be reached any more.
    Failed {
        /// The kind of failure.
        class: FailureClass,
        /// What happened.
        message: String,
    },
    /// The service shut down.
    Shutdown,
}

impl Gone {
    /// The stable name of the reason, for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Expired => "expired",
            Self::Failed { .. } => "failed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => formatter.write_str("it was destroyed"),
            Self::Expired => formatter.write_str("its life time was over"),
            Self::Failed { class, message } => write!(formatter, "it failed ({class}): {message}"),
            Self::Shutdown => formatter.write_str("the service shuts down"),
        }
    }
}

/// Remembers the ends of so many sandboxes, the latest ones.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    order: VecDeque<SandboxId>,
    ends: HashMap<SandboxId, Gone>,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, order: VecDeque::new(), ends: HashMap::new() }
    }

    /// The first end of a sandbox counts.
    pub(crate) fn note(&mut self, id: SandboxId, end: Gone) {
        if self.ends.contains_key(&id) {
            return;
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.ends.insert(id, end);
    }

    pub(crate) fn end_of(&self, id: &SandboxId) -> Option<&Gone> {
        self.ends.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_the_first_reason_stays() {
        let ids: Vec<_> = (0..3).map(|_| SandboxId::random().unwrap()).collect();
        let mut memory = Memory::new(2);
        memory.note(ids[0].clone(), Gone::Expired);
        memory.note(ids[0].clone(), Gone::Asked);
        assert_eq!(memory.end_of(&ids[0]), Some(&Gone::Expired));
        memory.note(ids[1].clone(), Gone::Asked);
        memory.note(ids[2].clone(), Gone::Asked);
        assert_eq!(memory.end_of(&ids[0]), None);
        assert!(memory.end_of(&ids[1]).is_some() && memory.end_of(&ids[2]).is_some());
        assert_eq!(memory.ends.len(), memory.order.len());
    }
}
