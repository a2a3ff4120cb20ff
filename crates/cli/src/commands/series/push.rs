//! `virtmark series push`

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use virtmark_host::signals;
use virtmark_recorder::export::remote_write::{PushError, PushOptions, Pusher};
use virtmark_timeseries::Reader;

use crate::args::PushArguments;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(options: &PushArguments, quiet: bool) -> anyhow::Result<Exit> {
    let interrupt = signals::install()?;
    let mut reader = Reader::open(&options.store)?;
    let cursor = options.cursor.clone().unwrap_or_else(|| beside(&options.store));
    let push_options =
        PushOptions { give_up_after: options.give_up_after, ..PushOptions::new(options.url.as_str()) };
    let mut pusher = Pusher::open(push_options, &cursor, &interrupt)?;
    let pushed = match options.follow {
        None => pusher.finish(&reader),
        Some(pause) => loop {
            if let Err(error) = reader.refresh().map_err(PushError::from).and_then(|()| pusher.push(&reader))
            {
                break Err(error);
            }
            if interrupt.wait_timeout(pause) {
                break Ok(());
            }
        },
    };
    if !quiet {
        let totals = pusher.totals();
        output::people(&format!(
            "virtmark: pushed {} in {} to {} ({} there already, {} repeated)\n",
            counted(totals.samples, "sample"),
            counted(totals.requests, "request"),
            options.url,
            counted(totals.already_held, "sample"),
            counted(totals.retries, "try"),
        ));
    }
    match pushed {
        Err(PushError::Interrupted { .. }) => Ok(Exit::Signaled(interrupt.signal().unwrap_or(2))),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(interrupt.signal().map_or(Exit::Ok, Exit::Signaled)),
    }
}

fn counted(count: u64, what: &str) -> String {
    match (count, what) {
        (1, what) => format!("1 {what}"),
        (count, "try") => format!("{count} tries"),
        (count, what) => format!("{count} {what}s"),
    }
}

/// The cursor's file: the store's name with an ending.
fn beside(store: &Path) -> PathBuf {
    let mut name = OsString::from(store.components().as_path());
    name.push(".cursor");
    name.into()
}
