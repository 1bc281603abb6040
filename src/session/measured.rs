//! What was measured of one flow beyond its handshakes: any number of round trips in bounded memory.
//!
//! What belongs to the window of five minutes that goes on is kept apart until it is told; after that only the sum stays.

use crate::base::{Beat, FlowDigest, RttKind, RttPart, RttSample, Timestamp, WideDigest, Window};

/// Kinds of round trips told apart in one flow; of more, the first stay.
const MAX_KINDS: usize = 16;

/// Round trips of one kind.
#[derive(Debug)]
struct Sum {
    kind: RttKind,
    /// Not told yet.
    fresh: FlowDigest,
    /// The first and the last of those.
    span: (Timestamp, Timestamp),
    /// The shortest of each five seconds of those, where such things are counted.
    beats: Vec<Beat>,
    /// Told.
    before: Option<Box<FlowDigest>>,
}

/// The sums of one flow.
#[derive(Debug, Default)]
pub(super) struct Measured {
    sums: Vec<Sum>,
    /// Where the fresh ones belong, if there are any.
    window: Option<Window>,
}

impl Measured {
    /// Takes a round trip in.
    pub(super) fn add(&mut self, sample: &RttSample) {
        let kind = sample.kind();
        let place = self.sums.iter().position(|sum| sum.kind == kind).or_else(|| self.open(kind));
        let Some(sum) = place.and_then(|place| self.sums.get_mut(place)) else { return };
        let (first, last) = if sum.fresh.n() == 0 { (sample.at, sample.at) } else { sum.span };
        sum.span = (first.min(sample.at), last.max(sample.at));
        sum.fresh.add(sample.rtt);
        if Beat::counts(&kind) {
            Beat::of(sample.at, sample.rtt).put_into(&mut sum.beats);
        }
        // A loop that closed before the window began belongs to nothing that is still open: it counts for this one.
        self.window.get_or_insert(Window::of(sample.at));
    }

    fn open(&mut self, kind: RttKind) -> Option<usize> {
        if self.sums.len() == MAX_KINDS {
            return None;
        }
        self.sums.reserve_exact(1);
        let at = Timestamp::default();
        self.sums.push(Sum { kind, fresh: FlowDigest::default(), span: (at, at), beats: Vec::new(), before: None });
        Some(self.sums.len() - 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// From when on what is fresh has to be told.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.window.map(|window| Window(window.0.saturating_add(1)).start())
    }

    /// Tells what is fresh.
    pub(super) fn tell(&mut self, told: &mut impl FnMut(RttPart<'_>)) {
        let Some(window) = self.window.take() else { return };
        for sum in self.sums.iter_mut().filter(|sum| sum.fresh.n() > 0) {
            told(RttPart { kind: sum.kind, window, span: sum.span, digest: &sum.fresh, beats: &sum.beats });
            sum.beats.clear();
            // Who has been silent since keeps one sum and no room for another.
            let fresh = std::mem::take(&mut sum.fresh);
            match &mut sum.before {
                Some(before) => before.merge(&fresh),
                none => *none = Some(Box::new(fresh)),
            }
        }
    }

    /// The whole of each kind.
    pub(super) fn into_digests(self) -> Vec<(RttKind, WideDigest)> {
        let whole = |sum: Sum| {
            let mut all = WideDigest::default();
            sum.before.into_iter().for_each(|before| all.merge(&before));
            all.merge(&sum.fresh);
            (sum.kind, all)
        };
        self.sums.into_iter().map(whole).collect()
    }
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
        for layer in Layer::ALL {
            measured.add(&RttSample { layer, ..sample(0, 1) });
        }
        assert_eq!(measured.into_digests().len(), MAX_KINDS);
    }
}
