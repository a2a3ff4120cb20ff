//! Runs a plan, again and again, for any number of callers at once.

mod inline;
mod permits;
mod pooled;
mod queue;

use std::io;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::batch::Batch;
use crate::failure::{CallError, NodeFailure};
use crate::ops::{Context, Slots};
use crate::plan::{Node, Plan};
use crate::request::Request;
use crate::resp::RedisOptions;

/// Threads for waiting when nobody says how many: a thread that waits costs next to nothing.
pub const DEFAULT_IO_THREADS: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not 0");

/// Which nodes of a call may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Nodes that do not need each other overlap.
    Async,
    /// One node after the other, in the order of the plan.
    Sync,
}

/// How an executor runs its plan.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Whether nodes overlap.
    pub scheduler: Scheduler,
    /// How many nodes may calculate at the same time, those of all callers together.
    pub cpu_threads: NonZeroUsize,
    /// How many nodes may wait at the same time, those of all callers together; also the most connections to Redis.
    pub io_threads: NonZeroUsize,
    /// The Redis to read; none for the one that the plan names.
    pub redis: Option<RedisOptions>,
}

impl Default for ExecutorOptions {
    /// Asynchronous, a thread for calculating per processor that this process may use, 32 for waiting.
    fn default() -> Self {
        Self {
            scheduler: Scheduler::Async,
            cpu_threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            io_threads: DEFAULT_IO_THREADS,
            redis: None,
        }
    }
}

/// Runs one plan; shared by all who call it.
///
/// Where nothing can overlap (the synchronous scheduler, or a plan without two nodes worth a thread each) a call runs
/// on the thread of its caller, one permit for each of the threads there may be. Otherwise nodes run on two pools of
/// threads that are made once. Either way, who comes first is served first.
#[derive(Debug)]
pub struct Executor {
    plan: Arc<Plan>,
    options: ExecutorOptions,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Inline(inline::Inline),
    Pooled(pooled::Pooled),
}

impl Executor {
    /// Makes the executor with its threads. Redis is not asked before the first call that reads it.
    ///
    /// # Errors
    /// When the threads cannot be made.
    pub fn new(plan: Arc<Plan>, options: &ExecutorOptions) -> io::Result<Self> {
        let redis = options.redis.clone().unwrap_or_else(|| plan.redis());
        let (cpu, io) = (options.cpu_threads.get(), options.io_threads.get());
        let engine = match options.scheduler {
            Scheduler::Async if plan.overlaps() => {
                Engine::Pooled(pooled::Pooled::new(Arc::clone(&plan), redis, cpu, io)?)
            }
            Scheduler::Async | Scheduler::Sync => Engine::Inline(inline::Inline::new(redis, cpu, io)),
        };
        Ok(Self { plan, options: options.clone(), engine })
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether nodes overlap.
    pub fn scheduler(&self) -> Scheduler {
        self.options.scheduler
    }

    /// How many nodes may calculate at the same time.
    pub fn cpu_threads(&self) -> NonZeroUsize {
        self.options.cpu_threads
    }

    /// How many nodes may wait at the same time.
    pub fn io_threads(&self) -> NonZeroUsize {
        self.options.io_threads
    }

    /// Runs the plan once, and returns when its result is there. The request must be one of the same plan.
    ///
    /// # Errors
    /// When a node fails: the first failure; other nodes of the call are not started any more.
    pub fn call(&self, request: &Request) -> Result<Arc<Batch>, CallError> {
        match &self.engine {
            Engine::Inline(inline) => inline.call(&self.plan, request),
            Engine::Pooled(pooled) => pooled.call(request),
        }
    }
}

/// Runs a node; a panic in it is a failure of this call and of no other.
fn run_node(node: &Node, done: &impl Slots, context: &mut Context<'_>) -> Result<Arc<Batch>, CallError> {
    // What a panic may leave half done is the connection, which the failed read has taken already.
    let run = || node.op.run(&node.inputs, done, context);
    let result = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(NodeFailure::Panicked));
    result.map_err(|failure| CallError::Node { node: node.name.clone(), failure })
}
