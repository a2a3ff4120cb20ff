//! A call on the thread of its caller: one node after the other.

use std::sync::Arc;

use super::permits::Permits;
use super::run_node;
use crate::batch::Batch;
use crate::failure::CallError;
use crate::ops::{Context, Lane, Slots};
use crate::plan::Plan;
use crate::request::Request;
use crate::resp::{Connection, RedisOptions};

#[derive(Debug)]
pub(super) struct Inline {
    redis: RedisOptions,
    cpu: Permits<()>,
    io: Permits<Option<Connection>>,
}

impl Inline {
    pub(super) fn new(redis: RedisOptions, cpu_threads: usize, io_threads: usize) -> Self {
        let cpu = Permits::new(std::iter::repeat_n((), cpu_threads));
        let io = Permits::new((0..io_threads).map(|_| None));
        Self { redis, cpu, io }
    }

    pub(super) fn call(&self, plan: &Plan, request: &Request) -> Result<Arc<Batch>, CallError> {
        let mut done = Done(Vec::with_capacity(plan.nodes().len()));
        // Kept from node to node: a call asks for it once, and again after it has waited for something else.
        let mut cpu = None;
        for node in plan.nodes() {
            let batch = if node.lane == Lane::Io {
                cpu = None;
                let mut connection = self.io.take();
                let mut context = Context { request, redis: &self.redis, connection: &mut connection };
                run_node(node, &done, &mut context)?
            } else {
                cpu.get_or_insert_with(|| self.cpu.take());
                run_node(node, &done, &mut Context { request, redis: &self.redis, connection: &mut None })?
            };
            done.0.push(batch);
        }
        Ok(done.0.pop().unwrap_or_default())
    }
}

/// Rows of the nodes so far, in the order of the plan.
struct Done(Vec<Arc<Batch>>);

impl Slots for Done {
    fn batch(&self, node: usize) -> &Arc<Batch> {
        &self.0[node]
    }
}
