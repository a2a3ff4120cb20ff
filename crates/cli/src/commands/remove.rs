//! `virtmark remove`

use crate::args::RemoveArguments;
use crate::exit::Exit;
use crate::measure::open;
use crate::output;

pub(crate) fn run(options: &RemoveArguments) -> anyhow::Result<Exit> {
    let archive = open(&options.archive)?;
    // All names are looked up first: a mistyped one removes nothing, and `latest` means one run.
    let runs = options.runs.iter().map(|run| archive.run(run)).collect::<Result<Vec<_>, _>>()?;
    for stored in runs {
        archive.remove(&stored.run.id)?;
        output::people(&format!("virtmark: removed {}\n", stored.run.id));
    }
    Ok(Exit::Ok)
}
