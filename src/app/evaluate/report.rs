//! What an evaluation says: recall, false alarms, curve, time, ablation, calibration, errors of the ladder.
//!
//! Reads: judged endpoints. Emits: one record for JSON, and tables for people and for Markdown. Does not: judge.

use super::statistics::{Calibration, Curve, Rate, calibration, curve, quantile};
use super::trial::Judged;
use crate::evidence::rules::RULES;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The whole of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    /// Whether it is a built-in matrix of simulations.
    matrix: bool,
    pub(super) captures: usize,
    pub(super) endpoints: usize,
    pub(super) seconds: f64,
    pub(super) recall: Rate,
    pub(super) false_alarms: Rate,
    pub(super) groups: Vec<Group>,
    bands: Vec<Band>,
    targets: Vec<Target>,
    alone: Vec<Alone>,
    pub(super) curve: Curve,
    detection: Vec<Detection>,
    ablation: Vec<Ablation>,
    pub(super) calibration: Calibration,
    ladder: Vec<Errors>,
    quantities: Vec<Quantities>,
    /// Honest endpoints that were accused, and one malicious one of each scenario that was not.
    accused: Vec<Judged>,
    missed: Vec<Judged>,
}

/// Endpoints of one scenario.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) scenario: String,
    pub(super) kind: String,
    pub(super) label: String,
    pub(super) accused: Rate,
    clear: usize,
    undecided: usize,
    unseen: usize,
}

/// Malicious endpoints of one kind whose hidden leg is so long.
#[derive(Debug, Serialize)]
struct Band {
    kind: String,
    from_ms: f64,
    found: Rate,
}

/// What the product is meant to find, and how much of it is found.
#[derive(Debug, Serialize)]
struct Target {
    of: &'static str,
    question: &'static str,
    found: Rate,
    /// The share whose answer to that question scores higher than those of all but 1 in 10,000 honest endpoints.
    recall_at_1e4: Option<f64>,
    score_from: Option<f64>,
}

/// What one rule would say alone: see [`crate::evidence::alone`].
#[derive(Debug, Serialize)]
struct Alone {
    rule: &'static str,
    malicious: usize,
    honest: usize,
    /// Of those honest ones, how many are accused by the program.
    accused: usize,
    /// The scenarios of those honest ones.
    fooled_by: Vec<String>,
}

/// How soon those that were found were found.
#[derive(Debug, Serialize)]
struct Detection {
    scenario: String,
    n: usize,
    seconds_p50: f64,
    seconds_p90: f64,
    handshakes_p50: f64,
    handshakes_p90: f64,
}

/// What changes when a rule is not asked.
#[derive(Debug, Serialize)]
struct Ablation {
    without: &'static str,
    lost: usize,
    gained: usize,
    false_alarms_more: usize,
    false_alarms_less: usize,
}

/// What was measured less what is so, in ms.
#[derive(Debug, Serialize)]
struct Errors {
    scenario: String,
    of: &'static str,
    n: usize,
    bias: f64,
    size_p50: f64,
    size_p95: f64,
}

/// How a measured quantity is spread over the endpoints of a scenario.
#[derive(Debug, Serialize)]
struct Quantities {
    scenario: String,
    of: &'static str,
    n: usize,
    /// At 1, 5, 50, 95 and 99 per cent.
    at: [f64; 5],
}

/// What stands before the tables of a matrix.
const PREAMBLE: &str = include_str!("preamble.md");
/// Edges of the bands of hidden legs.
const BANDS: [f64; 7] = [0.0, 70.0, 90.0, 110.0, 140.0, 180.0, 230.0];
const SHARES: [f64; 5] = [0.01, 0.05, 0.5, 0.95, 0.99];

fn grouped<'a, K: Ord>(
    all: impl Iterator<Item = &'a Judged>,
    key: impl Fn(&Judged) -> K,
) -> BTreeMap<K, Vec<&'a Judged>> {
    let mut groups: BTreeMap<K, Vec<&Judged>> = BTreeMap::new();
    all.for_each(|one| groups.entry(key(one)).or_default().push(one));
    groups
}

fn accused(all: &[&Judged]) -> Rate {
    Rate::of(all.iter().filter(|one| one.accused).count(), all.len())
}

