//! What was measured of one flow beyond its handshakes: any number of round trips in bounded memory.
//!
//! What belongs to the window of five minutes that goes on is kept apart until it is told; after that only the sum stays.

use crate::base::{Beat, FlowDigest, Layer, RttKind, RttPart, RttSample, Side, Timestamp, WideDigest, Window};
use crate::meter::TcpData;

/// Kinds of round trips told apart in one flow, beside the usual ones; of more, the first stay.
const MAX_KINDS: usize = 16;

/// What is measured of nearly every connection: to name these by a number saves 24 bytes a sum.
const USUAL: [RttKind; 2 * TcpData::METHODS.len()] = {
    let [a, b, c] = TcpData::METHODS;
    [
        data(Side::Client, a),
        data(Side::Client, b),
        data(Side::Client, c),
        data(Side::Server, a),
        data(Side::Server, b),
        data(Side::Server, c),
    ]
};

const fn data(side: Side, method: &'static str) -> RttKind {
    RttKind { side, layer: Layer::TcpData, method, ambiguous: false }
}

/// Round trips of one kind.
#[derive(Debug)]
struct Sum {
    /// A number among the usual ones, or behind them.
    kind: u8,
    /// Not told yet.
    fresh: FlowDigest,
    /// The first and the last of those.
    span: (Timestamp, Timestamp),
    /// Told.
    before: Option<Box<FlowDigest>>,
}

/// The sums of a flow that has some.
#[derive(Debug, Default)]
struct Sums {
    sums: Vec<Sum>,
    rare: Option<Box<Rare>>,
    /// Where the fresh ones belong, if there are any.
    window: Option<Window>,
}

/// What few flows have.
#[derive(Debug, Default)]
struct Rare {
    /// Kinds that are not usual.
    kinds: Vec<RttKind>,
    /// The shortest of each five seconds of what is fresh, of the one kind of which such things are counted: of that which
    /// was there first, should there be more.
    beats: Vec<Beat>,
    beating: Option<u8>,
}

/// The sums of one flow; most flows have none.
#[derive(Debug, Default)]
pub(super) struct Measured(Option<Box<Sums>>);

impl Measured {
    /// Takes a round trip in.
    pub(super) fn add(&mut self, sample: &RttSample) {
        self.0.get_or_insert_default().add(sample);
    }

    /// From when on what is fresh has to be told.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let window = self.0.as_ref()?.window?;
        Some(Window(window.0.saturating_add(1)).start())
    }

    /// Tells what is fresh.
    pub(super) fn tell(&mut self, told: &mut impl FnMut(RttPart<'_>)) {
        if let Some(sums) = &mut self.0 {
            sums.tell(told);
        }
    }

    /// The whole of each kind.
    pub(super) fn into_digests(self) -> Vec<(RttKind, WideDigest)> {
        let Some(Sums { sums, rare, .. }) = self.0.map(|sums| *sums) else { return Vec::new() };
        let whole = |sum: Sum| {
            let mut all = WideDigest::default();
            sum.before.into_iter().for_each(|before| all.merge(&before));
            all.merge(&sum.fresh);
            Some((kind_of(sum.kind, rare.as_deref())?, all))
        };
        sums.into_iter().filter_map(whole).collect()
    }
}

impl Sums {
    fn add(&mut self, sample: &RttSample) {
        let kind = sample.kind();
        let Some(number) = self.number_of(kind) else { return };
        let place = self.sums.iter().position(|sum| sum.kind == number);
        let place = place.unwrap_or_else(|| self.open(number));
        let Some(sum) = self.sums.get_mut(place) else { return };
        let (first, last) = if sum.fresh.n() == 0 { (sample.at, sample.at) } else { sum.span };
        sum.span = (first.min(sample.at), last.max(sample.at));
        sum.fresh.add(sample.rtt);
        if Beat::counts(&kind) {
            let rare = self.rare.get_or_insert_default();
            if *rare.beating.get_or_insert(number) == number {
                Beat::of(sample.at, sample.rtt).put_into(&mut rare.beats);
            }
        }
        // A loop that closed before the window began belongs to nothing that is still open: it counts for this one.
        self.window.get_or_insert(Window::of(sample.at));
    }

