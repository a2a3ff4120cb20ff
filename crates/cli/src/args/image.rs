//! Options of guest images.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark image build tiny
  virtmark image build bench
  virtmark image build tiny --kernel host
  virtmark image build tiny --kernel bzImage --modules lib/modules/6.1.0
  virtmark image list")]
pub(crate) struct ImageArguments {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image, unless the very same one is there
    Build {
        /// tiny: a kernel and an initramfs; bench: the same with a Debian that has measuring tools and an SSH server
        #[arg(value_name = "RECIPE", value_enum)]
        recipe: RecipeName,

        #[command(flatten)]
        kernel: KernelArguments,

        /// A static busybox [default: the one of this host]
        #[arg(long, value_name = "FILE")]
        busybox: Option<PathBuf>,

        /// Print the image's record as JSON
        #[arg(long)]
        json: bool,
    },
    /// List all images
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show everything on record about an image, and hash its files
    Inspect {
        /// Its name, or the start of its id
        image: String,

        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove images
    Rm {
        /// Their names, or the starts of their ids
        #[arg(required = true)]
        images: Vec<String>,
    },
}

/// What images are built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecipeName {
    Bench,
    Tiny,
}

/// The guest's kernel.
#[derive(Clone, Debug, Args)]
pub(crate) struct KernelArguments {
    /// The guest's kernel: debian (as `make setup` unpacks it), host, or a bzImage or vmlinux file
    #[arg(long, value_name = "debian|host|FILE", default_value = "debian", value_parser = parse_kernel)]
    pub(crate) kernel: KernelChoice,

    /// The modules of that kernel file: its lib/modules/RELEASE
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
}

/// The guest's kernel, as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KernelChoice {
    Debian,
    File(PathBuf),
    Host,
}

fn parse_kernel(text: &str) -> Result<KernelChoice, String> {
    match text {
        "" => Err("expected debian, host or a file; a file named so is ./debian or ./host".into()),
        "debian" => Ok(KernelChoice::Debian),
        "host" => Ok(KernelChoice::Host),
        file => Ok(KernelChoice::File(file.into())),
    }
}
