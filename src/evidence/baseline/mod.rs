//! What honest endpoints of this site look like, and what that changes about what is called rare.
//!
//! Learned from the site's own records, kept in a file, asked by the rules. A group is a kind of access, an autonomous
//! system or a client program; where a narrow one is too small, the wider one counts. What was learned and what is
//! shipped are mixed, the more of the former the more endpoints it rests on.
//! Reads: [`Spread`]s. Emits: a base, p-values, corrections of log likelihoods. Does not: read files, hold an address or
//! a name of anybody.

mod days;
mod file;
mod learn;
mod measure;
mod spread;

pub use days::{OverDays, Staying};
pub use file::BaselineError;
pub use learn::{Learner, Line, TooFew};
pub use measure::{DayJudged, DayMeasured, Measured, ProgramMeasured};
pub use spread::Spread;

use crate::base::commas;
use days::DayP;
use spread::Density;

use super::Case;
use super::habits::Medians;
use super::likelihood::ln_mix;
use crate::intel::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Endpoints that a group needs; as many does a baseline, all in all.
pub const LEAST_ENDPOINTS: usize = 50;
/// Endpoints that a network or a program needs to be a group of its own: fewer say less than the wider group does, and
/// might be told from one another.
const LEAST_NARROW: usize = 200;
/// What is shipped counts as much as so many endpoints (design value).
const SHIPPED: f64 = 100.0;
/// The group of all.
const ALL: &str = "all";

/// When and from what it was learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The day on which it was learned, and the version that did it.
    pub learned: String,
    /// See `learned`.
    pub version: String,
    /// The first and the last day of the records.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// Folders and stores that were read.
    pub sources: u32,
    /// Honest endpoints.
    pub endpoints: u32,
    /// Days of them.
    pub days: u32,
    /// Endpoints left out because something was found of them.
    pub left_out: u32,
    /// Where the capture point was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// What can be learned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// A day's shortest round trip less what the place allows.
    Excess,
    /// A day's gap between TCP and what is above it.
    DayGap,
    /// The median gap of a program that answers a question.
    Gap,
    /// The median wait of a program before it speaks.
    Lag,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Excess, Self::DayGap, Self::Gap, Self::Lag];

    /// In words, for a heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Excess => "Shortest round trip of a day less what the place allows",
            Self::DayGap => "TLS, SSH and the like after TCP, a day's 5th percentile",
            Self::Gap => "The same by program, medians",
            Self::Lag => "First bytes after the connection stands, medians",
        }
    }
}

/// What is learned of one signal in one group.
#[derive(Debug)]
pub struct Learned {
    /// How it is spread.
    pub spread: Spread,
    density: Density,
    medians: OnceLock<Medians>,
}

impl Learned {
    fn new(spread: Spread) -> Self {
        Self { density: spread.density(), spread, medians: OnceLock::new() }
    }

    /// Of one value an endpoint.
    #[cfg(test)]
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<(f64, f64)> = values.map(|value| (value, 1.0)).collect();
        Self::new(Spread::of(values.len(), values))
    }

    /// The share of what was learned in a mixture with what is shipped.
    #[must_use]
    pub fn weight(&self) -> f64 {
        let n = f64::from(self.spread.endpoints());
        n / (n + SHIPPED)
    }

    /// What is to be added to the log likelihood of every innocent answer, so that all of them together are as likely as
    /// the mixture says; `ln_shipped` is what they are without, per ms.
    ///
    /// No more than the log of the endpoints it rests on, either way: what is added is no rarer than what they could
    /// have shown (science note 6.8.3). Below the middle nothing is taken away: that is no sign of a way too long.
    #[must_use]
    pub fn correction(&self, value: f64, ln_shipped: f64) -> f64 {
        let weight = self.weight();
        let mixed = ln_mix(&[(weight, self.density.ln(value)), (1.0 - weight, ln_shipped)]);
        let correction = self.within(mixed - ln_shipped);
        if value < self.spread.median() { correction.max(0.0) } else { correction }
    }

    /// A log ratio, kept to what so many endpoints can show.
    pub(super) fn within(&self, ln: f64) -> f64 {
        let most = (f64::from(self.spread.endpoints()) + 1.0).ln();
        ln.clamp(-most, most)
    }

    /// The distribution on the grid of [`Medians`].
    pub(super) fn medians(&self) -> &Medians {
        self.medians.get_or_init(|| Medians::new(|median, _| self.density.ln(median)))
    }
}

