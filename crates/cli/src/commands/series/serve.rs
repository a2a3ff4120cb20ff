//! `virtmark series serve`

use std::net::TcpListener;

use anyhow::Context;
use virtmark_host::signals;
use virtmark_recorder::export::openmetrics;
use virtmark_timeseries::Reader;

use crate::args::ServeArguments;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(options: &ServeArguments, quiet: bool) -> anyhow::Result<Exit> {
    // A store that cannot be read is told here, and not only to who scrapes.
    Reader::open(&options.store)?;
    let interrupt = signals::install()?;
    let listener = TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", options.listen)
    })?;
    if !quiet {
        output::people(&format!("virtmark: serving http://{}/metrics\n", listener.local_addr()?));
    }
    openmetrics::serve(&listener, &options.store, &interrupt)?;
    Ok(interrupt.signal().map_or(Exit::Ok, Exit::Signaled))
}
