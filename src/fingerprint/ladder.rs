//! The latency ladder of an endpoint: for each layer, how long the shortest and the usual round trip is, and when.
//!
//! Mergeable: the content depends only on the set of samples and parts, not on their order or on who saw them.
//! Quantiles are exact up to 64 samples and within 0.8 % beyond; the minimum is always exact ([`WideDigest`]).
//! Round trips that may have waited for a timer count for the minimum, and for quantiles only where there are no others.
//! Reference for how many make a minimum: science note 0.2. Does not: judge.

use super::steps::{Step, WindowMin, steps};
use crate::base::{Layer, RttKind, RttPart, RttSample, Timestamp, WideDigest, Window};
use std::collections::BTreeMap;
use std::time::Duration;

/// Windows kept of a rung: a day of 5 minutes. When there are more, two neighbours become one, again and again.
const WINDOWS: usize = 288;
/// After so many halvings all windows are one.
const MOST_HALVINGS: u8 = 31;
/// Methods named of a rung.
const METHODS: usize = 12;

/// Round trips of one layer.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Samples {
    prompt: WideDigest,
    waiting: Option<Box<WideDigest>>,
}

impl Samples {
    /// So many prompt ones are enough for quantiles of their own.
    const ENOUGH: u64 = 5;

    fn digest_mut(&mut self, kind: &RttKind) -> &mut WideDigest {
        if kind.may_wait() { self.waiting.get_or_insert_default() } else { &mut self.prompt }
    }

    fn merge(&mut self, other: &Self) {
        self.prompt.merge(&other.prompt);
        if let Some(waiting) = &other.waiting {
            self.waiting.get_or_insert_default().merge(waiting);
        }
    }

    /// How many.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.prompt.n() + self.waiting.as_ref().map_or(0, |waiting| waiting.n())
    }

    /// Whether quantiles tell how long the way takes: not where most answers may have waited for a timer.
    #[must_use]
    pub fn is_prompt(&self) -> bool {
        self.waiting.is_none() || self.prompt.n() >= Self::ENOUGH
    }

    /// The shortest, exact.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        self.prompt.min().into_iter().chain(self.waiting.as_ref().and_then(|waiting| waiting.min())).min()
    }

    /// A quantile, `q` in 0..=1, by nearest rank: of those that can't have waited, if there are at least five.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let told = match &self.waiting {
            Some(waiting) if self.prompt.n() < Self::ENOUGH => {
                let mut all = self.prompt.clone();
                all.merge(waiting);
                all.quantile(q)
            }
            _ => self.prompt.quantile(q),
        };
        told.max(self.min())
    }
}

/// How much a rung's numbers rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Fewer than five round trips: the shortest of them may be a queue's.
    Thin,
    /// At least five.
    Fair,
    /// At least 20, in three windows or more, over a quarter of an hour: no queue lasts that long on an ordinary line.
    Firm,
}

impl Confidence {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thin => "thin",
            Self::Fair => "fair",
            Self::Firm => "firm",
        }
    }
}

/// One layer of the ladder.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Rung {
    /// Round trips at this layer.
    pub samples: Samples,
    /// Ascending.
    windows: Vec<WindowMin>,
    /// How often the windows have been put together in pairs.
    halvings: u8,
    /// In the order of the alphabet.
    #[serde(deserialize_with = "crate::base::words::list")]
    methods: Vec<&'static str>,
    span: Option<(Timestamp, Timestamp)>,
}

impl Rung {
    fn add(&mut self, sample: &RttSample) {
        self.samples.digest_mut(&sample.kind()).add(sample.rtt);
        let min_us = micros(sample.rtt);
        self.note(sample.method, WindowMin { window: Window::of(sample.at), n: 1, min_us }, (sample.at, sample.at));
    }

    fn take_in(&mut self, part: &RttPart<'_>) {
        let Some(min) = part.digest.min() else { return };
        self.samples.digest_mut(&part.kind).merge(part.digest);
        let n = u32::try_from(part.digest.n()).unwrap_or(u32::MAX);
        self.note(part.kind.method, WindowMin { window: part.window, n, min_us: micros(min) }, part.span);
    }

    fn note(&mut self, method: &'static str, at: WindowMin, span: (Timestamp, Timestamp)) {
        self.note_method(method);
        self.note_span(span);
        self.note_window(WindowMin { window: Window(at.window.0 >> self.halvings), ..at });
        while self.windows.len() > WINDOWS {
            self.halve();
        }
    }

    fn note_method(&mut self, method: &'static str) {
        if let Err(place) = self.methods.binary_search(&method) {
            self.methods.insert(place, method);
            self.methods.truncate(METHODS);
        }
    }

    fn note_span(&mut self, span: (Timestamp, Timestamp)) {
        let (first, last) = self.span.unwrap_or(span);
        self.span = Some((first.min(span.0), last.max(span.1)));
    }

