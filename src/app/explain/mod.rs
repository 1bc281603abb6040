//! `farmlight explain`: why an endpoint got its verdict, in the order in which a person would ask.
//!
//! Reads: the folder that `analyze --out` wrote. Emits: a page for the terminal, or the same as one JSON object.
//! Does not: judge: it tells what the records say.

mod case;
mod chart;
mod next;
mod page;
mod path;
mod words;

use super::Outcome;
use super::folder::{Folder, Wanted};
use super::screen::Screen;
use crate::cli::{Explain, PageFormat};
use case::Case;
use page::Page;
use std::io::{self, BufWriter, Write as _};

pub(super) fn run(args: &Explain) -> anyhow::Result<Outcome> {
    let folder = Folder::open(&args.from)?;
    let found = folder.find(&Wanted::parse(&args.what))?;
    let case = Case::gather(&folder, found)?;
    let steps = next::steps(&case, &args.from);
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        PageFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &case.to_json(&steps)).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        PageFormat::Table => Page::new(&mut out, Screen::of_stdout()).draw(&case, &steps)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}