impl Report {
    pub(super) fn of(all: &[Judged], captures: (usize, bool), seconds: f64, prior: f64) -> Self {
        let malicious: Vec<&Judged> = all.iter().filter(|one| one.truth.is_malicious()).collect();
        let honest: Vec<&Judged> = all.iter().filter(|one| !one.truth.is_malicious()).collect();
        let scores = |some: &[&Judged]| some.iter().map(|one| one.score).collect::<Vec<f64>>();
        let missed = grouped(malicious.iter().copied().filter(|one| !one.accused), |one| one.truth.scenario.clone());
        let pairs: Vec<(f64, bool)> = all.iter().map(|one| (one.score, one.truth.is_malicious())).collect();
        Self {
            kind: "evaluation",
            schema: 1,
            matrix: captures.1,
            captures: captures.0,
            endpoints: all.len(),
            seconds,
            recall: accused(&malicious),
            false_alarms: accused(&honest),
            groups: groups(all),
            bands: bands(&malicious),
            targets: targets(&malicious, &honest),
            alone: alone(&malicious, &honest),
            curve: curve(&scores(&malicious), &scores(&honest)),
            detection: detection(&malicious),
            ablation: ablation(all),
            calibration: calibration(&pairs, prior),
            ladder: ladder(all),
            quantities: quantities(all),
            accused: honest.iter().filter(|one| one.accused).map(|one| (*one).clone()).collect(),
            missed: missed.into_values().filter_map(|some| some.first().map(|one| (*one).clone())).collect(),
        }
    }
}

fn groups(all: &[Judged]) -> Vec<Group> {
    let key = |one: &Judged| (one.truth.is_malicious(), one.truth.kind.clone(), one.truth.scenario.clone());
    let group = |((_, kind, scenario), some): ((bool, String, String), Vec<&Judged>)| {
        let of = |verdict: Option<&str>| some.iter().filter(|one| one.verdict == verdict).count();
        Group {
            scenario,
            kind,
            label: some.first().map(|one| one.truth.label.clone()).unwrap_or_default(),
            accused: accused(&some),
            clear: of(Some("clear")),
            undecided: of(Some("insufficient")),
            unseen: of(None),
        }
    };
    grouped(all.iter(), key).into_iter().map(group).collect()
}

fn bands(malicious: &[&Judged]) -> Vec<Band> {
    let leg = |one: &Judged| one.truth.hidden_leg_rtt_ms.unwrap_or(0.0);
    let band = |one: &Judged| BANDS.iter().rposition(|from| leg(one) >= *from).unwrap_or(0);
    let hidden = malicious.iter().copied().filter(|one| leg(one) > 0.0);
    let groups = grouped(hidden, |one| (one.truth.kind.clone(), band(one)));
    let row = |((kind, band), some): ((String, usize), Vec<&Judged>)| {
        let from_ms = BANDS.get(band).copied().unwrap_or(0.0);
        Band { kind, from_ms, found: accused(&some) }
    };
    groups.into_iter().map(row).collect()
}

fn targets(malicious: &[&Judged], honest: &[&Judged]) -> Vec<Target> {
    type Wanted = fn(&Judged) -> bool;
    fn is(one: &Judged, kinds: &[&str]) -> bool {
        kinds.contains(&one.truth.kind.as_str())
    }
    fn far(one: &Judged) -> bool {
        one.truth.hidden_leg_rtt_ms.is_some_and(|leg| leg >= 80.0)
    }
    let of: [(&'static str, &'static str, Wanted); 4] = [
        ("exits, proxies and services, 80 ms and more", "connection", |one| far(one) && is(one, &["r2", "r3", "r5"])),
        ("machines worked from 80 ms and more away", "control", |one| far(one) && is(one, &["r1"])),
        ("several laptops in one home", "sharing", |one| is(one, &["r4"]) && !one.truth.homes),
        ("several laptops in one home, homes known", "sharing", |one| is(one, &["r4"]) && one.truth.homes),
    ];
    let target = |(of, question, wanted): (&'static str, &'static str, Wanted)| {
        let sought: Vec<&Judged> = malicious.iter().copied().filter(|one| wanted(one)).collect();
        let score = |one: &&Judged| one.scores.get(question).copied().unwrap_or(f64::NEG_INFINITY);
        let scores = |some: &[&Judged]| some.iter().map(score).collect::<Vec<f64>>();
        let point = curve(&scores(&sought), &scores(honest)).at.into_iter().find(|at| at.false_alarms < 2e-4);
        let point = point.and_then(|at| at.point).filter(|point| point.threshold.is_finite());
        Target {
            of,
            question,
            found: accused(&sought),
            recall_at_1e4: point.as_ref().map(|point| point.recall),
            score_from: point.map(|point| point.threshold),
        }
    };
    of.map(target).into_iter().filter(|target| target.found.n > 0).collect()
}

