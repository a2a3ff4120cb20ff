//! Two command lines out of a common one and what each side has besides.

use clap::Parser;
use virtmark_scenarios::pace::Mode;

use crate::args::{Arguments, Command, LifecycleFormat};
use crate::commands::subject::Subject;
use crate::commands::sweep::words;
use crate::commands::{lifecycle, restore, tti};
use crate::failure::Failure;

/// What each side does.
pub(super) struct Sides([Command; 2]);

impl Sides {
    pub(super) fn parse(common: &[String], flags: [&str; 2]) -> anyhow::Result<Self> {
        let [a, b] = flags;
        Ok(Self([side(common, a, "--a")?, side(common, b, "--b")?]))
    }

    /// What is measured on each side, equally often, in so many blocks.
    pub(super) fn subjects(&self, blocks: u32, quiet: bool) -> anyhow::Result<[Subject<'_>; 2]> {
        let [a, b] = self.0.each_ref().map(|command| subject(command, blocks, quiet));
        let (a, b) = (a?, b?);
        let refuse = |message: String| Err(Failure::usage(message).into());
        if a.request.scenario != b.request.scenario {
            return refuse("both sides do the same: name the scenario once, behind --".into());
        }
        if (a.pace.iterations, a.pace.warmup) != (b.pace.iterations, b.pace.warmup) {
            let message =
                "both sides take equally many turns: give --iterations and --warmup once, behind --";
            return refuse(message.into());
        }
        let iterations = a.pace.iterations.get();
        if iterations < blocks {
            return refuse(format!(
                "{iterations} iterations of each side do not make {blocks} blocks: use --iterations {blocks} or more"
            ));
        }
        Ok([a, b])
    }
}

fn side(common: &[String], flags: &str, option: &str) -> Result<Command, Failure> {
    let flags = if flags.trim().is_empty() { Vec::new() } else { words::split(flags, option)? };
    let words = std::iter::once("virtmark".to_owned()).chain(common.iter().cloned()).chain(flags);
    let parsed = Arguments::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::usage(format!("cannot read the command behind -- with what {option} adds: {first}"))
    })?;
    Ok(parsed.command)
}

fn subject(command: &Command, blocks: u32, quiet: bool) -> anyhow::Result<Subject<'_>> {
    let refuse = |message: &str| Err(Failure::usage(message).into());
    let subject = match command {
        Command::Lifecycle(options) if options.format == LifecycleFormat::Csv => {
            return refuse("what is printed is the comparison: write --format before the --");
        }
        Command::Lifecycle(options) => lifecycle::subject(options, quiet)?,
        Command::Restore(options) => restore::subject(options, blocks, quiet)?,
        Command::Tti(options) => tti::subject(options, quiet)?,
        _ => {
            return refuse(
                "only tti, lifecycle and restore can take turns with themselves: write -- tti and its options",
            );
        }
    };
    if subject.pace.mode != Mode::Sequential {
        return refuse("configurations take turns one machine after the other: leave --mode out");
    }
    if subject.request.record.is_some_and(|(options, _)| options.record.is_some()) {
        return refuse("machines that take turns are not recorded: leave --record out");
    }
    if subject.request.archive.archive.is_some() {
        return refuse("both runs go into one archive: write --archive before the --");
    }
    Ok(subject)
}
