//! `virtmark export`

use std::io;

use virtmark_archive::Error;

use crate::args::ExportArguments;
use crate::exit::Exit;
use crate::measure::open_read_only;
use crate::output;

pub(crate) fn run(options: &ExportArguments) -> anyhow::Result<Exit> {
    let archive = open_read_only(&options.archive)?;
    let run = archive.run(&options.run)?.run;
    let format = options.format.into();
    let exported = match &options.output {
        Some(path) => {
            let mut file = output::create(path)?;
            archive.export(&run.id, format, &mut file).map_err(|error| output::on(error, path))
        }
        None => archive.export(&run.id, format, &mut io::stdout().lock()).map_err(Into::into),
    };
    match exported {
        // A reader that has seen enough (`| head`) is no error.
        Err(error) if is_closed_pipe(&error) => Ok(Exit::Ok),
        result => result.map(|()| Exit::Ok),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Output { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe)
}
