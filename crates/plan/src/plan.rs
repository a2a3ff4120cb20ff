//! A plan: read from JSON, checked, and compiled to what the executor runs.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::batch::Schema;
use crate::builtin;
use crate::json::{At, Fault, Source};
use crate::names;
use crate::ops::{self, Lane, Op, Site};
use crate::problem::{Place, PlanError, Problem};
use crate::request::{self, Parameter, Request, RequestError};
use crate::resp::RedisOptions;

/// Longest time that a plan may give Redis to answer, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// A graph of named nodes, checked and ready to run. `docs/plan.md` describes the file.
#[derive(Debug)]
pub struct Plan {
    name: String,
    description: String,
    parameters: Vec<Parameter>,
    redis: Option<RedisOptions>,
    /// Each behind all of its inputs; the last one is the output, since all lead there.
    nodes: Vec<Node>,
    overlaps: bool,
}

/// A node, with its neighbours as places in the plan's order.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) lane: Lane,
    pub(crate) inputs: Vec<usize>,
    /// The nodes that have this one as an input, once for each time.
    pub(crate) followers: Vec<usize>,
    schema: Schema,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        Self::from_source(Source { text, file: None })
    }

    /// Reads a plan from a file.
    ///
    /// # Errors
    /// When the file cannot be read; otherwise as [`Plan::parse`], with the file's name in the place.
    pub fn from_file(path: &Path) -> Result<Self, PlanError> {
        let text = std::fs::read_to_string(path).map_err(|error| PlanError {
            place: Place { file: Some(path.into()), line: 1, column: 1, pointer: None },
            problem: Box::new(Problem::Read { why: error.to_string() }),
        })?;
        Self::from_source(Source { text: &text, file: Some(path) })
    }

    /// One of the plans that are built in, by its name.
    pub fn builtin(name: &str) -> Option<Self> {
        let text = builtin::text(name)?;
        Some(Self::parse(text).expect("the tests read every plan that is built in"))
    }

    fn from_source(source: Source<'_>) -> Result<Self, PlanError> {
        let value = source.read()?;
        compile(&At::root(&value)).map_err(|fault| source.locate(fault))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for, in a sentence; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it wants from its caller.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// How many nodes it has.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The columns of its result.
    pub fn schema(&self) -> &Schema {
        // A plan has at least one node.
        &self.nodes[self.nodes.len() - 1].schema
    }

    /// Whether it runs without a Redis.
    pub fn is_offline(&self) -> bool {
        !self.nodes.iter().any(|node| matches!(node.op, Op::RedisRead(_)))
    }

    /// The Redis that the plan names; the default one where it names none.
    pub fn redis(&self) -> RedisOptions {
        self.redis.clone().unwrap_or_default()
    }

    /// Whether two of its nodes can run at the same time and are worth a thread each.
    pub fn overlaps(&self) -> bool {
        self.overlaps
    }

    /// Fits a JSON object to the plan's parameters. Can be called again and again with one request.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn request(&self, request: &Value) -> Result<Request, RequestError> {
        request::fit(&self.parameters, request)
    }

    /// As [`Plan::request`], from text; empty text stands for an empty object.
    ///
    /// # Errors
    /// When it is not JSON or does not fit.
    pub fn request_from_text(&self, text: &str) -> Result<Request, RequestError> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let value = serde_json::from_str(text);
        self.request(&value.map_err(|error| RequestError::NotJson { why: error.to_string() })?)
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

/// A node as the file has it, with its inputs found.
struct Draft<'a> {
    name: &'a str,
    at: At<'a>,
    kind: ops::Kind,
    /// Places among the drafts, with the place in the file.
    inputs: Vec<(usize, At<'a>)>,
}

fn compile(root: &At<'_>) -> Result<Plan, Fault> {
    root.only(&["plan", "description", "parameters", "redis", "nodes", "output"])?;
    let name = names::read(&root.required("plan", "a name")?)?;
    let description = root.optional("description")?.map_or(Ok(""), |at| at.text())?.to_owned();
    let parameters =
        root.optional("parameters")?.map_or(Ok(Vec::new()), |at| request::read_parameters(&at))?;
    let redis = root.optional("redis")?.map(|at| read_redis(&at)).transpose()?;
    let drafts = read_drafts(&root.required("nodes", "an object of nodes by name")?)?;
    let output = root.required("output", "the name of a node")?;
    let output = find(&output, &drafts)?;
    let order = order(&drafts)?;
    all_lead_to(output, &drafts)?;

    let mut places = vec![0; drafts.len()];
    order.iter().enumerate().for_each(|(place, draft)| places[*draft] = place);
    let mut nodes: Vec<Node> = Vec::with_capacity(order.len());
    for draft in order.iter().map(|draft| &drafts[*draft]) {
        let inputs: Vec<usize> = draft.inputs.iter().map(|(input, _)| places[*input]).collect();
        let columns: Vec<(&str, &Schema)> =
            inputs.iter().map(|input| (nodes[*input].name.as_str(), &nodes[*input].schema)).collect();
        let site = Site { at: &draft.at, inputs: &columns, parameters: &parameters };
        let (op, schema) = Op::read(draft.kind, &site)?;
        let place = nodes.len();
        inputs.iter().for_each(|input| nodes[*input].followers.push(place));
        let lane = op.lane();
        nodes.push(Node { name: draft.name.into(), op, lane, inputs, followers: Vec::new(), schema });
    }
    let overlaps = overlaps(&nodes);
    Ok(Plan { name, description, parameters, redis, nodes, overlaps })
}

