//! `virtmark image`

use serde_json::{Value, json};
use virtmark_image::{BenchRecipe, Listing, Manifest, Store};
use virtmark_report::Tone;
use virtmark_report::format;
use virtmark_report::table::{Cell, Column, Table};

use crate::args::{ImageArguments, ImageCommand, RecipeName};
use crate::exit::Exit;
use crate::output;
use crate::platform::tiny_recipe;

pub(crate) fn run(options: &ImageArguments) -> anyhow::Result<Exit> {
    let store = Store::open(Store::default_dir()?)?;
    match &options.command {
        ImageCommand::Build { recipe, kernel, busybox, json } => {
            let tiny = tiny_recipe(kernel, busybox.clone())?;
            let tell = &mut |line: &str| output::people(&format!("virtmark: {line}\n"));
            let image = match recipe {
                RecipeName::Bench => store.ensure_bench(&BenchRecipe::new(tiny), tell)?,
                RecipeName::Tiny => store.ensure_tiny(&tiny, tell)?,
            };
            if *json {
                output::json(&record(&image.id, std::slice::from_ref(&image.name), &image.manifest))?;
            } else {
                output::stdout(|output| writeln!(output, "{} {}", image.id, image.name))?;
            }
        }
        ImageCommand::List { json } => {
            let listings = store.list()?;
            if *json {
                let objects: Vec<Value> = listings.iter().map(object).collect();
                output::json(&objects)?;
            } else {
                let text = table(&listings).render(output::stdout_style());
                output::stdout(|output| output.write_all(text.as_bytes()))?;
            }
        }
        ImageCommand::Inspect { image, json } => {
            let listing = store.inspect(image)?;
            if *json {
                output::json(&object(&listing))?;
            } else if let Ok(manifest) = &listing.state {
                let text = details(&listing, manifest).render(output::stdout_style());
                output::stdout(|output| output.write_all(text.as_bytes()))?;
            }
            // Damage is an error, whatever was printed.
            listing.state?;
        }
        ImageCommand::Rm { images } => {
            for image in images {
                let id = store.remove(image)?;
                output::people(&format!("virtmark: removed image {id}\n"));
            }
        }
    }
    Ok(Exit::Ok)
}

fn table(listings: &[Listing]) -> Table {
    let mut table = Table::new("");
    for heading in ["id", "name", "kernel"] {
        table.column(heading, Column::Name);
    }
    table.column("size", Column::Figure).column("state", Column::Text);
    for Listing { id, names, state } in listings {
        let short = Cell::from(id.get(..12).unwrap_or(id)).tone(Tone::Strong);
        let names = names.join(", ").into();
        table.row(match state {
            Ok(manifest) => vec![
                short,
                names,
                manifest.kernel_release.as_str().into(),
                format::bytes(manifest.size_bytes() as f64).into(),
                Cell::from("good").tone(Tone::Good),
            ],
            Err(error) => {
                let nothing = || Cell::from("-");
                vec![short, names, nothing(), nothing(), Cell::from(error.to_string()).tone(Tone::Bad)]
            }
        });
    }
    if listings.is_empty() {
        table.note("There are no images; `virtmark image build tiny` makes one.", Tone::Plain);
    }
    table
}

fn details(listing: &Listing, manifest: &Manifest) -> Table {
    let mut table = Table::new("");
    table.column("", Column::Name).column("", Column::Text);
    let mut row = |name: String, value: String| {
        table.row(vec![name.into(), value.into()]);
    };
    row("id".into(), listing.id.clone());
    row("names".into(), listing.names.join(", "));
    row("architecture".into(), manifest.arch.to_string());
    row("kernel release".into(), manifest.kernel_release.clone());
    row("starts through PVH".into(), if manifest.pvh { "yes" } else { "no" }.into());
    for file in &manifest.files {
        let size = format::bytes(file.size_bytes as f64);
        row(format!("file {}", file.name), format!("{size}, SHA-256 {}", file.sha256));
    }
    for module in &manifest.modules {
        let when = if module.early { "before the agent speaks" } else { "on demand" };
        row(
            format!("module {}", module.name),
            format!("{}, {when}", format::bytes(module.size_bytes as f64)),
        );
    }
    if let Some(bytes) = manifest.root_size_bytes {
        row("root file system".into(), format!("on a disk of {}", format::bytes(bytes as f64)));
    }
    for package in &manifest.packages {
        row(format!("package {}", package.name), package.version.clone());
    }
    for input in &manifest.inputs {
        let from = input.path.as_ref().map_or_else(String::new, |path| format!(" from {}", path.display()));
        row(format!("made of {}", input.role), format!("SHA-256 {}{from}", input.sha256));
    }
    table.note("All files are whole: their contents were hashed.", Tone::Plain);
    table
}

fn object(listing: &Listing) -> Value {
    match &listing.state {
        Ok(manifest) => record(&listing.id, &listing.names, manifest),
        Err(error) => {
            json!({ "id": listing.id, "names": listing.names, "state": "damaged", "problem": error.to_string() })
        }
    }
}

fn record(id: &str, names: &[String], manifest: &Manifest) -> Value {
    json!({
        "id": id,
        "names": names,
        "state": "good",
        "size_bytes": manifest.size_bytes(),
        "manifest": manifest,
    })
}
