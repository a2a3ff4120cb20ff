//! A program with children, to be killed by the tests: starts a shell under the roots given and waits for ever.
//!
//! Arguments: control root, bulk root, script. Writes its run id to standard output when the shell is started.

use std::io::Write;
use std::path::PathBuf;
use std::process::exit;

use virtmark_host::process::Spawn;
use virtmark_host::rundir::{Roots, RunDir};

fn main() {
    let [control, bulk, script] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap_or_else(|_| exit(2));
    let start = || -> Result<_, Box<dyn std::error::Error>> {
        let run_dir = RunDir::create_in(Roots::new(control, [PathBuf::from(bulk)]))?;
        run_dir.bulk_dir("machine", 1)?;
        run_dir.machine_dir("machine")?;
        let mut spawn = Spawn::new("shell", "/bin/sh");
        spawn.args(["-c", &script]);
        let child = spawn.start(&run_dir)?;
        writeln!(std::io::stdout(), "{}", run_dir.id())?;
        Ok((run_dir, child))
    };
    match start() {
        Ok((_run_dir, child)) => exit(child.wait().code().unwrap_or(1)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            exit(1)
        }
    }
}
