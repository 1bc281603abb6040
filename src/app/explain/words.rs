//! Numbers and names as a person says them.
//!
//! References: the words for a likelihood ratio are those of the ENFSI guideline for evaluative reporting in forensic
//! science (2015), table of verbal equivalents.

use crate::base::{Layer, commas};
use crate::evidence::{Hypothesis, Question};

/// Who closes the loop of a layer.
pub(super) fn closed_by(layer: &str) -> &'static str {
    let known = Layer::ALL.iter().find(|known| known.name() == layer);
    known.map_or("whoever speaks it", |known| known.closed_by())
}

/// What a hypothesis would mean; its name where this version doesn't know it.
pub(super) fn story(hypothesis: &str) -> &str {
    Hypothesis::ALL.iter().find(|known| known.name() == hypothesis).map_or(hypothesis, |known| known.story())
}

/// What is feared where that question is asked; records of old ask none.
pub(super) fn feared(question: &str) -> &'static str {
    Question::ALL.iter().find(|known| known.name() == question).map_or("a relay", |known| known.fear())
}

/// How strongly an observation speaks for what is feared, by the natural logarithm of its likelihood ratio.
pub(super) fn strength(llr: f64, feared: &str) -> String {
    let size = match llr.abs() {
        x if x < 0.05 => return "says nothing either way".to_owned(),
        x if x < 2f64.ln() => "hardly any",
        x if x < 10f64.ln() => "weak",
        x if x < 100f64.ln() => "moderate",
        x if x < 1e3f64.ln() => "moderately strong",
        x if x < 1e4f64.ln() => "strong",
        x if x < 1e6f64.ln() => "very strong",
        _ => "extremely strong",
    };
    format!("{size} support {} {feared}", if llr > 0.0 { "for" } else { "against" })
}

/// Odds, rounded. Beyond 1,000 to 1 no model of a network is good for a number.
pub(super) fn ratio(llr: f64) -> String {
    match llr.abs().exp() {
        x if x > 1e3 => "more than 1,000 to 1".to_owned(),
        x if x >= 10.0 => format!("{x:.0} to 1"),
        x => format!("{x:.1} to 1"),
    }
}

/// Kilometres, rounded to hundreds, with commas.
pub(super) fn km(km: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a record's figure, cut to what the Earth has"
    )]
    let rounded = (km.clamp(0.0, 20_038.0) / 100.0).round() as u64 * 100;
    commas(rounded)
}

/// A size in the unit that fits.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let bytes_f = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes_f / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes_f / 1e6),
        _ => format!("{:.1} GB", bytes_f / 1e9),
    }
}

/// A count and what is counted.
pub(super) fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Text that came off the wire, harmless to a terminal: no control characters, none that turn the direction of writing.
pub(super) fn harmless(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// The first letter capital.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_go_by_their_words() {
        for (llr, said) in [
            (0.0, "says nothing either way"),
            (0.3, "hardly any support for a relay"),
            (-0.7, "weak support against a relay"),
            (2.4, "moderate support for a relay"),
            (6.0, "moderately strong support for a relay"),
            (11.9, "very strong support for a relay"),
            (-14.0, "extremely strong support against a relay"),
        ] {
            assert_eq!(strength(llr, feared("connection")), said, "{llr}");
        }
        let said = [0.0, 0.7, -6.0, 11.9].map(ratio);
        assert_eq!(said, ["1.0 to 1", "2.0 to 1", "403 to 1", "more than 1,000 to 1"]);
        assert_eq!([0.0, 949.0, 12_345.0, f64::NAN].map(km), ["0", "900", "12,300", "0"]);
    }

    #[test]
    fn what_came_off_the_wire_moves_no_cursor() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc\u{202e}d é"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d é");
    }

    #[test]
    fn every_layer_says_who_answers() {
        for layer in Layer::ALL {
            assert_eq!(closed_by(layer.name()), layer.closed_by());
        }
        assert_eq!(closed_by("carrier-pigeon"), "whoever speaks it");
    }
}
