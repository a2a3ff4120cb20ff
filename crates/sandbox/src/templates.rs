//! Snapshots of booted guests, from which new sandboxes go on.
//!
//! A template is made once however many ask for it at the same time: one makes it, the others wait for the outcome.
//! Its key is a digest of everything that it depends on, so that one that does not fit any more is never found.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Hypervisor, Snapshot};
use virtmark_model::{HypervisorFacts, ImageFacts};

use crate::api::random_digits;
use crate::kept::{self, Kept};
use crate::shape::Shape;
use crate::{Error, Notice, Options, Result};

/// Changes when templates are made in another way.
const FORMAT: u32 = 1;

/// Everything that a template depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    format: u32,
    /// virtmark's own version, and with it the agent's and the protocol's.
    virtmark: String,
    hypervisor: String,
    hypervisor_version: String,
    accelerator: Option<String>,
    configuration: Option<String>,
    image_id: String,
    kernel_sha256: String,
    initramfs_sha256: Option<String>,
    #[serde(flatten)]
    place: Place,
}

/// What a template is for. Of two with the same place, the later one takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    image: String,
    vcpus: u32,
    memory_mib: u64,
    disk_mib: u64,
    kernel_arguments: Vec<String>,
}

impl Subject {
    pub(crate) fn new(shape: &Shape, hypervisor: &HypervisorFacts, options: &Options) -> Self {
        let ImageFacts { id, name, kernel_sha256, initramfs_sha256, .. } = shape.image.facts.clone();
        Self {
            format: FORMAT,
            virtmark: env!("CARGO_PKG_VERSION").into(),
            hypervisor: hypervisor.name.clone(),
            hypervisor_version: hypervisor.version.clone(),
            accelerator: hypervisor.accelerator.map(|accelerator| accelerator.to_string()),
            configuration: hypervisor.configuration.clone(),
            image_id: id,
            kernel_sha256,
            initramfs_sha256,
            place: Place {
                image: name,
                vcpus: shape.vcpus,
                memory_mib: shape.memory_mib,
                disk_mib: shape.disk_mib,
                kernel_arguments: options.kernel_arguments.clone(),
            },
        }
    }

    fn key(&self) -> Result<String> {
        kept::sha256_json(self).map_err(Error::internal("name a template"))
    }
}

/// What `meta.json` of a template holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Meta {
    subject: Subject,
    created_at: Timestamp,
    disk_bytes: u64,
}

/// The templates of a service.
pub(crate) struct Templates {
    directory: PathBuf,
    hypervisor: Arc<dyn Hypervisor>,
    limit: usize,
    notice: Notice,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    uses: u64,
}

enum Entry {
    Making(Arc<Attempt>),
    Ready { kept: Arc<Kept>, subject: Box<Subject>, used: u64 },
}

/// One making, and who waits for it.
#[derive(Default)]
struct Attempt {
    outcome: Mutex<Option<Result<Arc<Kept>>>>,
    done: Condvar,
}

impl Attempt {
    fn wait(&self) -> Result<Arc<Kept>> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = self.done.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A template for a sandbox.
pub(crate) struct Found {
    pub(crate) kept: Arc<Kept>,
    /// Whether it had to be made first, by the caller or somebody else.
    pub(crate) waited: bool,
}

impl Templates {
    /// Those that an earlier service left; damaged ones are removed.
    pub(crate) fn open(
        directory: PathBuf,
        hypervisor: &Arc<dyn Hypervisor>,
        options: &Options,
    ) -> Result<Self> {
        let mut found = Vec::new();
        for (name, path) in kept::whole_ones(&directory)? {
            let opened = Kept::open(path.clone(), |meta: &Meta| meta.disk_bytes, hypervisor);
            match opened {
                Ok((kept, meta)) if name.starts_with(&meta.subject.key()?) => {
                    found.push((meta.subject.key()?, kept, meta));
                }
                Ok(_) | Err(_) => {
                    options.notice.tell(&format!("removed the damaged template {}", path.display()));
                    kept::remove(&path)?;
                }
            }
        }
        found.sort_by_key(|(_, _, meta)| meta.created_at);
        let mut state = State::default();
        for (key, kept, meta) in found {
            state.uses += 1;
            let subject = Box::new(meta.subject);
            let entry = Entry::Ready { kept: Arc::new(kept), subject, used: state.uses };
            state.entries.insert(key, entry);
        }
        let templates = Self {
            directory,
            hypervisor: Arc::clone(hypervisor),
            limit: options.max_templates.max(1),
            notice: options.notice.clone(),
            state: Mutex::new(state),
        };
        templates.shrink(None);
        Ok(templates)
    }

