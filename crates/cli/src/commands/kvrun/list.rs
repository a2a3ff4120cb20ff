//! `virtmark kvrun list`

use virtmark_report::table::{Cell, Column, Table};

use super::place::{self, Shown};
use crate::exit::Exit;
use crate::output;

pub(super) fn run(json: bool) -> anyhow::Result<Exit> {
    let alive = place::alive()?;
    match json {
        true => output::json(&alive)?,
        false if alive.is_empty() => output::people("virtmark: no machines are set up\n"),
        false => {
            let text = table(&alive).render(output::stdout_style());
            output::stdout(|output| output.write_all(text.as_bytes()))?;
        }
    }
    Ok(Exit::Ok)
}

fn table(alive: &[Shown]) -> Table {
    let title = match alive {
        [_] => "machines that are set up".to_owned(),
        several => format!("machines that are set up, {} times", several.len()),
    };
    let mut table = Table::new(title);
    for heading in ["id", "state"] {
        table.column(heading, Column::Name);
    }
    table.column("machines", Column::Figure);
    for heading in ["image", "since", "kept by", "ssh -F"] {
        table.column(heading, Column::Name);
    }
    for shown in alive {
        let kept_by = match shown.detached {
            true => format!("process {} in the background", shown.pid),
            false => format!("process {}", shown.pid),
        };
        table.row(vec![
            Cell::from(shown.id.as_str()),
            shown.state.as_str().into(),
            shown.replicas.to_string().into(),
            shown.image.as_str().into(),
            shown.started_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string().into(),
            kept_by.into(),
            shown.ssh_config.display().to_string().into(),
        ]);
    }
    table
}
