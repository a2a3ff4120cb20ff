//! A program that is told to stop, by the tests: runs a child and says on standard output what it is told.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

use virtmark_host::process::Spawn;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_host::signals;

fn main() {
    let [control, bulk] = std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap_or_else(|_| exit(2));
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let interrupt = signals::install()?;
        let run_dir = RunDir::create_in(Roots::new(control, [PathBuf::from(bulk)]))?;
        let mut spawn = Spawn::new("sleep", "sleep");
        spawn.arg("60");
        let child = spawn.start(&run_dir)?;
        writeln!(io::stdout(), "{}", child.pid())?;
        while !interrupt.wait_timeout(Duration::from_secs(60)) {}
        writeln!(io::stdout(), "{}", interrupt.signal_name().unwrap_or("unknown"))?;
        // A run that takes its time to stop.
        child.wait();
        Ok(())
    };
    if let Err(error) = run() {
        let _ = writeln!(io::stderr(), "{error}");
        exit(1);
    }
}