/// What was learned of a site's honest endpoints.
#[derive(Debug, Default)]
pub struct Baseline {
    origin: Origin,
    groups: BTreeMap<Signal, BTreeMap<String, Learned>>,
    staying: BTreeMap<Signal, Staying>,
    /// What programs are called whose hashes name groups.
    programs: BTreeMap<String, String>,
}

impl Baseline {
    /// When and from what it was learned.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The groups of a signal by name.
    pub fn groups(&self, signal: Signal) -> impl Iterator<Item = (&str, &Learned)> {
        self.groups.get(&signal).into_iter().flatten().map(|(name, learned)| (name.as_str(), learned))
    }

    /// How honest lines stay where they are.
    #[must_use]
    pub fn staying(&self, signal: Signal) -> Option<&Staying> {
        self.staying.get(&signal)
    }

    /// What a program is called whose hash names a group.
    #[must_use]
    pub fn program_name(&self, group: &str) -> Option<&str> {
        self.programs.get(group).map(String::as_str)
    }

    /// The first of these groups that there is.
    fn first(&self, signal: Signal, names: &[String]) -> Option<(&str, &Learned)> {
        let groups = self.groups.get(&signal)?;
        names.iter().find_map(|name| groups.get_key_value(name)).map(|(name, learned)| (name.as_str(), learned))
    }

    /// The excess of the lines of an endpoint's network, or of its kind.
    #[must_use]
    pub fn excess(&self, kind: Kind, asn: Option<u32>) -> Option<(&str, &Learned)> {
        self.first(Signal::Excess, &network(kind, asn))
    }

    /// The daily gap of the same.
    #[must_use]
    pub fn day_gap(&self, kind: Kind, asn: Option<u32>) -> Option<(&str, &Learned)> {
        self.first(Signal::DayGap, &network(kind, asn))
    }

    /// The gaps or waits of a program, else of the kind of access, else of all.
    pub(super) fn habit(&self, signal: Signal, program: u64, kind: Kind) -> Option<&Learned> {
        let names = [program_group(program), kind.name().to_owned(), ALL.to_owned()];
        self.first(signal, &names).map(|(_, learned)| learned)
    }

    /// What honest lines take beyond what their place allows: a concentrator's way round, or lines that are quicker than
    /// granted. Of the network or the kind of access, else of all.
    #[must_use]
    pub fn base_ms(&self, kind: Kind, asn: Option<u32>) -> f64 {
        let [network, kind] = network(kind, asn);
        let found = self.first(Signal::Excess, &[network, kind, ALL.to_owned()]);
        found.map_or(0.0, |(_, learned)| learned.spread.median())
    }

    /// The days of a case, and how far out they are.
    #[must_use]
    pub fn days_of(&self, case: &Case<'_>) -> Vec<DayJudged> {
        let asn = case.place.and_then(|place| place.asn);
        let judged = |measured: DayMeasured| self.judged(case.kind(), asn, case.is_distant(), measured);
        DayMeasured::all_of(case).into_iter().map(judged).collect()
    }

    /// A day of an endpoint, and how far out it is.
    fn judged(&self, kind: Kind, asn: Option<u32>, distant: bool, measured: DayMeasured) -> DayJudged {
        let p = |learned: Option<(&str, &Learned)>, value: Option<(u64, f64)>| Some(learned?.1.spread.p(value?.1));
        let excess = self.excess(kind, asn).filter(|_| !distant);
        let (excess_p, gap_p) = (p(excess, measured.excess), p(self.day_gap(kind, asn), measured.gap));
        DayJudged { measured, excess_p, gap_p }
    }

