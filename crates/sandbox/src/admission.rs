//! What is promised of the service's limits, decided at once: a promise is given whole or refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Options, Result};

/// What something needs of the service's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// 1 for a sandbox, 0 for a warm machine, which becomes one later.
    pub(crate) sandboxes: u64,
    pub(crate) vcpus: u64,
    pub(crate) memory_mib: u64,
}

impl Needs {
    fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            sandboxes: self.sandboxes.checked_add(other.sandboxes)?,
            vcpus: self.vcpus.checked_add(other.vcpus)?,
            memory_mib: self.memory_mib.checked_add(other.memory_mib)?,
        })
    }

    fn minus(self, other: Self) -> Self {
        Self {
            sandboxes: self.sandboxes - other.sandboxes,
            vcpus: self.vcpus - other.vcpus,
            memory_mib: self.memory_mib - other.memory_mib,
        }
    }
}

/// The service's limits, and what is promised of them.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Needs,
    promised: Mutex<Needs>,
}

impl Admission {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        let limits = Needs {
            sandboxes: options.max_sandboxes,
            vcpus: options.total_vcpus,
            memory_mib: options.total_memory_mib,
        };
        Arc::new(Self { limits, promised: Mutex::default() })
    }

    /// Promises all of `needs`, or nothing.
    pub(crate) fn reserve(self: &Arc<Self>, needs: Needs) -> Result<Reservation> {
        let mut promised = self.lock();
        let over = |resource, wanted, used, limit| Error::Capacity { resource, wanted, used, limit };
        let used = *promised;
        let all = used.plus(needs);
        match all {
            Some(all) if needs.sandboxes > 0 && all.sandboxes > self.limits.sandboxes => {
                Err(Error::LimitReached { what: "sandboxes", limit: self.limits.sandboxes })
            }
            Some(all) if all.vcpus > self.limits.vcpus => {
                Err(over("vCPUs", needs.vcpus, used.vcpus, self.limits.vcpus))
            }
            Some(all) if all.memory_mib <= self.limits.memory_mib => {
                *promised = all;
                Ok(Reservation { of: Arc::clone(self), needs })
            }
            _ => Err(over("MiB of memory", needs.memory_mib, used.memory_mib, self.limits.memory_mib)),
        }
    }

    pub(crate) fn promised(&self) -> Needs {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Needs> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A promise; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reservation {
    of: Arc<Admission>,
    needs: Needs,
}

impl Reservation {
    /// Makes one promise of two.
    pub(crate) fn join(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.of, &other.of), "one service has one admission");
        let needs = std::mem::take(&mut other.needs);
        // Both were promised at the same time, so that their sum did not overflow.
        self.needs = self.needs.plus(needs).unwrap_or(self.needs);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut promised = self.of.lock();
        *promised = promised.minus(self.needs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admission(sandboxes: u64, vcpus: u64, memory_mib: u64) -> Arc<Admission> {
        let options = Options {
            max_sandboxes: sandboxes,
            total_vcpus: vcpus,
            total_memory_mib: memory_mib,
            ..Options::new("/nowhere")
        };
        Admission::new(&options)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(Needs),
        Join(usize, usize),
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u64..2, 0u64..4, prop_oneof![4 => 0u64..300, 1 => Just(u64::MAX)]).prop_map(
                |(sandboxes, vcpus, memory_mib)| Step::Reserve(Needs { sandboxes, vcpus, memory_mib })
            ),
            1 => (0usize..20, 0usize..20).prop_map(|(into, from)| Step::Join(into, from)),
            2 => (0usize..20).prop_map(Step::Release),
        ]
    }

    proptest! {
        /// The model is a list of what was granted, and adds it up anew each time.
        #[test]
        fn promises_are_those_of_a_list(steps in prop::collection::vec(step(), 0..80)) {
            let admission = admission(5, 8, 1000);
            let mut held: Vec<Reservation> = Vec::new();
            let mut model: Vec<[u128; 3]> = Vec::new();
            for step in steps {
                match step {
                    Step::Reserve(needs) => {
                        let wanted = [needs.sandboxes, needs.vcpus, needs.memory_mib].map(u128::from);
                        let sum = |index: usize| model.iter().map(|of| of[index]).sum::<u128>() + wanted[index];
                        let fits = (wanted[0] == 0 || sum(0) <= 5) && sum(1) <= 8 && sum(2) <= 1000;
                        let granted = admission.reserve(needs);
                        prop_assert_eq!(granted.is_ok(), fits);
                        if let Ok(granted) = granted {
                            held.push(granted);
                            model.push(wanted);
                        }
                    }
                    Step::Join(into, from) if into < held.len() && from < held.len() && into != from => {
                        let (other, counted) = (held.remove(from), model.remove(from));
                        let into = if from < into { into - 1 } else { into };
                        held[into].join(other);
                        for index in 0..3 {
                            model[into][index] += counted[index];
                        }
                    }
                    Step::Release(index) if index < held.len() => {
                        drop(held.remove(index));
                        model.remove(index);
                    }
                    Step::Join(..) | Step::Release(_) => {}
                }
                let Needs { sandboxes, vcpus, memory_mib } = admission.promised();
                for (index, promised) in [sandboxes, vcpus, memory_mib].into_iter().enumerate() {
                    prop_assert_eq!(u128::from(promised), model.iter().map(|of| of[index]).sum::<u128>());
                }
            }
            held.clear();
            prop_assert_eq!(admission.promised(), Needs::default());
        }
    }

    #[test]
    fn threads_that_storm_a_limit_get_exactly_what_there_is() {
        let admission = admission(7, 1000, 100_000);
        let granted: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..32)
                .map(|_| {
                    scope.spawn(|| admission.reserve(Needs { sandboxes: 1, vcpus: 1, memory_mib: 1 }).ok())
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(granted.len(), 7);
        drop(granted);
        assert_eq!(admission.promised(), Needs::default());
    }

    #[test]
    fn what_is_refused_says_what_is_short() {
        let admission = admission(1, 2, 100);
        let refused = |sandboxes, vcpus, memory_mib| {
            admission.reserve(Needs { sandboxes, vcpus, memory_mib }).unwrap_err()
        };
        assert!(matches!(refused(2, 1, 1), Error::LimitReached { limit: 1, .. }));
        assert!(matches!(refused(1, 3, 1), Error::Capacity { resource: "vCPUs", wanted: 3, limit: 2, .. }));
        let error = refused(1, 1, 101);
        assert_eq!((error.code(), error.status(), error.retry_after_s()), ("capacity", 503, Some(1)));
    }
}
