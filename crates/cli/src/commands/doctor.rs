//! `virtmark doctor`

use std::path::Path;
use std::sync::Arc;

use virtmark_driver_qemu::doctor::checks as qemu_checks;
use virtmark_host::doctor::{Check, Status, host_checks};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::BootImage;
use virtmark_image::{Image, Store, Verify};
use virtmark_report::terminal::{self, CheckStatus};

use crate::args::DoctorArguments;
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(options: &DoctorArguments) -> anyhow::Result<Exit> {
    let mut checks = host_checks(Path::new("/"));
    let cache = Store::default_dir()?;
    let image = image(&cache);
    checks.push(image_check(&image));
    let boot = image.as_ref().ok().map(BootImage::of);
    let run_dir = Arc::new(RunDir::create()?);
    let notice = &mut |line: &str| output::people(&format!("virtmark: {line}\n"));
    checks.extend(qemu_checks(options.qemu.as_deref(), boot.as_ref(), &run_dir, &cache, notice));
    if options.json {
        output::json(&checks)?;
    } else {
        let rows: Vec<_> = checks.iter().map(row).collect();
        let text = terminal::checks(&rows, output::stdout_style());
        output::stdout(|output| output.write_all(text.as_bytes()))?;
    }
    let is_bad = |id: Option<&str>| {
        checks.iter().any(|check| check.status == Status::Bad && id.is_none_or(|id| check.id == id))
    };
    Ok(match () {
        () if is_bad(Some("qemu")) => Exit::HypervisorMissing,
        () if is_bad(None) => Exit::Unexpected,
        () => Exit::Ok,
    })
}

fn row(check: &Check) -> terminal::Check<'_> {
    terminal::Check {
        status: match check.status {
            Status::Bad => CheckStatus::Bad,
            Status::Good | Status::Info => CheckStatus::Good,
            Status::Warning => CheckStatus::Warning,
        },
        title: &check.title,
        finding: &check.finding,
        remedy: check.remedy.as_deref(),
    }
}

/// The image, if it is there; doctor builds nothing.
fn image(cache: &Path) -> anyhow::Result<Image> {
    Ok(Store::open(cache)?.lookup("tiny", Verify::Full)?)
}

fn image_check(image: &anyhow::Result<Image>) -> Check {
    let check = |status, finding: String| Check::new("image", "Image tiny", status, finding);
    match image {
        Ok(image) => {
            let id = image.id.get(..12).unwrap_or(&image.id);
            check(Status::Good, format!("{id}, kernel {}", image.kernel_release))
        }
        Err(error) => check(Status::Info, format!("{error:#}"))
            .with_remedy("`virtmark image build tiny`; the first run does so too"),
    }
}
