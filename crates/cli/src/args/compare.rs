//! Options of comparisons.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use virtmark_driver_qemu::Remedy;
use virtmark_scenarios::compare::{Difference, MetricChoice};

use super::ArchiveArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark compare tti-20260102-030405 latest
  virtmark compare tti-20260102 tti-20260103 --metric tti --min-effect 10% --format markdown
  virtmark compare QEMU-RUN NATIVE-RUN --allow hypervisor --allow accelerator
  virtmark compare --interleave --a '--vcpus 1' --b '--vcpus 2' -- tti --iterations 50
  virtmark compare --interleave --b '--memory 1G' -- lifecycle --iterations 50
  virtmark compare --interleave --b '--vcpus 2' --metric restore_tti -- restore --working-set 0M

B is judged against A: worse (exit code 5), better, no difference (both 0), or cannot tell (0, with --strict 6). Runs of \
different platforms, images or sizes are refused (7) with all that differs, unless --allow names it. With --interleave \
two configurations of one command take turns in blocks, A B, B A, A B, …, so that what the host does meanwhile happens to \
both; each is a run of its own in the archive, to be compared again at any time. docs/compare.md has the method.")]
pub(crate) struct CompareArguments {
    /// Two runs, A and B: ids, starts of them, or latest
    #[arg(value_name = "RUN", num_args = 2, required_unless_present = "interleave")]
    pub(crate) runs: Vec<String>,

    /// Only this metric; NAME:higher or NAME:lower says which way is better; may be repeated
    #[arg(long = "metric", value_name = "NAME")]
    pub(crate) metrics: Vec<MetricChoice>,

    /// What the runs may differ in; may be repeated
    #[arg(long, value_name = "DIFFERENCE", value_parser = PossibleValuesParser::new(Difference::ALL.map(Difference::as_str)))]
    pub(crate) allow: Vec<String>,

    #[command(flatten)]
    pub(crate) certainty: CertaintyArguments,

    /// Blocks of each side, 2 to 50 [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=50))]
    pub(crate) blocks: Option<u32>,

    /// Make it a failure when a metric cannot be told
    #[arg(long)]
    pub(crate) strict: bool,

    /// Measure now: two configurations of the command after --, in turns
    #[arg(long, conflicts_with_all = ["runs", "allow"], requires_all = ["scenario", "b"])]
    pub(crate) interleave: bool,

    /// Options that side A has besides those of the command
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true, requires = "interleave")]
    pub(crate) a: Option<String>,

    /// Options that side B has besides those of the command
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true, requires = "interleave")]
    pub(crate) b: Option<String>,

    /// What standard output gets
    #[arg(long, value_enum, default_value_t = CompareFormat::Json)]
    pub(crate) format: CompareFormat,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,

    /// The command that both sides have in common: tti, lifecycle or restore with its options
    #[arg(last = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) scenario: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark aa -- tti --hypervisor native --iterations 200
  virtmark aa --comparisons 20 -- tti --iterations 200
  virtmark aa -- lifecycle --iterations 50

One configuration takes turns with itself, and every ten blocks are a comparison in which there is nothing to find: how \
many find something is this installation's rate of false alarms, with its interval. The runs stay in the archive, \
all that fit are counted together, and `virtmark compare` shows the rate with its verdicts.")]
pub(crate) struct AaArguments {
    /// Comparisons to make, of ten blocks each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) comparisons: u32,

    #[command(flatten)]
    pub(crate) certainty: CertaintyArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,

    /// The command: tti, lifecycle or restore with its options; its iterations are those of each side, at least ten for each comparison
    #[arg(last = true, required = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) scenario: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark tune -- tti --iterations 50
  virtmark tune --try pin --metric tti -- tti --vcpus 2 --iterations 50
  virtmark tune --try cache-none,iothread,queue-size -- tti --image bench --iterations 50 \
    --cmd 'dd if=/dev/vda of=/dev/null bs=1M count=64'

Each remedy takes turns with machines as they are: A without it, B with it. What this host or these machines cannot have, or \
have already, is skipped, with the reason, before anything is measured for it. Each remedy is a question of its own: \
--confidence holds for one of them. docs/compare.md says what each of them is.")]
pub(crate) struct TuneArguments {
    /// The remedies, separated by commas: cache-none, cpu-max, hugepages, iothread, kvm-clock, multiqueue, pin, queue-size,
    /// topology, vhost [default: all of them]
    #[arg(long = "try", value_name = "REMEDY,…", value_delimiter = ',', default_values_t = Remedy::ALL, hide_default_value = true)]
    pub(crate) remedies: Vec<Remedy>,

    /// Only this metric; NAME:higher or NAME:lower says which way is better; may be repeated
    #[arg(long = "metric", value_name = "NAME")]
    pub(crate) metrics: Vec<MetricChoice>,

    #[command(flatten)]
    pub(crate) certainty: CertaintyArguments,

    /// Blocks of each side, 2 to 50 [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=50))]
    pub(crate) blocks: Option<u32>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,

    /// The command whose times are to be improved: tti, lifecycle or restore with its options
    #[arg(last = true, required = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) scenario: Vec<String>,
}

/// How sure verdicts have to be, and of what.
#[derive(Debug, Args)]
pub(crate) struct CertaintyArguments {
    /// The smallest difference that matters
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = min_effect)]
    pub(crate) min_effect: f64,

    /// How sure a verdict has to be: 99% puts up with one false alarm in a hundred
    #[arg(long, value_name = "PERCENT", default_value = "99%", value_parser = confidence)]
    pub(crate) confidence: f64,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// One object; the table goes to standard error
    Json,
    /// A table to paste into a pull request
    Markdown,
    /// The table
    Table,
}

fn min_effect(text: &str) -> Result<f64, String> {
    match percent(text) {
        Some(share) if share > 0.0 && share <= 10.0 => Ok(share),
        _ => Err(format!("{text:?} is no smallest difference: expected one above 0%, such as 5%")),
    }
}

fn confidence(text: &str) -> Result<f64, String> {
    match percent(text) {
        Some(share) if (0.5..=0.999).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is no confidence: expected one from 50% to 99.9%, such as 99%")),
    }
}

fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    Some(number / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_in_percent() {
        assert_eq!(min_effect("5%"), Ok(0.05));
        assert_eq!(min_effect("2.5 %"), Ok(0.025));
        assert_eq!(confidence("99%"), Ok(0.99));
        for text in ["5", "0%", "-1%", "x%", "NaN%"] {
            assert!(min_effect(text).is_err(), "{text}");
        }
        for text in ["0.99", "100%", "20%", "%"] {
            assert!(confidence(text).is_err(), "{text}");
        }
    }
}
