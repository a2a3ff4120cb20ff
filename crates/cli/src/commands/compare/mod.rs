//! `virtmark compare`, `virtmark aa` and `virtmark tune`

mod pair;
mod sides;
mod tables;
mod tune;

use virtmark_archive::{Archive, RunFilter};
use virtmark_model::{Run, Sample};
use virtmark_report::Style;
use virtmark_scenarios::compare::{
    Comparison, Difference, FalseAlarms, Interleaved, Purpose, Recorded, Request, Side, Verdict, between,
    compare,
};
use virtmark_stats::compare::{DEFAULT_BLOCKS, Options};

pub(crate) use tune::run as run_tune;

use crate::args::{AaArguments, CertaintyArguments, CompareArguments, CompareFormat};
use crate::exit::Exit;
use crate::measure::{open, open_read_only};
use crate::output;
use pair::{Pair, take_turns};
use sides::Sides;

/// What must be the same for the false alarms of one configuration to say something about another.
const GROUND: [Difference; 4] =
    [Difference::Accelerator, Difference::Emulation, Difference::Host, Difference::Hypervisor];

pub(crate) fn run(options: &CompareArguments, quiet: bool) -> anyhow::Result<Exit> {
    let allowed = options.allow.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let request = Request {
        metrics: options.metrics.clone(),
        allowed,
        options: certainty(&options.certainty),
        blocks: options.blocks.map(|blocks| blocks as usize),
    };
    let (runs, archive) = match options.interleave {
        true => {
            let flags = [&options.a, &options.b].map(|flags| flags.as_deref().unwrap_or_default());
            let sides = Sides::parse(&options.scenario, flags)?;
            let blocks = options.blocks.unwrap_or(DEFAULT_BLOCKS as u32);
            let pair = take_turns(sides, None, blocks, Purpose::Compare, &options.archive, quiet)?;
            match pair {
                Pair { ended: Some(exit), .. } => return exit,
                Pair { runs, .. } => (runs, open_read_only(&options.archive)?),
            }
        }
        false => {
            let archive = open_read_only(&options.archive)?;
            let of = |name: &String| -> anyhow::Result<(Run, Vec<Sample>)> {
                let run = archive.run(name)?.run;
                let samples = archive.samples(&run.id)?;
                Ok((run, samples))
            };
            // The definition of the command line asks for two.
            ([of(&options.runs[0])?, of(&options.runs[1])?], archive)
        }
    };
    let [a, b] = runs.each_ref().map(|(run, samples)| Recorded { run, samples });
    let mut comparison = compare(a, b, &request)?;
    comparison.false_alarms = false_alarms(&archive, a.run, &request.options)?;
    print(&comparison, options.format, quiet)?;
    Ok(match comparison.verdict {
        Verdict::Worse => Exit::Worse,
        Verdict::CannotTell if options.strict => Exit::CannotTell,
        Verdict::Better | Verdict::CannotTell | Verdict::NoDifference => Exit::Ok,
    })
}

pub(crate) fn run_aa(options: &AaArguments, quiet: bool) -> anyhow::Result<Exit> {
    let sides = Sides::parse(&options.scenario, ["", ""])?;
    let blocks = options.comparisons * DEFAULT_BLOCKS as u32;
    let certainty = certainty(&options.certainty);
    let pair = take_turns(sides, None, blocks, Purpose::Aa, &options.archive, quiet)?;
    let [a, b] = pair.runs.each_ref().map(|(run, samples)| Recorded { run, samples });
    let here = FalseAlarms::of(&[[a, b]], &certainty);
    let archive = open(&options.archive)?;
    let all = false_alarms(&archive, a.run, &certainty)?.unwrap_or_else(|| here.clone());
    if !quiet {
        output::people(&format!("\n{}", tables::alarms(&here, &all).render(Style::for_stderr())));
    }
    output::json(&serde_json::json!({
        "run_a": a.run.id, "run_b": b.run.id, "these_runs": here, "false_alarms": all,
    }))?;
    match pair.ended {
        Some(exit) => exit,
        None => Ok(Exit::Ok),
    }
}

fn certainty(options: &CertaintyArguments) -> Options {
    let CertaintyArguments { min_effect, confidence } = *options;
    Options { confidence, min_effect, ..Options::default() }
}

/// Over all runs in the archive of one configuration against itself, on the ground that `run` stands on; none when
/// there are none.
fn false_alarms(archive: &Archive, run: &Run, options: &Options) -> anyhow::Result<Option<FalseAlarms>> {
    let filter = RunFilter { scenario: Some(run.scenario.clone()), ..RunFilter::default() };
    let mut pairs = Vec::new();
    for stored in archive.runs(&filter)? {
        let Some(Interleaved { partner, side: Side::A, purpose: Purpose::Aa, .. }) =
            Interleaved::of(&stored.run)
        else {
            continue;
        };
        let fits = between(run, &stored.run).iter().all(|found| !GROUND.contains(&found.difference));
        // The partner may have been removed.
        if fits && let Ok(partner) = archive.run(partner.as_str()) {
            let samples = [archive.samples(&stored.run.id)?, archive.samples(&partner.run.id)?];
            pairs.push(([stored.run, partner.run], samples));
        }
    }
    let recorded: Vec<_> = pairs
        .iter()
        .map(|([a, b], [of_a, of_b])| {
            [Recorded { run: a, samples: of_a }, Recorded { run: b, samples: of_b }]
        })
        .collect();
    let alarms = FalseAlarms::of(&recorded, options);
    Ok((alarms.interleaved.comparisons > 0).then_some(alarms))
}

fn print(comparison: &Comparison, format: CompareFormat, quiet: bool) -> anyhow::Result<()> {
    match format {
        CompareFormat::Json => {
            if !quiet {
                output::people(&format!("\n{}", tables::of(comparison).render(Style::for_stderr())));
            }
            output::json(comparison)
        }
        CompareFormat::Markdown => {
            output::stdout(|output| output.write_all(tables::markdown(comparison).as_bytes()))
        }
        CompareFormat::Table => {
            let text = tables::of(comparison).render(output::stdout_style());
            output::stdout(|output| output.write_all(text.as_bytes()))
        }
    }
}
