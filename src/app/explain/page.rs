//! The page for the terminal: the ladder first, then path, sessions and names, then the verdict and what to do.
//!
//! Reads: a [`Case`]. Emits: lines no wider than the screen. Does not: weigh; every word on strength comes from the
//! records' own numbers.

use super::case::{Case, JoinView, Kind, PlaceView, RungView, Tally, span};
use super::chart::{Chart, Glyphs};
use super::path::path_words;
use super::words::{closed_by, feared, harmless, km, plural, ratio, sentence, size, story, strength};
use crate::app::folder::{EvidenceView, FindingView};
use crate::app::screen::Screen;
use crate::evidence::{OverDays, Question};
use anstyle::{AnsiColor, Style};
use serde_json::Value;
use std::io::{self, Write};

/// Where the text of a labelled line begins.
const INDENT: usize = 11;
/// Where the bars begin.
const BAR_FROM: usize = 31;
/// A step between rungs that gets a line of its own, ms: the shortest way that is worth a look (science note S03's
/// floor of computation is 20).
const STEP_MS: f64 = 20.0;
/// Kinds of sessions, names and cited flows that are printed; the JSON has all.
const KINDS_SHOWN: usize = 12;
const NAMES_SHOWN: usize = 6;
const CITES_SHOWN: usize = 3;
/// Log ratios that differ by so much say different things.
const TOLD_APART: f64 = 1.0;
/// Items of a list in a record that are printed.
const ITEMS_SHOWN: usize = 6;

/// Draws pages.
pub(super) struct Page<W> {
    out: W,
    screen: Screen,
}

impl<W: Write> Page<W> {
    pub(super) const fn new(out: W, screen: Screen) -> Self {
        Self { out, screen }
    }

    pub(super) fn draw(&mut self, case: &Case, steps: &[String]) -> io::Result<()> {
        self.headline(case)?;
        self.ladder(case)?;
        self.path(case)?;
        self.sessions(case)?;
        self.names(case)?;
        if case.found.findings.is_empty() {
            self.bare_verdict(case)?;
        }
        for finding in case.findings() {
            self.finding(case, finding)?;
        }
        self.title("What to do next")?;
        for (i, step) in steps.iter().enumerate() {
            self.item(&format!("{:>2}. ", i + 1), step)?;
        }
        Ok(())
    }

    fn headline(&mut self, case: &Case) -> io::Result<()> {
        let endpoint = &case.endpoint.view;
        let verdict = self.paint(verdict_style(&endpoint.verdict), &endpoint.verdict.to_uppercase());
        let address = self.paint(Style::new().bold(), &case.found.address);
        let name = endpoint.name.as_deref().map(|name| format!("  {}", harmless(name))).unwrap_or_default();
        writeln!(self.out, "{verdict}  {address}{name}")?;
        self.labelled("place", &self.place(&endpoint.place))?;
        if let (Some(first), Some(last)) = (&endpoint.first_seen, &endpoint.last_seen) {
            let text = format!(
                "{} UTC, {}, {}",
                span(first, last),
                plural(endpoint.sessions, "session"),
                size(endpoint.bytes)
            );
            self.labelled("seen", &text)?;
        }
        for joined in &endpoint.tunnel.outer {
            let text = format!("inside that of {}: what it does counts there", joined_words(joined));
            self.labelled("tunnel", &harmless(&text))?;
        }
        for finding in case.findings() {
            let odds = ratio(finding.score);
            let text = if matches!(finding.verdict.as_str(), "clear" | "insufficient") {
                let side = if finding.score >= 0.0 { "for" } else { "against" };
                format!("likeliest {}, odds {odds} {side} {}", finding.hypothesis, feared(&finding.question))
            } else {
                format!("{}, severity {}, odds {odds}", finding.hypothesis, finding.severity)
            };
            self.labelled("finding", &format!("{} {text}", finding.id))?;
        }
        Ok(())
    }