    /// The template for `subject`; `make` makes it if there is none, in a directory that it is given. While somebody
    /// makes it, others wait, and share the outcome.
    pub(crate) fn find(
        &self,
        subject: &Subject,
        make: impl FnOnce(&std::path::Path) -> Result<Snapshot>,
    ) -> Result<Found> {
        let key = subject.key()?;
        let attempt = {
            let mut state = self.lock();
            state.uses += 1;
            let now = state.uses;
            match state.entries.get_mut(&key) {
                Some(Entry::Ready { kept, used, .. }) => {
                    *used = now;
                    return Ok(Found { kept: Arc::clone(kept), waited: false });
                }
                Some(Entry::Making(attempt)) => {
                    let attempt = Arc::clone(attempt);
                    drop(state);
                    return attempt.wait().map(|kept| Found { kept, waited: true });
                }
                None => {
                    let attempt = Arc::new(Attempt::default());
                    state.entries.insert(key.clone(), Entry::Making(Arc::clone(&attempt)));
                    attempt
                }
            }
        };
        let mut making = Making { templates: self, key, attempt, outcome: None };
        let outcome = self.make(&making.key, subject, make);
        making.outcome = Some((outcome.clone(), subject.clone()));
        drop(making);
        self.shrink(Some(subject));
        outcome.map(|kept| Found { kept, waited: true })
    }

    fn make(
        &self,
        key: &str,
        subject: &Subject,
        make: impl FnOnce(&std::path::Path) -> Result<Snapshot>,
    ) -> Result<Arc<Kept>> {
        // One that was spoilt may still be in use, and have the place of its key.
        let digits = random_digits().map_err(Error::internal("name a template"))?;
        let directory = self.directory.join(format!("{key}-{}", &digits[..8]));
        let (kept, _) = Kept::make(directory, &self.hypervisor, |path| {
            let snapshot = make(path)?;
            let meta = Meta {
                subject: subject.clone(),
                created_at: Timestamp::now(),
                disk_bytes: snapshot.disk_bytes,
            };
            Ok((snapshot, meta))
        })?;
        Ok(Arc::new(kept))
    }

    /// This one cannot be restored: the next who asks makes it anew. Others may have done this already.
    pub(crate) fn spoil(&self, subject: &Subject, spoilt: Arc<Kept>, reason: &str) -> Result<()> {
        let key = subject.key()?;
        let mut state = self.lock();
        let is_there =
            matches!(state.entries.get(&key), Some(Entry::Ready { kept, .. }) if Arc::ptr_eq(kept, &spoilt));
        if is_there {
            state.entries.remove(&key);
            // Files are removed outside of the lock.
            drop(state);
            self.notice.tell(&format!("a template cannot be used any more, and is made anew: {reason}"));
            self.let_go(spoilt);
        }
        Ok(())
    }

    /// A template that cannot be removed is in nobody's way.
    fn let_go(&self, kept: Arc<Kept>) {
        if let Err(error) = kept.doom() {
            self.notice.tell(&error.to_string());
        }
    }

    /// Lets go of what `latest` took the place of, and of those unused the longest beyond the limit.
    fn shrink(&self, latest: Option<&Subject>) {
        let mut state = self.lock();
        let mut superfluous = Vec::new();
        if let Some(latest) = latest {
            let replaced = |entry: &Entry| match entry {
                Entry::Ready { subject, .. } => **subject != *latest && subject.place == latest.place,
                Entry::Making(_) => false,
            };
            superfluous.extend(
                state.entries.iter().filter(|(_, entry)| replaced(entry)).map(|(key, _)| key.clone()),
            );
        }
        let mut by_use: Vec<(u64, String)> = state
            .entries
            .iter()
            .filter(|(key, _)| !superfluous.contains(key))
            .filter_map(|(key, entry)| match entry {
                Entry::Ready { used, .. } => Some((*used, key.clone())),
                Entry::Making(_) => None,
            })
            .collect();
        by_use.sort_unstable();
        let over = by_use.len().saturating_sub(self.limit);
        superfluous.extend(by_use.into_iter().take(over).map(|(_, key)| key));
        let removed: Vec<Entry> = superfluous.iter().filter_map(|key| state.entries.remove(key)).collect();
        // Files are removed outside of the lock.
        drop(state);
        for entry in removed {
            if let Entry::Ready { kept, .. } = entry {
                self.let_go(kept);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody makes a template. Whatever becomes of that, those who wait hear of it.
struct Making<'a> {
    templates: &'a Templates,
    key: String,
    attempt: Arc<Attempt>,
    outcome: Option<(Result<Arc<Kept>>, Subject)>,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = self.templates.lock();
        let outcome = match self.outcome.take() {
            Some((Ok(kept), subject)) => {
                state.uses += 1;
                let subject = Box::new(subject);
                let entry = Entry::Ready { kept: Arc::clone(&kept), subject, used: state.uses };
                state.entries.insert(self.key.clone(), entry);
                Ok(kept)
            }
            failed => {
                state.entries.remove(&self.key);
                Err(failed.and_then(|(outcome, _)| outcome.err()).unwrap_or_else(|| Error::Internal {
                    action: "make a template".into(),
                    reason: "the thread that made it panicked".into(),
                }))
            }
        };
        *self.attempt.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.attempt.done.notify_all();
    }
}
