//! `virtmark show`

use super::present::{Form, present};
use super::suite;
use crate::args::ShowArguments;
use crate::exit::Exit;
use crate::measure::open_read_only;

pub(crate) fn run(options: &ShowArguments, quiet: bool) -> anyhow::Result<Exit> {
    let archive = open_read_only(&options.archive)?;
    let run = archive.run(&options.run)?.run;
    if run.scenario == virtmark_suite::SCENARIO {
        suite::show(&archive, &run, &options.archive, quiet)?;
        return Ok(Exit::Ok);
    }
    let samples = archive.samples(&run.id)?;
    present(&run, &samples, Form::Json, quiet)?;
    Ok(Exit::Ok)
}
