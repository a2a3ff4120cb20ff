//! A call on two pools of threads: a node starts as soon as its inputs are there.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use super::queue::Queue;
use super::run_node;
use crate::batch::Batch;
use crate::failure::CallError;
use crate::ops::{Context, Lane, Slots};
use crate::plan::Plan;
use crate::request::Request;
use crate::resp::RedisOptions;

#[derive(Debug)]
pub(super) struct Pooled {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    redis: RedisOptions,
    cpu: Queue<Job>,
    io: Queue<Job>,
    /// Nodes without inputs that are not worth a thread each.
    light_roots: Vec<usize>,
    heavy_roots: Vec<usize>,
}

/// Nodes of a call that run one after the other on one thread.
#[derive(Debug)]
struct Job {
    call: Arc<Call>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    LightRoots,
    Node(usize),
}

/// Which threads these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pool {
    Cpu,
    Io,
}

impl Pool {
    fn of(lane: Lane) -> Self {
        if lane == Lane::Io { Self::Io } else { Self::Cpu }
    }
}

impl Pooled {
    pub(super) fn new(
        plan: Arc<Plan>,
        redis: RedisOptions,
        cpu_threads: usize,
        io_threads: usize,
    ) -> io::Result<Self> {
        let roots = || (0..plan.nodes().len()).filter(|node| plan.nodes()[*node].inputs.is_empty());
        let is_light = |node: &usize| plan.nodes()[*node].lane == Lane::Light;
        let (light_roots, heavy_roots) = roots().partition(is_light);
        let shared = Shared { plan, redis, cpu: Queue::new(), io: Queue::new(), light_roots, heavy_roots };
        // When a thread cannot be made, the drop ends those that were.
        let mut pooled = Self { shared: Arc::new(shared), threads: Vec::new() };
        for (pool, name, count) in [(Pool::Cpu, "plan-cpu", cpu_threads), (Pool::Io, "plan-io", io_threads)] {
            for _ in 0..count {
                let shared = Arc::clone(&pooled.shared);
                let thread = thread::Builder::new().name(name.into());
                pooled.threads.push(thread.spawn(move || shared.work(pool))?);
            }
        }
        Ok(pooled)
    }

    pub(super) fn call(&self, request: &Request) -> Result<Arc<Batch>, CallError> {
        let nodes = self.shared.plan.nodes();
        let call = Arc::new(Call {
            request: request.clone(),
            slots: nodes.iter().map(|_| OnceLock::new()).collect(),
            open: nodes.iter().map(|node| AtomicUsize::new(node.inputs.len())).collect(),
            is_over: AtomicBool::new(false),
            result: Mutex::new(None),
            changed: Condvar::new(),
        });
        // What others can wait for starts first.
        for node in &self.shared.heavy_roots {
            self.shared.start(&call, *node);
        }
        if !self.shared.light_roots.is_empty() {
            self.shared.cpu.push(Job { call: Arc::clone(&call), work: Work::LightRoots });
        }
        call.wait()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.shared.cpu.close();
        self.shared.io.close();
        for thread in self.threads.drain(..) {
            // A panic of a node is caught and told to the caller of the plan.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What a thread of a pool does until the end. Each has its own connection, made when it first reads.
    fn work(&self, pool: Pool) {
        let queue = if pool == Pool::Cpu { &self.cpu } else { &self.io };
        let mut connection = None;
        let mut here = Vec::new();
        while let Some(Job { call, work }) = queue.pop() {
            match work {
                Work::LightRoots => here.extend(&self.light_roots),
                Work::Node(node) => here.push(node),
            }
            while let Some(node) = here.pop() {
                // Others of the call are of no use after a failure.
                if call.is_over.load(Ordering::Relaxed) {
                    here.clear();
                    break;
                }
                let mut context =
                    Context { request: &call.request, redis: &self.redis, connection: &mut connection };
                match run_node(&self.plan.nodes()[node], &*call, &mut context) {
                    Ok(batch) => self.hand_on(&call, node, batch, pool, &mut here),
                    Err(error) => call.finish(Err(error)),
                }
            }
        }
    }

    /// Starts what waited for this node: here what is light and one of the others, elsewhere the rest.
    fn hand_on(&self, call: &Arc<Call>, node: usize, batch: Arc<Batch>, pool: Pool, here: &mut Vec<usize>) {
        if node + 1 == self.plan.nodes().len() {
            return call.finish(Ok(batch));
        }
        // Nobody else runs this node.
        let _ = call.slots[node].set(batch);
        let mut kept = None;
        for follower in &self.plan.nodes()[node].followers {
            // The last one to come sees what all the others wrote.
            if call.open[*follower].fetch_sub(1, Ordering::AcqRel) > 1 {
                continue;
            }
            let lane = self.plan.nodes()[*follower].lane;
            if Pool::of(lane) != pool {
                self.start(call, *follower);
            } else if lane == Lane::Light {
                here.push(*follower);
            } else if let Some(other) = kept.replace(*follower) {
                self.start(call, other);
            }
        }
        match kept {
            Some(node) if here.is_empty() => here.push(node),
            Some(node) => self.start(call, node),
            None => {}
        }
    }

    fn start(&self, call: &Arc<Call>, node: usize) {
        let job = Job { call: Arc::clone(call), work: Work::Node(node) };
        match Pool::of(self.plan.nodes()[node].lane) {
            Pool::Cpu => self.cpu.push(job),
            Pool::Io => self.io.push(job),
        }
    }
}

/// One call of the plan, under way.
#[derive(Debug)]
struct Call {
    request: Request,
    slots: Box<[OnceLock<Arc<Batch>>]>,
    /// How many inputs each node still waits for.
    open: Box<[AtomicUsize]>,
    is_over: AtomicBool,
    result: Mutex<Option<Result<Arc<Batch>, CallError>>>,
    changed: Condvar,
}

impl Call {
    /// The first result is the result.
    fn finish(&self, result: Result<Arc<Batch>, CallError>) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            self.changed.notify_one();
        }
    }

    fn wait(&self) -> Result<Arc<Batch>, CallError> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match result.take() {
                Some(result) => return result,
                None => result = self.changed.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Slots for Call {
    fn batch(&self, node: usize) -> &Arc<Batch> {
        self.slots[node].get().expect("a node starts when all of its inputs are there")
    }
}
