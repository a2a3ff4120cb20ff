//! Two command lines out of a common one and what each side has besides.

use clap::Parser;
use virtmark_scenarios::pace::Mode;
use virtmark_scenarios::tti::TtiPlan;

use crate::args::{Arguments, Command, TtiArguments};
use crate::commands::sweep::words;
use crate::failure::Failure;
use crate::pace::pace;

/// What both sides do, and how often.
pub(super) struct Sides {
    pub(super) options: [TtiArguments; 2],
    pub(super) plans: [TtiPlan; 2],
}

impl Sides {
    pub(super) fn parse(common: &[String], flags: [&str; 2]) -> anyhow::Result<Self> {
        let [a, b] = ["--a", "--b"].map(|option| {
            let flags = if option == "--a" { flags[0] } else { flags[1] };
            side(common, flags, option)
        });
        let options = [a?, b?];
        let plans = [plan(&options[0])?, plan(&options[1])?];
        if plans[0].pace.iterations != plans[1].pace.iterations
            || plans[0].pace.warmup != plans[1].pace.warmup
        {
            let message =
                "both sides take equally many turns: give --iterations and --warmup once, behind --";
            return Err(Failure::usage(message).into());
        }
        Ok(Self { options, plans })
    }
}

fn side(common: &[String], flags: &str, option: &str) -> Result<TtiArguments, Failure> {
    let flags = if flags.trim().is_empty() { Vec::new() } else { words::split(flags, option)? };
    let words = std::iter::once("virtmark".to_owned()).chain(common.iter().cloned()).chain(flags);
    let parsed = Arguments::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::usage(format!("cannot read the command behind -- with what {option} adds: {first}"))
    })?;
    match parsed.command {
        Command::Tti(options) => Ok(options),
        _ => Err(Failure::usage("only tti can take turns with itself: write -- tti and its options")),
    }
}

fn plan(options: &TtiArguments) -> Result<TtiPlan, Failure> {
    let pace = pace(&options.pace)?;
    if pace.mode != Mode::Sequential {
        return Err(Failure::usage(
            "configurations take turns one machine after the other: leave --mode out",
        ));
    }
    if options.record.record.is_some() {
        return Err(Failure::usage("machines that take turns are not recorded: leave --record out"));
    }
    if options.archive.archive.is_some() {
        return Err(Failure::usage("both runs go into one archive: write --archive before the --"));
    }
    Ok(TtiPlan { pace, command: options.command.clone(), timeout: options.timeout })
}