    /// Puts the windows together in pairs.
    fn halve(&mut self) {
        self.halvings += 1;
        for old in std::mem::take(&mut self.windows) {
            self.note_window(WindowMin { window: Window(old.window.0 >> 1), ..old });
        }
    }

    /// Takes in what another has: the same as if it had all been told to this one.
    fn merge(&mut self, other: Self) {
        let Self { samples, windows, halvings, methods, span } = other;
        self.samples.merge(&samples);
        methods.into_iter().for_each(|method| self.note_method(method));
        span.into_iter().for_each(|span| self.note_span(span));
        // What is in coarse windows cannot be put into finer ones. A window is 32 bits long: after as many halvings there
        // is but one.
        let halvings = halvings.min(MOST_HALVINGS);
        while self.halvings < halvings {
            self.halve();
        }
        for at in windows {
            self.note_window(WindowMin { window: Window(at.window.0 >> (self.halvings - halvings)), ..at });
        }
        while self.windows.len() > WINDOWS && self.halvings < MOST_HALVINGS {
            self.halve();
        }
    }

    fn note_window(&mut self, at: WindowMin) {
        match self.windows.binary_search_by_key(&at.window, |known| known.window) {
            Ok(place) => {
                if let Some(known) = self.windows.get_mut(place) {
                    known.n = known.n.saturating_add(at.n);
                    known.min_us = known.min_us.min(at.min_us);
                }
            }
            Err(place) => {
                if self.windows.is_empty() {
                    self.windows.reserve_exact(1);
                }
                self.windows.insert(place, at);
            }
        }
    }

    /// Distinct windows with round trips: of 5 minutes, or of a power of two times that where they span more than a day.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// The beginning of each window, and the shortest round trip in it, in microseconds.
    pub fn minima(&self) -> impl Iterator<Item = (Timestamp, u32)> + '_ {
        self.windows.iter().map(|window| (Window(window.window.0 << self.halvings).start(), window.min_us))
    }

    /// By day (UTC, counted from 1970): round trips, and the shortest in microseconds. Windows that became longer than
    /// a day count for the day on which they begin.
    #[must_use]
    pub fn days(&self) -> BTreeMap<i64, (u64, u32)> {
        const DAY: i64 = 86_400_000_000_000;
        let mut days = BTreeMap::new();
        for window in &self.windows {
            let day = Window(window.window.0 << self.halvings).start().nanos().div_euclid(DAY);
            let (n, least) = days.entry(day).or_insert((0, u32::MAX));
            *n += u64::from(window.n);
            *least = window.min_us.min(*least);
        }
        days
    }

    /// From the first sample to the last.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.span.and_then(|(first, last)| last.since(first)).unwrap_or_default()
    }

    /// How the round trips were taken, in the order of the alphabet.
    #[must_use]
    pub fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// The middle half of the round trips lies within so much: 75th less 25th percentile.
    #[must_use]
    pub fn jitter(&self) -> Option<Duration> {
        Some(self.samples.quantile(0.75)?.saturating_sub(self.samples.quantile(0.25)?))
    }

    /// What the minimum rests on.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        const QUARTER: Duration = Duration::from_secs(900);
        match self.samples.n() {
            ..5 => Confidence::Thin,
            20.. if self.windows() >= 3 && self.span() >= QUARTER => Confidence::Firm,
            _ => Confidence::Fair,
        }
    }

    /// When the shortest round trip became another for good.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = steps(&self.windows);
        steps.iter_mut().for_each(|step| step.at = Window(step.at.0 << self.halvings));
        steps
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// All rungs of an endpoint.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Ladder {
    /// Ascending by layer. A vector: nearly every endpoint has one or two rungs, and there may be a million endpoints.
    rungs: Vec<(Layer, Rung)>,
}

impl Ladder {
    /// Adds a sample; ambiguous ones don't count.
    pub fn add(&mut self, sample: &RttSample) {
        if !sample.ambiguous {
            self.rung_mut(sample.layer, |rung| rung.add(sample));
        }
    }

    /// Adds what a long flow brought in one window; ambiguous round trips don't count.
    pub fn take_in(&mut self, part: &RttPart<'_>) {
        if !part.kind.ambiguous {
            self.rung_mut(part.kind.layer, |rung| rung.take_in(part));
        }
    }

    /// Takes in what another has: the same as if it had all been told to this one.
    pub fn merge(&mut self, other: Self) {
        for (layer, rung) in other.rungs {
            self.rung_mut(layer, |own| own.merge(rung));
        }
    }

    fn rung_mut(&mut self, layer: Layer, f: impl FnOnce(&mut Rung)) {
        let place = match self.rungs.binary_search_by_key(&layer, |(layer, _)| *layer) {
            Ok(place) => place,
            Err(place) => {
                self.rungs.reserve_exact(1);
                self.rungs.insert(place, (layer, Rung::default()));
                place
            }
        };
        if let Some((_, rung)) = self.rungs.get_mut(place) {
            f(rung);
        }
    }

