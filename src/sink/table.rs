//! Findings for people: a block each, at most 80 columns, the ladder first.

use crate::evidence::{Account, Evidence, Finding, Inner, Question, Verdict, signed};
use crate::intel::{Kind, Origin, Place};
use crate::session::{Roster, SessionKind, Tally};
use anstyle::{AnsiColor, Style};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 80, colour: false }
    }
}

/// Writes blocks.
#[derive(Debug)]
pub struct Table<W> {
    out: W,
    look: Look,
}

/// Where the text of a labelled line begins.
const INDENT: usize = 11;
/// Where the bar of a rung begins.
const BAR_FROM: usize = 41;
/// The longest bar.
const BAR: usize = 22;
/// Kinds of sessions that the table tells; two screens full.
const KINDS_SHOWN: usize = 80;
/// Addresses inside a tunnel that a finding shows.
const INNER_SHOWN: usize = 4;
/// Where the examples of a kind begin.
const EXAMPLE_INDENT: usize = 6;

impl<W: Write> Table<W> {
    /// Writes to `out`.
    pub const fn new(out: W, look: Look) -> Self {
        Self { out, look }
    }

    /// One endpoint.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn finding(
        &mut self,
        finding: &Finding,
        account: &Account,
        inner: &[Inner],
        place: Option<&Place>,
        expected_ms: Option<f64>,
    ) -> io::Result<()> {
        self.headline(finding, place)?;
        if !finding.identities.is_empty() {
            let names: Vec<&str> = finding.identities.iter().take(8).map(|one| one.name.as_str()).collect();
            let more = if finding.identities.len() > names.len() { ", …" } else { "" };
            self.labelled("who", &format!("{}{more} (as claimed: identities.jsonl)", names.join(", ")))?;
        }
        if let Some(place) = place.filter(|place| place.located_by == Some(Origin::Home)) {
            self.labelled("home", &home_words(place))?;
        }
        if let Some(by) = &finding.suppressed {
            let text = format!("suppressed by the allow-list until {}: {} ({})", by.expires, by.reason, by.owner);
            self.labelled("allowed", &text)?;
        }
        self.ladder(account, inner, expected_ms)?;
        for (i, evidence) in finding.evidence.iter().enumerate() {
            self.labelled(if i == 0 { "why" } else { "" }, &why(evidence))?;
        }
        if let Some(told) = finding.over_days.and_then(|over| over.told()) {
            self.labelled("days", &told)?;
        }
        self.labelled("innocent", &finding.innocent.text)?;
        for (i, missing) in finding.missing.iter().enumerate() {
            self.labelled(if i == 0 { "missing" } else { "" }, missing)?;
        }
        self.labelled("finding", &finding.id)?;
        writeln!(self.out)
    }

    /// Which kinds of remote-control, tunnel and proxy sessions there were; nothing if there was none.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn roster(&mut self, roster: &Roster) -> io::Result<()> {
        if roster.is_empty() {
            return Ok(());
        }
        let title = self.paint(Style::new().bold(), "Remote control, tunnels, proxies and calls");
        writeln!(self.out, "{title}")?;
        let kinds: Vec<_> = roster.iter().collect();
        let mut category = None;
        for (kind, tally) in kinds.iter().take(KINDS_SHOWN) {
            if category.replace(kind.category) != Some(kind.category) {
                let heading = self.paint(Style::new().dimmed(), kind.category.name());
                writeln!(self.out, "  {heading}")?;
            }
            self.kind(kind, tally)?;
        }
        if kinds.len() > KINDS_SHOWN {
            let more = format!("  and {} kinds more: --out DIR writes them all", kinds.len() - KINDS_SHOWN);
            writeln!(self.out, "{more}")?;
        }
        writeln!(self.out)
    }

    /// A line of plain text, wrapped.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        for line in textwrap::wrap(text, self.look.width) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A kind of session with an example, on one line if it fits.
    fn kind(&mut self, kind: &SessionKind, tally: &Tally) -> io::Result<()> {
        let line = format!("    {:<30}{:>5} {:<9}", kind_words(kind), tally.sessions, kind.confidence.name());
        let example = example_words(tally);
        let dimmed = Style::new().dimmed();
        if line.chars().count() + 2 + example.chars().count() <= self.look.width {
            let example = self.paint(dimmed, &example);
            writeln!(self.out, "{line}  {example}")
        } else {
            writeln!(self.out, "{}", line.trim_end())?;
            let width = self.look.width.saturating_sub(EXAMPLE_INDENT).max(20);
            for part in textwrap::wrap(&example, width) {
                let part = self.paint(dimmed, &part);
                writeln!(self.out, "{:EXAMPLE_INDENT$}{part}", "")?;
            }
            Ok(())
        }
    }

    fn headline(&mut self, finding: &Finding, place: Option<&Place>) -> io::Result<()> {
        let style = match finding.verdict {
            Verdict::Relayed | Verdict::RemoteControlled | Verdict::Farm | Verdict::Exit => {
                Style::new().bold().fg_color(Some(AnsiColor::Red.into()))
            }
            Verdict::Clear => Style::new().bold().fg_color(Some(AnsiColor::Green.into())),
            Verdict::Insufficient => Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())),
        };
        let verdict = finding.verdict.name().to_uppercase();
        let address = finding.endpoint.to_string();
        let place = place.map(place_words).filter(|p| !p.is_empty()).unwrap_or_else(|| "place unknown".into());
        let room = self.look.width.saturating_sub(verdict.len() + address.len() + 4);
        let (verdict, address) = (self.paint(style, &verdict), self.paint(Style::new().bold(), &address));
        if textwrap::core::display_width(&place) <= room {
            writeln!(self.out, "{verdict}  {address}  {place}")?;
        } else {
            writeln!(self.out, "{verdict}  {address}")?;
            self.labelled("", &place)?;
        }
        self.labelled("", &belief(finding))?;
        if let (Some(ms), Some(km)) = (finding.hidden_leg_ms, finding.operator) {
            let (part, from) = match finding.question {
                Question::Connection => ("hidden part of the way", "home"),
                Question::Control | Question::Sharing => ("way from the session's far end to who works it", "far end"),
            };
            let text = format!(
                "The {part} takes about {ms:.0} ms, less if it is passed more than once. That puts the operator {} to \
                 {} km from the {from} by experience, {} km at most (light in fibre).",
                thousands(km.soft_min),
                thousands(km.best),
                thousands(km.max),
            );
            self.labelled("", &text)?;
        }
        Ok(())
    }

    fn ladder(&mut self, account: &Account, inner: &[Inner], expected_ms: Option<f64>) -> io::Result<()> {
        let rungs = self::rungs(account);
        let inside: Vec<_> = inner.iter().take(INNER_SHOWN).map(|one| (one, self::rungs(&one.account))).collect();
        let every = rungs.iter().chain(inside.iter().flat_map(|(_, rungs)| rungs)).map(|(_, ms, _)| *ms);
        let longest = every.chain(expected_ms).fold(1.0, f64::max);
        let mut label = "ladder";
        if let Some(expected) = expected_ms {
            self.rung(label, "its place allows", expected, longest, "")?;
            label = "";
        }
        for (layer, ms, n) in rungs {
            self.rung(label, layer, ms, longest, &format!("least of {n}"))?;
            label = "";
        }
        for (one, rungs) in inside {
            self.labelled("inside", &joined_words(one))?;
            for (layer, ms, n) in rungs {
                self.rung("", layer, ms, longest, &format!("least of {n}"))?;
            }
        }
        if inner.len() > INNER_SHOWN {
            self.labelled("", &format!("and {} addresses more: endpoints.jsonl", inner.len() - INNER_SHOWN))?;
        }
        Ok(())
    }

    fn rung(&mut self, label: &str, layer: &str, ms: f64, longest: f64, note: &str) -> io::Result<()> {
        // A count of millions takes its room from the bar.
        let bar = BAR.min(self.look.width.saturating_sub(BAR_FROM + 2 + note.len())).max(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "columns"
        )]
        let filled = ((ms / longest * bar as f64).round() as usize).clamp(1, bar);
        let drawn = if note.is_empty() { "┄" } else { "█" }.repeat(filled);
        let blank = " ".repeat(bar - filled);
        let label = self.paint(Style::new().dimmed(), &format!("  {label:<9}"));
        let line = format!("{layer:<17}{ms:>8.1} ms  {drawn}{blank}  {note}");
        writeln!(self.out, "{label}{}", line.trim_end())
    }

    fn labelled(&mut self, label: &str, text: &str) -> io::Result<()> {
        let width = self.look.width.saturating_sub(INDENT).max(20);
        for (i, line) in textwrap::wrap(text, width).iter().enumerate() {
            let label = format!("  {:<9}", if i == 0 { label } else { "" });
            let label = self.paint(Style::new().dimmed(), &label);
            writeln!(self.out, "{}", format!("{label}{line}").trim_end())?;
        }
        Ok(())
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.look.colour && !text.trim().is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// The protocol, what carries it, and the program behind it.
fn kind_words(kind: &SessionKind) -> String {
    let mut words = kind.protocol.to_owned();
    if let Some(carrier) = kind.carrier {
        let _ = write!(words, " in {carrier}");
    }
    if let Some(application) = kind.application {
        let _ = write!(words, " ({application})");
    }
    words
}

/// The first of a kind, and that there were others.
fn example_words(tally: &Tally) -> String {
    let pairs: BTreeSet<_> = tally.examples.iter().map(|(_, client, server)| (client, server)).collect();
    let first = tally.examples.first().map(|(_, client, server)| format!("{client} to {server}")).unwrap_or_default();
    let more = if pairs.len() > 1 || tally.sessions > tally.examples.len() as u64 { ", …" } else { "" };
    first + more
}

/// Layer, shortest round trip in ms, how many; lowest first.
fn rungs(account: &Account) -> Vec<(&'static str, f64, u64)> {
    let rung = |(layer, rung): (crate::base::Layer, &crate::fingerprint::Rung)| {
        Some((layer.name(), rung.samples.min()?.as_secs_f64() * 1e3, rung.samples.n()))
    };
    account.ladder.rungs().filter_map(rung).collect()
}

/// How an address inside a tunnel was found.
fn joined_words(inner: &Inner) -> String {
    let Inner { address, joined, .. } = inner;
    match (joined.correlation, joined.overlap_s) {
        (Some(correlation), Some(seconds)) => {
            format!("{address} in its tunnel (same traffic: correlation {correlation:.3} over {seconds} s)")
        }
        _ => format!("{address} in its tunnel (as {} says)", joined.by),
    }
}

fn why(evidence: &Evidence) -> String {
    format!("{} ({}): {}", evidence.rule, signed(evidence.llr), evidence.text)
}

/// How sure the judgement is, in odds.
fn belief(finding: &Finding) -> String {
    let odds = finding.score.abs().exp();
    let odds = if odds >= 1_000.0 {
        "more than 1,000".to_owned()
    } else if odds >= 10.0 {
        format!("{odds:.0}")
    } else {
        format!("{odds:.1}")
    };
    match finding.verdict {
        Verdict::Relayed | Verdict::RemoteControlled | Verdict::Farm | Verdict::Exit => format!(
            "{} ({}), severity {}, odds {odds} to 1.",
            finding.hypothesis.story(),
            finding.hypothesis.name(),
            finding.severity.name()
        ),
        Verdict::Clear => {
            format!(
                "Best explanation: {} (odds {odds} to 1 against {}).",
                finding.hypothesis.story(),
                finding.question.fear()
            )
        }
        Verdict::Insufficient => {
            let side = if finding.score >= 0.0 { "for" } else { "against" };
            let fear = finding.question.fear();
            format!("The data can't tell (odds {odds} to 1 {side} {fear}, mostly from what is usual).")
        }
    }
}

/// That the place is the declared one, and how far it is from where the address is seen.
fn home_words(place: &Place) -> String {
    match place.home_km {
        Some(km) => format!("declared; the address itself is placed {km:.0} km away from it"),
        None => "declared; no other source places the address".to_owned(),
    }
}

fn place_words(place: &Place) -> String {
    let mut words = String::new();
    let town = [&place.city, &place.region, &place.country];
    let town: Vec<&str> = town.into_iter().flatten().map(String::as_str).collect();
    let _ = write!(words, "{}", town.join(", "));
    let mut add = |text: String| {
        if !words.is_empty() {
            words.push_str(" · ");
        }
        words.push_str(&text);
    };
    match (place.asn, &place.org) {
        (Some(asn), Some(org)) => add(format!("AS{asn} {org}")),
        (Some(asn), None) => add(format!("AS{asn}")),
        (None, Some(org)) => add(org.clone()),
        (None, None) => {}
    }
    if place.kind != Kind::Unknown {
        add(place.kind.name().to_owned());
    }
    words
}

/// Kilometres, rounded to hundreds, with commas.
fn thousands(km: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 20,038")]
    let rounded = (km / 100.0).round().max(0.0) as u64 * 100;
    match (rounded / 1_000, rounded % 1_000) {
        (0, small) => small.to_string(),
        (large, small) => format!("{large},{small:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(draw: impl FnOnce(&mut Table<&mut Vec<u8>>)) -> Vec<String> {
        let mut out = Vec::new();
        draw(&mut Table::new(&mut out, Look::default()));
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_rung_keeps_to_its_columns_whatever_it_counts() {
        for (n, bar) in [(7_u64, 22), (1_234_567, 21), (u64::MAX, 8)] {
            let drawn =
                lines(|t| t.rung("ladder", "tcp-handshake", 12_345.6, 12_345.6, &format!("least of {n}")).unwrap());
            let width = drawn[0].chars().count();
            assert!(width <= 80, "{width}: {}", drawn[0]);
            assert_eq!(drawn[0].matches('█').count(), bar, "{}", drawn[0]);
        }
    }

    #[test]
    fn kilometres_are_rounded_to_hundreds() {
        for (km, said) in [(0.0, "0"), (949.0, "900"), (12_345.0, "12,300"), (20_038.0, "20,000"), (1_049.9, "1,000")] {
            assert_eq!(thousands(km), said);
        }
    }
}
