//! How the way to an endpoint changes its length from five seconds to five seconds.
//!
//! Reads: [`Beat`]s in any order. Emits: what is left of them above the way's own length, and whether the way changes
//! each 15 seconds as one by a low orbit does ([`Comb`]). Bounded: [`KEPT`] beats, of which the latest stay; what is kept
//! depends on the set of beats only. Does not: judge, nor compare endpoints.
//! References: Tanveer et al., "Making Sense of Constellations", CoNEXT 2023 (one scheduler, the same seconds of each
//! minute everywhere); arXiv 2601.08439 (longer round trips at both ends of each 15 seconds).

use crate::base::Beat;

/// Four hours in which something passed; 8 bytes each.
const KEPT: usize = 2_880;
/// Beats between two changes of the satellite.
const TOOTH: u32 = 3;
/// Which beats begin with such a change, by the rest of their number.
const CHANGE: u32 = 2;
/// Steps within a tooth and between teeth that a comb must rest on.
const LEAST_STEPS: [usize; 2] = [60, 30];

/// Round trips over time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Ascending.
    beats: Vec<Beat>,
}

/// Whether neighbouring beats differ more where a low orbit changes satellites than where it doesn't.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comb {
    /// Steps from one beat to the next that were compared: those at changes.
    pub changes: usize,
    /// By how many standard deviations the steps at changes rank higher than the others (Mann and Whitney 1947).
    pub deviations: f64,
    /// Median step at changes and elsewhere, in ms.
    pub steps_ms: [f64; 2],
}

impl Pulse {
    /// Takes in a beat.
    pub fn add(&mut self, beat: Beat) {
        if self.beats.len() >= KEPT && self.beats.first().is_some_and(|first| beat.number < first.number) {
            return;
        }
        if self.beats.is_empty() {
            self.beats.reserve_exact(1);
        }
        beat.put_into(&mut self.beats);
        if self.beats.len() > KEPT {
            self.beats.remove(0);
        }
    }

    /// Takes in what another has: the same as if it had all been told to this one.
    pub fn merge(&mut self, other: &Self) {
        other.beats.iter().for_each(|beat| self.add(*beat));
    }

    /// The beats, ascending.
    #[must_use]
    pub fn beats(&self) -> &[Beat] {
        &self.beats
    }

    /// The comb of a low orbit, where there are beats enough to see one or that there is none.
    #[must_use]
    pub fn comb(&self) -> Option<Comb> {
        let (mut within, mut between) = (Vec::new(), Vec::new());
        for (one, next) in self.beats.iter().zip(self.beats.iter().skip(1)) {
            if next.number == one.number + 1 {
                let step = one.tenths.abs_diff(next.tenths);
                if next.number % TOOTH == CHANGE { &mut between } else { &mut within }.push(step);
            }
        }
        let [enough_within, enough_between] = LEAST_STEPS;
        if within.len() < enough_within || between.len() < enough_between {
            return None;
        }
        let median = |steps: &mut Vec<u16>| {
            steps.sort_unstable();
            steps.get(steps.len() / 2).map_or(0.0, |step| f64::from(*step) / 10.0)
        };
        let steps_ms = [median(&mut between), median(&mut within)];
        Some(Comb { changes: between.len(), deviations: higher(&between, &within), steps_ms })
    }
}

/// By how many standard deviations `these` rank higher than `those`; both ascending. Equal ones share their rank.
fn higher(these: &[u16], those: &[u16]) -> f64 {
    let (n, m) = (number(these.len()), number(those.len()));
    let mut wins = 0.0;
    for step in these {
        let below = those.partition_point(|other| other < step);
        let equal = those.partition_point(|other| other <= step) - below;
        wins += number(below) + number(equal) / 2.0;
    }
    let mut all = [these, those].concat();
    all.sort_unstable();
    let ties: f64 = all.chunk_by(PartialEq::eq).map(|equal| number(equal.len()).powi(3) - number(equal.len())).sum();
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance > 0.0 { (wins - n * m / 2.0) / variance.sqrt() } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
const fn number(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pulse(tenths: impl Iterator<Item = (u32, u16)>) -> Pulse {
        let mut pulse = Pulse::default();
        tenths.for_each(|(number, tenths)| pulse.add(Beat { number, tenths, n: 1 }));
        pulse
    }

    /// A number below `most` that looks like chance.
    fn chance(number: u32, most: u32) -> u16 {
        u16::try_from((number.wrapping_mul(2_654_435_761) >> 12) % most).unwrap()
    }

    #[test]
    fn a_path_that_changes_each_15_seconds_shows_teeth_and_others_do_not() {
        let from = 354_492_000;
        let beats = from..from + 240;
        let teeth = pulse(beats.clone().map(|b| (b, 300 + 8 * chance((b + 1) / 3, 16) + chance(b, 20))));
        let comb = teeth.comb().unwrap();
        assert!(comb.deviations > 6.0 && comb.steps_ms[0] > comb.steps_ms[1], "{comb:?}");
        let noise = pulse(beats.clone().map(|b| (b, 300 + chance(b, 100)))).comb().unwrap();
        assert!(noise.deviations.abs() < 2.5, "{noise:?}");
        // Teeth of the same length elsewhere, as a clock that is wrong would have them, are none.
        let astray = pulse(beats.clone().map(|b| (b, 300 + 8 * chance(b / 3, 16) + chance(b, 20)))).comb().unwrap();
        assert!(astray.deviations < 0.0, "{astray:?}");
        let still = pulse(beats.map(|b| (b, 300))).comb().unwrap();
        assert_eq!(still.deviations, 0.0);
        assert_eq!(pulse((0..100).map(|b| (b * 2, 300))).comb(), None, "no two beats are neighbours");
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(
            beats in proptest::collection::vec((0u32..9_000, 1u16..9_000), 1..6_000),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = pulse(beats.iter().copied());
            prop_assert_eq!(&pulse(beats.iter().rev().copied()), &whole);
            let (one, other) = beats.split_at(cut.index(beats.len()));
            let mut merged = pulse(one.iter().copied());
            merged.merge(&pulse(other.iter().copied()));
            prop_assert_eq!(&merged, &whole);
        }
    }
}