    fn place(&self, place: &PlaceView) -> String {
        let dot = if self.screen.unicode { " · " } else { ", " };
        let town: Vec<&str> =
            [&place.city, &place.region, &place.country].into_iter().flatten().map(String::as_str).collect();
        let owner = match (place.asn, &place.org) {
            (Some(asn), Some(org)) => format!("AS{asn} {org}"),
            (Some(asn), None) => format!("AS{asn}"),
            (None, Some(org)) => org.clone(),
            (None, None) => String::new(),
        };
        let kind = place.kind.clone().unwrap_or_default();
        let parts = [town.join(", "), owner, kind];
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return "unknown: no database of places was given, or none knows it".to_owned();
        }
        let source = place.source.as_ref().map(|source| format!(" (by {source})")).unwrap_or_default();
        harmless(&(parts.join(dot) + &source))
    }

    fn ladder(&mut self, case: &Case) -> io::Result<()> {
        self.title("Latency ladder")?;
        let rungs = &case.endpoint.view.ladder;
        if rungs.is_empty() {
            return self.text("No round trip to this endpoint was measured: no handshake of it was captured whole.");
        }
        let expected = rungs.iter().find_map(|rung| rung.expected_ms);
        let glyphs = Glyphs::of(self.screen.unicode);
        let chart = Chart {
            columns: self.screen.width.saturating_sub(BAR_FROM + 4).max(10),
            longest_ms: rungs.iter().map(|rung| rung.min_ms).chain(expected).fold(1.0, f64::max),
            glyphs,
        };
        self.text(
            "How long the quickest answer takes from the capture point, by who gives it. The lowest layer is at the \
             bottom. If nobody stands between, all bars end near each other and near the place; a step is a way that \
             one layer has to go and the one below has not.",
        )?;
        writeln!(self.out)?;
        let lowest = rungs.first().map_or(0.0, |rung| rung.min_ms);
        let known = expected.unwrap_or(lowest);
        for (i, rung) in rungs.iter().enumerate().rev() {
            let below = i.checked_sub(1).and_then(|below| rungs.get(below));
            self.rung(chart, rung, known, expected)?;
            let (from, to_what) = match (below, expected) {
                (Some(below), _) => (below.min_ms, below.layer.as_str()),
                (None, Some(expected)) => (expected, "its place"),
                (None, None) => continue,
            };
            self.step(chart, from, rung.min_ms, to_what)?;
        }
        if let Some(expected) = expected {
            let line = format!("  {:<16}{expected:>8.1} ms  {}", "its place allows", chart.mark(expected));
            writeln!(self.out, "{line}")?;
        }
        let axis = self.paint(Style::new().dimmed(), &chart.axis());
        writeln!(self.out, "{:BAR_FROM$}{axis}", "")?;
        let what = if expected.is_some() { "what its place allows" } else { "what the lowest layer takes" };
        let place = if expected.is_some() { format!("   {} its place", glyphs.mark()) } else { String::new() };
        let legend = format!("{} {what}   {} beyond it{place}", glyphs.known(), glyphs.beyond());
        self.dimmed(2, &legend)
    }

    fn rung(&mut self, chart: Chart, rung: &RungView, known: f64, expected: Option<f64>) -> io::Result<()> {
        let bar = chart.bar(rung.min_ms, known, expected);
        let solid = bar.trim_end_matches(|c| c == chart.glyphs.beyond());
        let (solid, hatched) = bar.split_at(solid.len());
        let hatched = self.paint(Style::new().fg_color(Some(AnsiColor::Yellow.into())), hatched);
        let layer = self.paint(Style::new().bold(), &format!("{:<16}", harmless(&rung.layer)));
        writeln!(self.out, "  {layer}{:>8.1} ms  {solid}{hatched}", rung.min_ms)?;
        self.dimmed(4, &rung_words(rung))
    }

    fn step(&mut self, chart: Chart, from: f64, to: f64, below: &str) -> io::Result<()> {
        if to - from < STEP_MS {
            return Ok(());
        }
        let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
        let text = self.paint(style, &format!("{:<27}", format!("+{:.1} ms on {below}", to - from)));
        let line = self.paint(style, chart.step(from, to).trim_start());
        let blank = chart.step(from, to).chars().take_while(|c| *c == ' ').count();
        writeln!(self.out, "    {text}{:blank$}{line}", "")
    }

    fn path(&mut self, case: &Case) -> io::Result<()> {
        let path = &case.endpoint.view.path;
        let lines = path_words(path);
        if lines.is_empty() {
            return Ok(());
        }
        self.title("Path")?;
        for (label, text) in lines {
            self.labelled(&label, &harmless(&text))?;
        }
        Ok(())
    }

    fn sessions(&mut self, case: &Case) -> io::Result<()> {
        self.title("Sessions")?;
        let (inside, own): (Vec<_>, Vec<_>) = case.kinds.iter().partition(|(kind, _)| kind.inside);
        if own.is_empty() {
            self.text("sessions.jsonl holds none of this endpoint.")?;
        }
        self.kinds(own)?;
        if !inside.is_empty() {
            let tunnel = case.endpoint.view.tunnel.inner.iter().map(joined_words).collect::<Vec<_>>().join("; ");
            self.text(&harmless(&format!("Inside its tunnel ({tunnel}):")))?;
            self.kinds(inside)?;
        }
        Ok(())
    }

    /// What steers, tunnels or calls comes first, then what there is most of.
    fn kinds(&mut self, mut kinds: Vec<(&Kind, &Tally)>) -> io::Result<()> {
        kinds.sort_by_key(|(kind, tally)| (is_ordinary(kind), std::cmp::Reverse(tally.sessions)));
        for (kind, tally) in kinds.iter().take(KINDS_SHOWN) {
            self.kind(kind, tally)?;
        }
        if kinds.len() > KINDS_SHOWN {
            self.dimmed(2, &format!("and {} kinds more: --format json has them all", kinds.len() - KINDS_SHOWN))?;
        }
        Ok(())
    }

    fn kind(&mut self, kind: &Kind, tally: &Tally) -> io::Result<()> {
        let mut what = kind.protocol.clone();
        if let Some(carrier) = &kind.carrier {
            what += &format!(" in {carrier}");
        }
        if let Some(application) = &kind.application {
            what += &format!(" ({application})");
        }
        let sure = if kind.confidence == "unrecognised" { String::new() } else { format!(", {}", kind.confidence) };
        let text = format!("{} x {what}, {}{sure}, {}", tally.sessions, kind.category, size(tally.bytes));
        let text = harmless(&text);
        let style = if is_ordinary(kind) { Style::new() } else { Style::new().bold() };
        for line in wrapped(&text, self.screen.width.saturating_sub(2)) {
            let line = self.paint(style, &line);
            writeln!(self.out, "  {line}")?;
        }
        let peers: Vec<&str> = tally.peers.iter().map(String::as_str).collect();
        let toward = if kind.opened { "to" } else { "from" };
        let more = if tally.more_peers { ", and others" } else { "" };
        self.dimmed(
            6,
            &harmless(&format!("{toward} {}{more}; {}", peers.join(", "), span(&tally.first, &tally.last))),
        )?;
        if let Some(reason) = &kind.allowed {
            self.dimmed(6, &harmless(&format!("allowed: {reason}")))?;
        }
        Ok(())
    }

    fn names(&mut self, case: &Case) -> io::Result<()> {
        if case.identities.is_empty() {
            return Ok(());
        }
        self.title("Who is said to have been there")?;
        for identity in case.identities.iter().take(NAMES_SHOWN) {
            let inner = identity.inner.as_ref().map(|inner| format!(" as {inner}")).unwrap_or_default();
            let text = format!(
                "{} ({}){inner}, {}; by {}, {}",
                identity.identity,
                identity.names,
                span(&identity.from, &identity.to),
                identity.source,
                identity.confidence
            );
            self.item("  ", &harmless(&text))?;
        }
        if case.identities.len() > NAMES_SHOWN {
            self.dimmed(2, &format!("and {} more in identities.jsonl", case.identities.len() - NAMES_SHOWN))?;
        }
        Ok(())
    }

    /// What the endpoint's record alone tells.
    fn bare_verdict(&mut self, case: &Case) -> io::Result<()> {
        let endpoint = &case.endpoint.view;
        self.title("Verdict")?;
        let text = match endpoint.verdict.as_str() {
            "clear" => format!(
                "Clear: an innocent story explains the measurements; odds {} against a relay.",
                ratio(endpoint.score)
            ),
            "insufficient" => format!(
                "The data can't tell; odds {} {} a relay, mostly from what is usual.",
                ratio(endpoint.score),
                if endpoint.score >= 0.0 { "for" } else { "against" }
            ),
            other => format!(
                "{}; odds {} {} it.",
                sentence(other),
                ratio(endpoint.score),
                if endpoint.score >= 0.0 { "for" } else { "against" }
            ),
        };
        self.text(&text)
    }

    fn finding(&mut self, case: &Case, finding: &FindingView) -> io::Result<()> {
        self.title(&format!("Verdict (finding {})", finding.id))?;
        let verdict = self.paint(verdict_style(&finding.verdict), &finding.verdict.to_uppercase());
        writeln!(self.out, "  {verdict}")?;
        self.text(&belief(finding))?;
        if let (Some(first), Some(last)) = (&finding.first_seen, &finding.last_seen) {
            self.labelled("when", &format!("{} UTC", span(first, last)))?;
        }
        if let (Some(ms), Some(far)) = (finding.hidden_leg_ms, &finding.operator_km) {
            let text = format!(
                "about {ms:.0} ms there and back, less if it is passed more than once. That puts the operator {} to {} \
                 km from {} by experience, and {} km at most (light in fibre). How far at least, no round trip tells: \
                 waiting looks like distance.",
                km(far.soft_min),
                km(far.best),
                if finding.question == Question::Control.name() { "where the session ends" } else { "the home" },
                km(far.max)
            );
            self.labelled("hidden", &text)?;
        }
        if let Some(by) = &finding.suppressed {
            let text = format!("{} until {}: {} ({})", by.allow, by.expires, by.reason, by.owner);
            self.labelled("allowed", &harmless(&text))?;
        }
        writeln!(self.out)?;
        // What decides comes first, whichever way it speaks.
        let mut all: Vec<&EvidenceView> = finding.evidence.iter().collect();
        let loudest = |evidence: &EvidenceView| evidence.llr.abs().max(told_apart(evidence).unwrap_or_default());
        all.sort_by(|a, b| loudest(b).total_cmp(&loudest(a)));
        if all.is_empty() {
            self.text("No rule had a measurement to go by.")?;
        }
        for evidence in all {
            self.evidence(case, finding, evidence)?;
        }
        let over = finding.e_value.zip(finding.days).map(|(e_value, days)| OverDays { e_value, days });
        if let Some(told) = over.and_then(|over| over.told()) {
            self.labelled("days", &told)?;
        }
        self.labelled("innocent", &format!("Best innocent story: {}", finding.innocent.text))?;
        // Where nothing is open, nothing is missing.
        let missing = finding.missing.iter().filter(|_| finding.verdict != "clear");
        for (i, missing) in missing.enumerate() {
            self.labelled(if i == 0 { "missing" } else { "" }, missing)?;
        }
        if !finding.attack.is_empty() {
            self.labelled("attack", &format!("MITRE ATT&CK {}", finding.attack.join(", ")))?;
        }
        Ok(())
    }

    fn evidence(&mut self, case: &Case, finding: &FindingView, evidence: &EvidenceView) -> io::Result<()> {
        // Where a special story explains it as well, a reader wants to know first what it says against the usual one.
        let plain = told_apart(evidence);
        let said = plain.unwrap_or(evidence.llr);
        let style = match said {
            llr if llr >= 0.05 => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
            llr if llr <= -0.05 => Style::new().bold().fg_color(Some(AnsiColor::Green.into())),
            _ => Style::new().bold(),
        };
        let sign = if said.abs() < 0.05 { String::new() } else { format!(", {} ({said:+.1})", ratio(said)) };
        let head = format!("{}: {}{sign}", harmless(&evidence.rule), strength(said, feared(&finding.question)));
        for line in wrapped(&head, self.screen.width.saturating_sub(2)) {
            let line = self.paint(style, &line);
            writeln!(self.out, "  {line}")?;
        }
        self.item("    ", &harmless(&evidence.text))?;
        if plain.is_some() {
            let text = format!(
                "Against the best innocent story, told below: {} ({:+.1}).",
                strength(evidence.llr, feared(&finding.question)),
                evidence.llr
            );
            self.item("    ", &text)?;
        }
        if let (Some(value), Some(n)) = (evidence.value, evidence.n) {
            self.dimmed(4, &format!("measured {value:.1} {}, n {n}", harmless(&evidence.unit)))?;
        }
        for cite in evidence.cites.iter().take(CITES_SHOWN) {
            let what = case.cited.get(cite).map(|what| format!(" {what}")).unwrap_or_default();
            self.dimmed(4, &harmless(&format!("flow {cite}{what}")))?;
        }
        if evidence.cites.len() > CITES_SHOWN {
            self.dimmed(4, &format!("and {} flows more", evidence.cites.len() - CITES_SHOWN))?;
        }
        Ok(())
    }

    fn title(&mut self, title: &str) -> io::Result<()> {
        let title = self.paint(Style::new().bold().underline(), title);
        writeln!(self.out, "\n{title}")
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.item("  ", text)
    }

    /// Text with something before its first line; the others begin below its first.
    fn item(&mut self, before: &str, text: &str) -> io::Result<()> {
        let blank = " ".repeat(before.len());
        for (i, line) in wrapped(text, self.screen.width.saturating_sub(before.len())).iter().enumerate() {
            writeln!(self.out, "{}", format!("{}{line}", if i == 0 { before } else { &blank }).trim_end())?;
        }
        Ok(())
    }

    fn labelled(&mut self, label: &str, text: &str) -> io::Result<()> {
        let width = self.screen.width.saturating_sub(INDENT).max(20);
        for (i, line) in wrapped(text, width).iter().enumerate() {
            let label = self.paint(Style::new().dimmed(), &format!("  {:<9}", if i == 0 { label } else { "" }));
            writeln!(self.out, "{label}{line}")?;
        }
        Ok(())
    }

    fn dimmed(&mut self, indent: usize, text: &str) -> io::Result<()> {
        for line in wrapped(text, self.screen.width.saturating_sub(indent)) {
            let line = self.paint(Style::new().dimmed(), &line);
            writeln!(self.out, "{:indent$}{line}", "")?;
        }
        Ok(())
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.screen.colour && !text.trim().is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn is_ordinary(kind: &Kind) -> bool {
    matches!(kind.category.as_str(), "web" | "other" | "identity")
}

/// An address at the other side of a tunnel, and how that is known.
fn joined_words(joined: &JoinView) -> String {
    match (joined.by.as_str(), joined.correlation) {
        ("volume", Some(correlation)) => {
            format!("{}, by what passes when: correlation {correlation:.2}", joined.ip)
        }
        (by, _) => format!("{}, by {by}", joined.ip),
    }
}

/// What evidence says against the plainest innocent answer, where that is more than against the best.
fn told_apart(evidence: &EvidenceView) -> Option<f64> {
    evidence.llr_plain.filter(|plain| *plain > 0.0 && plain - evidence.llr >= TOLD_APART)
}

fn verdict_style(verdict: &str) -> Style {
    let colour = match verdict {
        "clear" => AnsiColor::Green,
        "insufficient" => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// Lines of at most so many columns, broken at blanks only: a command or an id is copied whole.
fn wrapped(text: &str, width: usize) -> Vec<std::borrow::Cow<'_, str>> {
    let options = textwrap::Options::new(width.max(20)).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options)
}

/// What is said of the endpoint, how sure, and how urgent.
fn belief(finding: &FindingView) -> String {
    let (odds, feared) = (ratio(finding.score), feared(&finding.question));
    match finding.verdict.as_str() {
        "clear" => format!("Best explanation: {}. Odds {odds} against {feared}.", story(&finding.hypothesis)),
        "insufficient" => format!(
            "The data can't tell. Likelier: {}. Odds {odds} {} {feared}, mostly from what is usual.",
            story(&finding.hypothesis),
            if finding.score >= 0.0 { "for" } else { "against" }
        ),
        _ => format!(
            "{} ({}). Severity {}; odds {odds} for it, counting how rare that is.",
            sentence(story(&finding.hypothesis)),
            finding.hypothesis,
            finding.severity
        ),
    }
}

/// A rung's numbers and who gives the answer.
fn rung_words(rung: &RungView) -> String {
    let mut words = format!("{}; n {}", closed_by(&rung.layer), rung.n);
    let mut add = |text: String| {
        words += ", ";
        words += &text;
    };
    if let Some(p05) = rung.p05_ms {
        add(format!("p05 {p05:.1}"));
    }
    if let Some(p50) = rung.p50_ms {
        add(format!("median {p50:.1}"));
    }
    if let Some(jitter) = rung.jitter_ms {
        add(format!("jitter {jitter:.1}"));
    }
    if let Some(windows) = rung.windows {
        add(plural(windows, "window"));
    }
    for (label, value) in [("by", &rung.methods), ("confidence", &rung.confidence), ("steps", &rung.steps)] {
        if let Some(text) = value_words(value) {
            add(format!("{label} {text}"));
        }
    }
    harmless(&words)
}

/// A value of a record in a line: lists with commas, objects as name and value.
pub(super) fn value_words(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let mut words: Vec<String> = items.iter().take(ITEMS_SHOWN).filter_map(value_words).collect();
            if items.len() > ITEMS_SHOWN {
                words.push(format!("and {} more", items.len() - ITEMS_SHOWN));
            }
            words.join(", ")
        }
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| Some(format!("{} {}", key.replace('_', " "), value_words(value)?));
            fields.iter().filter_map(field).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    (!text.is_empty()).then_some(text)
}