    /// The number of a kind, unless there are too many.
    fn number_of(&mut self, kind: RttKind) -> Option<u8> {
        let usual = USUAL.iter().position(|known| *known == kind);
        let number = usual.or_else(|| {
            let kinds = &mut self.rare.get_or_insert_default().kinds;
            let place = kinds.iter().position(|known| *known == kind).or_else(|| {
                (kinds.len() < MAX_KINDS).then(|| {
                    kinds.push(kind);
                    kinds.len() - 1
                })
            });
            Some(place? + USUAL.len())
        });
        u8::try_from(number?).ok()
    }

    fn open(&mut self, kind: u8) -> usize {
        self.sums.reserve_exact(1);
        let at = Timestamp::default();
        self.sums.push(Sum { kind, fresh: FlowDigest::default(), span: (at, at), before: None });
        self.sums.len() - 1
    }

    fn tell(&mut self, told: &mut impl FnMut(RttPart<'_>)) {
        let Some(window) = self.window.take() else { return };
        let rare = self.rare.as_deref();
        for sum in self.sums.iter_mut().filter(|sum| sum.fresh.n() > 0) {
            let Some(kind) = kind_of(sum.kind, rare) else { continue };
            let beats = rare.filter(|rare| rare.beating == Some(sum.kind)).map_or(&[][..], |rare| &rare.beats);
            told(RttPart { kind, window, span: sum.span, digest: &sum.fresh, beats });
            // Who has been silent since keeps one sum and no room for another.
            let fresh = std::mem::take(&mut sum.fresh);
            match &mut sum.before {
                Some(before) => before.merge(&fresh),
                none => *none = Some(Box::new(fresh)),
            }
        }
        self.rare.iter_mut().for_each(|rare| rare.beats.clear());
    }
}

/// The kind of a number.
fn kind_of(number: u8, rare: Option<&Rare>) -> Option<RttKind> {
    let number = usize::from(number);
    USUAL.get(number).or_else(|| rare?.kinds.get(number - USUAL.len())).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Layer, Side};
    use std::time::Duration;

    fn sample(second: i64, ms: u64) -> RttSample {
        RttSample {
            at: Timestamp::from_nanos(second * 1_000_000_000),
            side: Side::Client,
            rtt: Duration::from_millis(ms),
            layer: Layer::TcpData,
            method: "ack",
            ambiguous: false,
        }
    }

    #[test]
    fn each_round_trip_is_told_once_and_none_is_forgotten() {
        let (mut measured, mut told) = (Measured::default(), Vec::new());
        for second in 0..10_000 {
            let sample = sample(second, 20 + u64::try_from(second % 700).unwrap());
            if measured.until().is_some_and(|until| sample.at >= until) {
                measured.tell(&mut |part| told.push((part.window.0, part.digest.n(), part.digest.min())));
            }
            measured.add(&sample);
        }
        measured.tell(&mut |part| told.push((part.window.0, part.digest.n(), part.digest.min())));
        assert_eq!(told.iter().map(|(_, n, _)| n).sum::<u64>(), 10_000);
        assert!(told.iter().map(|(window, ..)| *window).eq(0..34), "each window once: {told:?}");
        assert_eq!(told[1].2, Some(Duration::from_millis(320)));
        let all = measured.into_digests();
        assert_eq!((all.len(), all[0].1.n(), all[0].1.min()), (1, 10_000, Some(Duration::from_millis(20))));
    }

    #[test]
    fn kinds_are_bounded() {
        let mut measured = Measured::default();
        for layer in Layer::ALL.into_iter().filter(|layer| *layer != Layer::TcpData) {
            measured.add(&RttSample { layer, ..sample(0, 1) });
        }
        assert_eq!(measured.into_digests().len(), MAX_KINDS);
    }
}