    /// What an endpoint's days say together, by excess and by gap: the mean of both e-values, which is one whatever the
    /// two have to do with each other. Of a signal without days nothing is said, which is 1. Never more than one in as
    /// many endpoints as were seen.
    #[must_use]
    pub fn over_days(&self, days: &[DayJudged]) -> Option<OverDays> {
        let (excess, gap) = (by_day(days, |day| day.excess_p), by_day(days, |day| day.gap_p));
        let none = Staying::default();
        let over = |signal, days| self.staying.get(&signal).unwrap_or(&none).over(days);
        let both = [over(Signal::Excess, &excess), over(Signal::DayGap, &gap)];
        let days = both.iter().flatten().map(|over| over.days).max()?;
        let mean = both.iter().map(|over| over.map_or(1.0, |over| over.e_value)).sum::<f64>() / 2.0;
        Some(OverDays { e_value: mean.min(f64::from(self.origin.endpoints) + 1.0), days })
    }
}

/// One p-value a day, ascending: of several captures of a day the least far out counts.
fn by_day(days: &[DayJudged], p: fn(&DayJudged) -> Option<f64>) -> Vec<DayP> {
    let mut all = BTreeMap::<i64, f64>::new();
    for (day, p) in days.iter().filter_map(|day| Some((day.measured.day, p(day)?))) {
        let known = all.entry(day).or_insert(p);
        *known = known.max(p);
    }
    all.into_iter().map(|(day, p)| DayP { day, p }).collect()
}

/// Its network's group, then that of its kind.
fn network(kind: Kind, asn: Option<u32>) -> [String; 2] {
    [asn.map(asn_group).unwrap_or_default(), kind.name().to_owned()]
}

fn asn_group(asn: u32) -> String {
    format!("as{asn}")
}

/// The group of a program, by the hash of its fingerprint.
#[must_use]
pub fn program_group(program: u64) -> String {
    format!("{program:016x}")
}

impl<'a> Case<'a> {
    /// What was learned of lines like its own, and how their group is called. Whoever is far away is not like the others
    /// and is judged by what is shipped.
    pub(super) fn learned_excess(&self) -> Option<(&'a str, &'a Learned)> {
        let baseline = self.baseline.filter(|_| !self.is_distant())?;
        baseline.excess(self.kind(), self.place.and_then(|place| place.asn))
    }

    /// The same of its gap.
    pub(super) fn learned_gap(&self) -> Option<(&'a str, &'a Learned)> {
        self.baseline?.day_gap(self.kind(), self.place.and_then(|place| place.asn))
    }

    /// What honest lines here take beyond what their place allows, in ms; 0 without a baseline.
    pub(super) fn base_ms(&self) -> f64 {
        self.baseline.map_or(0.0, |baseline| baseline.base_ms(self.kind(), self.place.and_then(|place| place.asn)))
    }

    /// What was learned of each program's gaps or waits; nothing where there is no program to ask for.
    pub(super) fn learned_habits(
        &self,
        signal: Signal,
        programs: impl Iterator<Item = Option<u64>>,
    ) -> Vec<Option<&'a Learned>> {
        let kind = self.kind();
        programs.map(|program| self.baseline?.habit(signal, program?, kind)).collect()
    }
}

/// What a learned distribution says of a value, as a sentence; nothing without one.
pub(super) fn told(learned: Option<(&str, &Learned)>, value: f64, far: &str) -> String {
    let Some((group, Learned { spread, .. })) = learned else { return String::new() };
    let lines = match group.strip_prefix("as") {
        Some(number) => format!("lines of AS{number}"),
        None => format!("{group} lines"),
    };
    if value < spread.quantile(0.75) {
        return format!(" That is as usual among {} {lines} here.", commas(spread.endpoints().into()));
    }
    let (days, seen) = (spread.values(), spread.values_from(value));
    let seen = if seen == 0 { "none".to_owned() } else { commas(seen.into()) };
    let was = if seen == "1" || seen == "none" { "was" } else { "were" };
    format!(
        " Of {} honest days of {} {lines} here {seen} {was} as {far}.",
        commas(days.into()),
        commas(spread.endpoints().into()),
    )
}
