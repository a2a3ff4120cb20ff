//! `virtmark suite`

mod present;
mod record;
mod run;
mod vocabulary;

use anyhow::Context;
use serde_json::{Value, json};
use virtmark_suite::{Order, Suite, builtin_names, builtin_text};

pub(super) use self::present::{is_unfinished, report, resume, show};
pub(super) use self::record::{Part, parts};
use self::vocabulary::Commands;
use crate::args::{SuiteArguments, SuiteCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(options: &SuiteArguments, quiet: bool) -> anyhow::Result<Exit> {
    match &options.command {
        SuiteCommand::Check(options) => {
            let loaded = Loaded::read(&options.suite)?;
            output::json(&loaded.plan(random_seed()))?;
        }
        SuiteCommand::Run(options) => return run::run(options, quiet),
        SuiteCommand::Show(options) => {
            // The command line takes these names only.
            let text = builtin_text(&options.name).unwrap_or_default();
            output::stdout(|output| output.write_all(text.as_bytes()))?;
        }
    }
    Ok(Exit::Ok)
}

/// A suite that can be run, and where it came from.
struct Loaded {
    suite: Suite,
    /// As the user named it.
    name: String,
    /// The file's text.
    text: String,
}

impl Loaded {
    /// A suite that is built in, or a file. Everything that is wrong with it is one error, a line each.
    fn read(name: &str) -> anyhow::Result<Self> {
        let text = match builtin_text(name) {
            Some(text) => text.to_owned(),
            None => std::fs::read_to_string(name).with_context(|| {
                let names: Vec<&str> = builtin_names().collect();
                format!("cannot read the suite {name:?}; name a file, or one of {}", names.join(", "))
            })?,
        };
        let suite = Suite::parse(&text, &Commands::new()).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(|problem| format!("{name}:{problem}")).collect();
            let count = match lines.len() {
                1 => "one mistake".into(),
                more => format!("{more} mistakes"),
            };
            Failure::usage(format!("the suite {name} has {count}\n{}", lines.join("\n")))
        })?;
        Ok(Self { suite, name: name.into(), text })
    }

    /// What would be run, in order.
    fn plan(&self, drawn_seed: u64) -> Value {
        let schedule: Vec<Value> = self
            .suite
            .schedule(drawn_seed)
            .iter()
            .map(|turn| {
                let step = &self.suite.steps[turn.step as usize - 1];
                json!({
                    "step": turn.step,
                    "label": step.label,
                    "repetition": turn.repetition,
                    "command": command_line(&step.arguments),
                })
            })
            .collect();
        json!({
            "name": self.suite.name,
            "order": order_name(self.suite.order),
            "seed": seed(self.suite.order),
            "stop_on_failure": self.suite.stop_on_failure,
            "time_limit_ns": self.suite.time_limit.and_then(|limit| u64::try_from(limit.as_nanos()).ok()),
            "schedule": schedule,
        })
    }
}

/// The command that does what a step does.
fn command_line(arguments: &[String]) -> Vec<String> {
    std::iter::once("virtmark".to_owned()).chain(arguments.iter().cloned()).collect()
}

fn order_name(order: Order) -> &'static str {
    match order {
        Order::Given => "given",
        Order::Interleaved => "interleaved",
        Order::Random { .. } => "random",
    }
}

fn seed(order: Order) -> Option<u64> {
    match order {
        Order::Random { seed } => seed,
        Order::Given | Order::Interleaved => None,
    }
}

/// Small enough to be exact in JSON.
fn random_seed() -> u64 {
    u64::from(crate::measure::random())
}