fn alone(malicious: &[&Judged], honest: &[&Judged]) -> Vec<Alone> {
    let row = |rule: &&'static crate::evidence::rules::Rule| {
        let loud = |some: &[&Judged]| -> Vec<usize> {
            (0..some.len()).filter(|i| some.get(*i).is_some_and(|one| one.alone.contains_key(rule.name))).collect()
        };
        let fooled: Vec<&Judged> = loud(honest).into_iter().filter_map(|i| honest.get(i).copied()).collect();
        Alone {
            rule: rule.name,
            malicious: loud(malicious).len(),
            honest: fooled.len(),
            accused: fooled.iter().filter(|one| one.accused).count(),
            fooled_by: grouped(fooled.into_iter(), |one| one.truth.scenario.clone()).into_keys().collect(),
        }
    };
    RULES.iter().map(row).filter(|row| row.malicious + row.honest > 0).collect()
}

fn detection(malicious: &[&Judged]) -> Vec<Detection> {
    let found =
        grouped(malicious.iter().copied().filter(|one| one.found_after.is_some()), |one| one.truth.scenario.clone());
    let row = |(scenario, some): (String, Vec<&Judged>)| {
        let seconds: Vec<f64> = some.iter().filter_map(|one| one.found_after).map(|(seconds, _)| seconds).collect();
        let handshakes: Vec<f64> = some.iter().filter_map(|one| one.found_after).map(|(_, n)| n as f64).collect();
        let at = |values: &[f64], share| quantile(values, share).unwrap_or(f64::NAN);
        Detection {
            scenario,
            n: some.len(),
            seconds_p50: at(&seconds, 0.5),
            seconds_p90: at(&seconds, 0.9),
            handshakes_p50: at(&handshakes, 0.5),
            handshakes_p90: at(&handshakes, 0.9),
        }
    };
    found.into_iter().map(row).collect()
}

fn ablation(all: &[Judged]) -> Vec<Ablation> {
    let rows = RULES.iter().map(|rule| {
        let changed = |malicious: bool, to: bool| {
            let is = |one: &&Judged| one.truth.is_malicious() == malicious && one.without.get(rule.name) == Some(&to);
            all.iter().filter(is).count()
        };
        Ablation {
            without: rule.name,
            lost: changed(true, false),
            gained: changed(true, true),
            false_alarms_more: changed(false, true),
            false_alarms_less: changed(false, false),
        }
    });
    rows.collect()
}

type Reading = fn(&Judged) -> Option<f64>;