    /// The rungs, lowest layer first.
    pub fn rungs(&self) -> impl Iterator<Item = (Layer, &Rung)> {
        self.rungs.iter().map(|(layer, rung)| (*layer, rung))
    }

    /// One rung.
    #[must_use]
    pub fn rung(&self, layer: Layer) -> Option<&Rung> {
        self.rungs().find(|(l, _)| *l == layer).map(|(_, rung)| rung)
    }

    /// The lowest rung that has samples: where the network path itself is measured best.
    #[must_use]
    pub fn lowest(&self) -> Option<(Layer, &Rung)> {
        self.rungs().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{FlowDigest, Side};
    use proptest::prelude::*;

    fn kind(method: &'static str) -> RttKind {
        RttKind { side: Side::Client, layer: Layer::TcpData, method, ambiguous: false }
    }

    fn take_in(ladder: &mut Ladder, window: i32, method: &'static str, micros: &[u32]) {
        let mut digest = FlowDigest::default();
        micros.iter().for_each(|m| digest.add(Duration::from_micros(u64::from(*m))));
        let window = Window(window);
        let span = (window.start(), window.start().plus(Duration::from_secs(200)));
        ladder.take_in(&RttPart { kind: kind(method), window, span, digest: &digest, beats: &[] });
    }

    #[test]
    fn an_answer_that_may_have_waited_moves_the_minimum_only() {
        let mut ladder = Ladder::default();
        take_in(&mut ladder, 1, "lone-ack", &[41_000, 29_000, 80_000]);
        let told = |ladder: &Ladder| {
            let samples = &ladder.rung(Layer::TcpData).unwrap().samples;
            [samples.min(), samples.quantile(0.5)].map(|d| d.unwrap().as_millis())
        };
        assert_eq!(told(&ladder), [29, 41], "nothing better is known");
        take_in(&mut ladder, 1, "ack", &[30_000, 31_000, 32_000, 33_000, 34_000]);
        assert_eq!(told(&ladder), [29, 32]);
        assert_eq!(ladder.rung(Layer::TcpData).unwrap().methods(), ["ack", "lone-ack"]);
    }

    #[test]
    fn confidence_wants_time_and_not_only_numbers() {
        let mut ladder = Ladder::default();
        let mut word = |window, n| {
            take_in(&mut ladder, window, "ack", &vec![30_000; n]);
            ladder.rung(Layer::TcpData).unwrap().confidence().name()
        };
        assert_eq!(
            [word(0, 4), word(0, 1), word(0, 100), word(1, 1), word(3, 1)],
            ["thin", "fair", "fair", "fair", "firm"]
        );
    }

    #[test]
    fn more_windows_than_a_day_has_become_longer() {
        let mut ladder = Ladder::default();
        for window in 0..1_000 {
            take_in(&mut ladder, window, "ack", &[if window < 500 { 30_000 } else { 90_000 }; 3]);
        }
        let rung = ladder.rung(Layer::TcpData).unwrap();
        assert_eq!((rung.windows(), rung.samples.n()), (250, 3_000));
        assert_eq!(rung.steps().iter().map(|s| s.at.0).collect::<Vec<_>>(), [500]);
    }

    proptest! {
        /// The same parts in any order and from any hands give the same rung.
        #[test]
        fn parts_in_any_order(
            parts in proptest::collection::vec(
                (0i32..2_000, any::<bool>(), proptest::collection::vec(1u32..2_000_000, 1..30)),
                1..400,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let take_all = |parts: &mut dyn Iterator<Item = &(i32, bool, Vec<u32>)>| {
                let mut ladder = Ladder::default();
                parts.for_each(|(window, lone, us)| take_in(&mut ladder, *window, if *lone { "lone-ack" } else { "ack" }, us));
                ladder
            };
            let told = |ladder: &Ladder| {
                let rung = ladder.rung(Layer::TcpData).unwrap().clone();
                let quantiles = [0.05, 0.5, 0.95].map(|q| rung.samples.quantile(q));
                (quantiles, rung.samples.min(), rung.samples.n(), rung.windows, rung.span, rung.methods)
            };
            let whole = told(&take_all(&mut parts.iter()));
            prop_assert_eq!(&told(&take_all(&mut parts.iter().rev())), &whole);
            // Nor does it matter who saw which.
            let (one, other) = parts.split_at(cut.index(parts.len()));
            for (one, other) in [(one, other), (other, one)] {
                let mut ladder = take_all(&mut one.iter());
                ladder.merge(take_all(&mut other.iter()));
                prop_assert_eq!(&told(&ladder), &whole);
            }
        }
    }
}
