//! Plans, run by the generator itself.

use std::sync::Arc;

use virtmark_plan::{Executor, ExecutorOptions, FailureClass, Plan, RedisOptions, Request, Scheduler};

use crate::job::PlanSpec;
use crate::target::{CallFailure, Limit, Target, Worker};

/// A plan with its executor. A call cannot be given up: it returns when the plan has ended.
pub(crate) struct PlanTarget {
    executor: Arc<Executor>,
    request: Request,
}

impl PlanTarget {
    pub(crate) fn new(spec: &PlanSpec) -> Result<Self, CallFailure> {
        let bad = |class, error: &dyn std::fmt::Display| CallFailure::new(class, error.to_string());
        let plan = Plan::parse(&spec.plan).map_err(|error| bad("bad_plan", &format!("the plan: {error}")))?;
        let request = plan.request(&spec.request).map_err(|error| bad("bad_input", &error))?;
        let redis =
            spec.redis.as_ref().map(|address| RedisOptions { address: address.clone(), ..plan.redis() });
        let options = ExecutorOptions {
            scheduler: if spec.is_async { Scheduler::Async } else { Scheduler::Sync },
            cpu_threads: spec.cpu_threads,
            io_threads: spec.io_threads,
            redis,
        };
        let executor = Executor::new(Arc::new(plan), &options)
            .map_err(|error| bad("no_threads", &format!("cannot start the threads of the plan: {error}")))?;
        Ok(Self { executor: Arc::new(executor), request })
    }
}

impl Target for PlanTarget {
    fn worker(&self, _: usize) -> Result<Box<dyn Worker>, CallFailure> {
        Ok(Box::new(PlanWorker { executor: Arc::clone(&self.executor), request: self.request.clone() }))
    }
}

struct PlanWorker {
    executor: Arc<Executor>,
    request: Request,
}

impl Worker for PlanWorker {
    fn call(&mut self, _: &Limit) -> Result<(), CallFailure> {
        let result = self.executor.call(&self.request);
        result.map(drop).map_err(|error| CallFailure::new(class_name(error.class()), error.to_string()))
    }
}

fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::BadInput => "bad_input",
        FailureClass::Panicked => "panicked",
        FailureClass::RedisData => "redis_data",
        FailureClass::RedisLost => "redis_lost",
        FailureClass::RedisProtocol => "redis_protocol",
        FailureClass::RedisRefused => "redis_refused",
        FailureClass::RedisTimeout => "redis_timeout",
        FailureClass::RedisUnreachable => "redis_unreachable",
        FailureClass::TooManyRows => "too_many_rows",
    }
}