fn ladder(all: &[Judged]) -> Vec<Errors> {
    let of: [(&'static str, Reading); 3] = [
        ("tcp", |one| Some(one.measured.tcp?.1 - one.truth.expected_tcp_rtt_ms?)),
        ("application", |one| Some(one.measured.application?.0 - one.truth.expected_app_rtt_ms?)),
        ("hidden leg", |one| Some(one.hidden_leg_ms.filter(|_| one.accused)? - one.truth.hidden_leg_rtt_ms?)),
    ];
    let mut rows = Vec::new();
    for (scenario, some) in grouped(all.iter(), |one| one.truth.scenario.clone()) {
        for (of, reading) in of {
            let errors: Vec<f64> = some.iter().filter_map(|one| reading(one)).collect();
            let sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
            let (Some(bias), Some(size_p50), Some(size_p95)) =
                (quantile(&errors, 0.5), quantile(&sizes, 0.5), quantile(&sizes, 0.95))
            else {
                continue;
            };
            rows.push(Errors { scenario: scenario.clone(), of, n: errors.len(), bias, size_p50, size_p95 });
        }
    }
    rows
}

fn quantities(all: &[Judged]) -> Vec<Quantities> {
    let of: [(&'static str, Reading); 4] = [
        ("excess, ms", |one| one.measured.excess),
        ("gap, ms", |one| one.measured.gap),
        ("lag, ms", |one| one.measured.lag),
        ("MSS", |one| one.measured.mss.map(f64::from)),
    ];
    let mut rows = Vec::new();
    for (scenario, some) in grouped(all.iter(), |one| one.truth.scenario.clone()) {
        for (of, reading) in of {
            let values: Vec<f64> = some.iter().filter_map(|one| reading(one)).collect();
            if values.is_empty() {
                continue;
            }
            let at = SHARES.map(|share| quantile(&values, share).unwrap_or(f64::NAN));
            rows.push(Quantities { scenario: scenario.clone(), of, n: values.len(), at });
        }
    }
    rows
}

/// A table with its title.
struct Grid {
    title: &'static str,
    note: &'static str,
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// What tables are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// 80 columns.
    Plain,
    Markdown,
}

impl Report {
    /// All tables; the quantities the rules are fitted to only if asked for.
    pub(super) fn text(&self, style: Style, with_quantities: bool) -> String {
        let mut text = if style == Style::Markdown && self.matrix { PREAMBLE.to_owned() } else { String::new() };
        let item = if style == Style::Markdown { "* " } else { "" };
        let _ = write!(
            text,
            "{}{} endpoints in {} captures, {:.0} s.\n{}Found: {}.\n{}Honest endpoints accused: {}.\n\n",
            item,
            self.endpoints,
            self.captures,
            self.seconds,
            item,
            in_words(&self.recall),
            item,
            in_words(&self.false_alarms),
        );
        let mut grids =
            vec![self.target_grid(), self.found_grid(), self.alarm_grid(), self.band_grid(), self.alone_grid()];
        // With one kind of endpoint alone there is nothing to tell apart.
        if self.recall.n > 0 && self.false_alarms.n > 0 {
            grids.push(self.curve_grid());
        }
        grids.extend([self.detection_grid(), self.ablation_grid(), self.calibration_grid(), self.ladder_grid()]);
        if with_quantities {
            grids.push(self.quantity_grid());
        }
        grids.iter().filter(|grid| !grid.rows.is_empty()).for_each(|grid| grid.write(style, &mut text));
        self.exceptions(&mut text);
        text
    }

    fn target_grid(&self) -> Grid {
        let row = |target: &Target| {
            let told = |value: Option<f64>, digits: usize| {
                value.map_or_else(|| "too few seen".to_owned(), |value| format!("{value:.digits$}"))
            };
            let at = [told(target.recall_at_1e4, 3), told(target.score_from, 1)];
            [vec![target.of.to_owned()], rate(&target.found), at.to_vec()].concat()
        };
        Grid {
            title: "What is to be found",
            note: "Found: by the program's own threshold, more likely than not. The last two: with the threshold that all \
                   but 1 in 10,000 of these honest endpoints stay below, and where that is.",
            head: &["what", "found", "share", "95 %", "recall at 1e-4", "score from"],
            rows: self.targets.iter().map(row).collect(),
        }
    }

    fn alone_grid(&self) -> Grid {
        let row = |alone: &Alone| {
            let counts = [alone.malicious, alone.honest, alone.accused].map(|n| n.to_string());
            [vec![alone.rule.to_owned()], counts.to_vec(), vec![few(&alone.fooled_by)]].concat()
        };
        Grid {
            title: "One rule alone",
            note: "Endpoints of which the rule says 20 to 1, or nearly all that it may say, against the plainest innocent \
                   answer: what a product with one signal would raise. Then how many of those honest ones the program accuses, and which scenarios fool \
                   the rule.",
            head: &["rule", "malicious", "honest", "accused", "fooled by"],
            rows: self.alone.iter().map(row).collect(),
        }
    }

    fn found_grid(&self) -> Grid {
        let rows = self.groups.iter().filter(|group| group.label != "benign");
        Grid {
            title: "Malicious endpoints found",
            note: "Intervals at 95 %: Clopper and Pearson.",
            head: &["scenario", "kind", "clear", "undecided", "unseen", "found", "share", "95 %"],
            rows: rows.map(Group::row).collect(),
        }
    }

    fn alarm_grid(&self) -> Grid {
        let rows = self.groups.iter().filter(|group| group.label == "benign");
        Grid {
            title: "Honest endpoints accused",
            note: "",
            head: &["scenario", "kind", "clear", "undecided", "unseen", "accused", "share", "95 %"],
            rows: rows.map(Group::row).collect(),
        }
    }

    fn band_grid(&self) -> Grid {
        let row = |band: &Band| {
            let next = BANDS.iter().copied().find(|edge| *edge > band.from_ms);
            let name = next.map_or_else(
                || format!("{:.0} and more", band.from_ms),
                |to| format!("{:.0} to {to:.0}", band.from_ms),
            );
            [vec![band.kind.clone(), name], rate(&band.found)].concat()
        };
        Grid {
            title: "Found by hidden leg",
            note: "",
            head: &["kind", "hidden leg, ms", "found", "share", "95 %"],
            rows: self.bands.iter().map(row).collect(),
        }
    }

    fn curve_grid(&self) -> Grid {
        let row = |at: &super::statistics::Operating| {
            let told = |of: fn(&super::statistics::Point) -> f64, digits: usize| {
                at.point.as_ref().map_or_else(|| "too few seen".to_owned(), |point| format!("{:.digits$}", of(point)))
            };
            vec![format!("{}", at.false_alarms), told(|p| p.threshold, 1), told(|p| p.recall, 3)]
        };
        let mut rows: Vec<Vec<String>> = self.curve.at.iter().map(row).collect();
        rows.push(vec!["area under the curve".into(), String::new(), format!("{:.4}", self.curve.area)]);
        Grid {
            title: "Recall at a share of false alarms",
            note: "Whatever the threshold of the program is.",
            head: &["false alarms", "score from", "recall"],
            rows,
        }
    }

    fn detection_grid(&self) -> Grid {
        let row = |d: &Detection| {
            let seconds = format!("{:.0}, {:.0}", d.seconds_p50, d.seconds_p90);
            vec![
                d.scenario.clone(),
                d.n.to_string(),
                seconds,
                format!("{:.0}, {:.0}", d.handshakes_p50, d.handshakes_p90),
            ]
        };
        Grid {
            title: "Until it was found",
            note: "Median and 90 %, from the endpoint's first packet; looked every 20 s.",
            head: &["scenario", "found", "seconds", "handshakes"],
            rows: self.detection.iter().map(row).collect(),
        }
    }

    fn ablation_grid(&self) -> Grid {
        let row = |a: &Ablation| {
            let counts = [a.lost, a.gained, a.false_alarms_more, a.false_alarms_less];
            std::iter::once(a.without.to_owned()).chain(counts.map(|n| n.to_string())).collect()
        };
        Grid {
            title: "Without one rule",
            note: "Malicious endpoints that are lost and gained, honest ones that are accused in addition and no longer.",
            head: &["rule", "lost", "gained", "alarms more", "alarms less"],
            rows: self.ablation.iter().map(row).collect(),
        }
    }

    fn calibration_grid(&self) -> Grid {
        let bins = &self.calibration.bins;
        let row = |bin: &super::statistics::Bin| {
            let from = if bin.from <= -99.0 { "least".to_owned() } else { format!("{:.0}", bin.from) };
            let shares = [bin.believed, bin.observed].map(|share| format!("{share:.5}"));
            [vec![from, bin.malicious.to_string(), bin.honest.to_string()], shares.to_vec()].concat()
        };
        let mut rows: Vec<Vec<String>> = bins.iter().map(row).collect();
        let error = format!("{:.6}", self.calibration.expected_error);
        rows.push(vec!["expected error".into(), String::new(), String::new(), error, String::new()]);
        Grid {
            title: "Believed and observed",
            note: "Observed: with malicious endpoints counted for less, so that they are as rare as the prior says.",
            head: &["score from", "malicious", "honest", "believed", "observed"],
            rows,
        }
    }

    fn ladder_grid(&self) -> Grid {
        let row = |e: &Errors| {
            let numbers = [format!("{:+.1}", e.bias), format!("{:.1}", e.size_p50), format!("{:.1}", e.size_p95)];
            [vec![e.scenario.clone(), e.of.to_owned(), e.n.to_string()], numbers.to_vec()].concat()
        };
        Grid {
            title: "Errors of the ladder, ms",
            note: "Of TCP the median, of the layer above the shortest round trip, less the expected one; the hidden leg of \
                   those that were found.",
            head: &["scenario", "of", "n", "bias", "median size", "95 % below"],
            rows: self.ladder.iter().map(row).collect(),
        }
    }

    fn quantity_grid(&self) -> Grid {
        let row = |q: &Quantities| {
            let at = q.at.map(|value| format!("{value:.1}"));
            [vec![q.scenario.clone(), q.of.to_owned(), q.n.to_string()], at.to_vec()].concat()
        };
        Grid {
            title: "What the rules weigh, by scenario",
            note: "One value an endpoint: the shortest round trip above what the place allows; medians of gap and lag.",
            head: &["scenario", "of", "n", "1 %", "5 %", "50 %", "95 %", "99 %"],
            rows: self.quantities.iter().map(row).collect(),
        }
    }

    fn exceptions(&self, text: &mut String) {
        for (title, some) in
            [("Honest endpoints accused:", &self.accused), ("Missed, one of each scenario:", &self.missed)]
        {
            if some.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{title}\n");
            for one in some.iter().take(20) {
                let seed = one.truth.seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
                let address = one.truth.endpoint_ip.map_or_else(String::new, |ip| ip.to_string());
                let leg = one.truth.hidden_leg_rtt_ms.unwrap_or(0.0);
                let said = one.verdict.unwrap_or("not seen");
                let why: Vec<String> = one.evidence.iter().map(|(rule, llr)| format!("{rule} {llr:+.1}")).collect();
                let _ = writeln!(
                    text,
                    "* {}{seed}, {address}, hidden leg {leg:.0} ms: {said}, {}, score {:.1}",
                    one.truth.scenario, one.hypothesis, one.score
                );
                if !why.is_empty() {
                    let _ = writeln!(text, "  {}", why.join(", "));
                }
            }
            text.push('\n');
        }
    }
}

impl Group {
    fn row(&self) -> Vec<String> {
        let counts = [self.clear, self.undecided, self.unseen].map(|n| n.to_string());
        [vec![self.scenario.clone(), self.kind.clone()], counts.to_vec(), rate(&self.accused)].concat()
    }
}

fn rate(rate: &Rate) -> Vec<String> {
    let [low, high] = rate.exact.map(|share| share * 100.0);
    let digits = if high < 1.0 { 3 } else { 1 };
    let share = rate.share.map_or_else(|| "-".to_owned(), |share| format!("{:.digits$} %", share * 100.0));
    vec![format!("{}/{}", rate.hits, rate.n), share, format!("{low:.digits$}-{high:.digits$}")]
}

/// The first names of a list, and how many more there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{first}, {} more", names.len() - SHOWN) } else { first }
}

fn in_words(of: &Rate) -> String {
    let [low, high] = of.exact.map(|share| share * 100.0);
    let [from, to] = of.wilson.map(|share| share * 100.0);
    let share = of.share.map_or_else(|| "-".to_owned(), |share| format!("{:.3} %", share * 100.0));
    format!("{} of {} = {share} (exact {low:.4}-{high:.4} %, Wilson {from:.4}-{to:.4} %)", of.hits, of.n)
}

impl Grid {
    fn write(&self, style: Style, out: &mut String) {
        let heading = if style == Style::Markdown { "## " } else { "" };
        let _ = writeln!(out, "{heading}{}\n", self.title);
        if !self.note.is_empty() {
            let _ = writeln!(out, "{}\n", textwrap::fill(self.note, 80));
        }
        match style {
            Style::Markdown => {
                let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
                let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
                out.push_str(&line(&head));
                let _ = writeln!(out, "|{}", "---|".repeat(self.head.len()));
                self.rows.iter().for_each(|row| out.push_str(&line(row)));
            }
            Style::Plain => {
                let width = |column: usize| {
                    let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
                    cells.chain(self.head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
                };
                let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
                let line = |cells: &mut dyn Iterator<Item = &str>| {
                    let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
                        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    });
                    padded.collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n"
                };
                out.push_str(&line(&mut self.head.iter().copied()));
                self.rows.iter().for_each(|row| out.push_str(&line(&mut row.iter().map(String::as_str))));
            }
        }
        out.push('\n');
    }
}
