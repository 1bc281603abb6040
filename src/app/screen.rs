//! The terminal that standard output goes to: how wide it is, whether it takes colours, and which characters it shows.
//!
//! Reads: the terminal's size, and `COLUMNS`, `TERM`, `LC_ALL`, `LC_CTYPE`, `LANG`. Emits: a [`Screen`].

use std::env;
use std::io;

/// What can be drawn on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// Columns.
    pub(super) width: usize,
    /// Whether to use colours.
    pub(super) colour: bool,
    /// Whether block and line characters show.
    pub(super) unicode: bool,
}

impl Screen {
    /// Narrower pages can't hold a ladder; wider lines are hard to read.
    const WIDTHS: std::ops::RangeInclusive<usize> = 48..=120;
    /// Where nobody says how wide: a pipe, a file.
    const USUAL: usize = 80;

    /// Standard output's.
    pub(super) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let columns = said("COLUMNS").and_then(|columns| columns.parse().ok());
        let columns = columns.or_else(|| rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col.into()));
        Self {
            width: Self::width(columns),
            colour,
            unicode: shows_unicode(
                said("TERM").as_deref(),
                said("LC_ALL").or_else(|| said("LC_CTYPE")).or_else(|| said("LANG")).as_deref(),
            ),
        }
    }

    /// A terminal that doesn't know its size says 0.
    fn width(columns: Option<usize>) -> usize {
        columns.filter(|columns| *columns > 0).unwrap_or(Self::USUAL).clamp(*Self::WIDTHS.start(), *Self::WIDTHS.end())
    }
}

/// The locale names its character set behind a dot: `en_GB.UTF-8` (POSIX, 8.2).
fn shows_unicode(term: Option<&str>, locale: Option<&str>) -> bool {
    let set = locale.unwrap_or_default().to_ascii_lowercase();
    term != Some("dumb") && (set.contains("utf-8") || set.contains("utf8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_characters_where_the_locale_or_the_terminal_has_no_others() {
        assert!(shows_unicode(Some("xterm"), Some("en_GB.UTF-8")) && shows_unicode(None, Some("C.utf8")));
        assert!(!shows_unicode(Some("dumb"), Some("en_GB.UTF-8")));
        assert!(!shows_unicode(Some("xterm"), Some("C")) && !shows_unicode(Some("xterm"), None));
    }

    #[test]
    fn a_page_is_neither_a_ribbon_nor_a_banner() {
        let widths = [None, Some(0), Some(7), Some(100), Some(9_999)].map(Screen::width);
        assert_eq!(widths, [80, 80, 48, 100, 120]);
    }
}