fn read_redis(at: &At<'_>) -> Result<RedisOptions, Fault> {
    at.only(&["address", "timeout_ms"])?;
    let mut options = RedisOptions::default();
    if let Some(address) = at.optional("address")? {
        options.address = address.text()?.into();
    }
    if let Some(timeout) = at.optional("timeout_ms")? {
        options.timeout = std::time::Duration::from_millis(timeout.count(1, MAX_TIMEOUT_MS)?);
    }
    Ok(options)
}

fn read_drafts<'a>(nodes: &At<'a>) -> Result<Vec<Draft<'a>>, Fault> {
    let mut drafts = Vec::new();
    for (name, at) in nodes.members()? {
        names::check(name, &at)?;
        let kind = at.required("op", "an operation")?.one_of("operation", &ops::NAMES)?;
        drafts.push(Draft { name, at, kind, inputs: Vec::new() });
    }
    if drafts.is_empty() {
        return Err(nodes.fault(Problem::NoNodes));
    }
    for index in 0..drafts.len() {
        let inputs = drafts[index].at.optional("inputs")?.map_or(Ok(Vec::new()), |at| at.elements())?;
        for input in inputs {
            let place = find(&input, &drafts)?;
            drafts[index].inputs.push((place, input));
        }
    }
    Ok(drafts)
}

fn find(at: &At<'_>, drafts: &[Draft<'_>]) -> Result<usize, Fault> {
    let name = at.text()?;
    let unknown = || at.fault(Problem::unknown("node", name, drafts.iter().map(|draft| draft.name)));
    drafts.iter().position(|draft| draft.name == name).ok_or_else(unknown)
}

/// Each node behind its inputs; where the graph leaves a choice, in the order of the names.
fn order(drafts: &[Draft<'_>]) -> Result<Vec<usize>, Fault> {
    let mut open: Vec<usize> = drafts.iter().map(|draft| draft.inputs.len()).collect();
    let mut followers = vec![Vec::new(); drafts.len()];
    for (index, draft) in drafts.iter().enumerate() {
        draft.inputs.iter().for_each(|(input, _)| followers[*input].push(index));
    }
    // Drafts are in the order of their names.
    let mut ready: BTreeSet<usize> = (0..drafts.len()).filter(|index| open[*index] == 0).collect();
    let mut order = Vec::with_capacity(drafts.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for follower in &followers[next] {
            open[*follower] -= 1;
            if open[*follower] == 0 {
                ready.insert(*follower);
            }
        }
    }
    if order.len() < drafts.len() { Err(cycle(drafts, &open)) } else { Ok(order) }
}

/// Finds a cycle among the nodes that still wait for an input.
fn cycle(drafts: &[Draft<'_>], open: &[usize]) -> Fault {
    let waits = |index: usize| open[index] > 0;
    // Going from one that waits to an input that waits, again and again, ends where one was before.
    let mut path: Vec<usize> = (0..drafts.len()).find(|index| waits(*index)).into_iter().collect();
    loop {
        let last = path[path.len() - 1];
        let next = drafts[last].inputs.iter().find(|(input, _)| waits(*input));
        let (next, at) = next.expect("a node that waits has an input that waits");
        if let Some(start) = path.iter().position(|index| index == next) {
            // The path went against the flow of rows.
            let mut names: Vec<String> =
                path[start..].iter().rev().map(|index| drafts[*index].name.to_owned()).collect();
            names.push(names[0].clone());
            return at.fault(Problem::Cycle { path: names });
        }
        path.push(*next);
    }
}

/// That the rows of every node come to the output.
fn all_lead_to(output: usize, drafts: &[Draft<'_>]) -> Result<(), Fault> {
    let mut used = vec![false; drafts.len()];
    let mut next = vec![output];
    while let Some(index) = next.pop() {
        if !std::mem::replace(&mut used[index], true) {
            next.extend(drafts[index].inputs.iter().map(|(input, _)| *input));
        }
    }
    match drafts.iter().zip(used).find(|(_, used)| !used) {
        Some((draft, _)) => Err(draft.at.fault(Problem::Unused { name: draft.name.into() })),
        None => Ok(()),
    }
}

/// Whether there are two nodes, each worth a thread, of which neither needs the other.
fn overlaps(nodes: &[Node]) -> bool {
    // What a node needs, directly or not; nodes are behind their inputs.
    let mut needs: Vec<BTreeSet<usize>> = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        let mut all: BTreeSet<usize> = node.inputs.iter().copied().collect();
        node.inputs.iter().for_each(|input| all.extend(&needs[*input]));
        let heavy = |other: &usize| nodes[*other].lane != Lane::Light;
        if heavy(&place) && (0..place).any(|other| heavy(&other) && !all.contains(&other)) {
            return true;
        }
        needs.push(all);
    }
    false
}
