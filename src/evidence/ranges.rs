//! The shortest round trip to an endpoint from each of the company's sites.
//!
//! Reads: round trips with the place where they were captured. Emits: [`Ranges`], at most [`KEPT`], which depend on the
//! set of round trips only. Empty where there is but one site. Does not: judge.

use super::CitedFlow;
use crate::base::Emptiable;
use crate::intel::GeoPoint;

/// Sites kept of an endpoint: those first by latitude and longitude.
const KEPT: usize = 8;
/// Steps of a degree by which sites are told apart: some ten metres.
const STEPS: f64 = 1e4;

/// Round trips from one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Range {
    at: (i32, i32),
    /// How many.
    pub n: u64,
    /// The shortest, in microseconds, and its flow.
    pub least: (u32, CitedFlow),
}

/// Round trips from each site, ascending by place.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ranges(Vec<Range>);

impl Range {
    /// Where the site is.
    #[must_use]
    pub fn site(&self) -> Option<GeoPoint> {
        GeoPoint::new(f64::from(self.at.0) / STEPS, f64::from(self.at.1) / STEPS).ok()
    }

    /// The shortest, in ms.
    #[must_use]
    pub fn ms(&self) -> f64 {
        f64::from(self.least.0) / 1e3
    }
}

impl Emptiable for Ranges {
    const EMPTY: &'static Self = &Self(Vec::new());

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Ranges {
    /// Takes in so many round trips from a site, the shortest of them with its flow.
    pub(super) fn add(&mut self, site: GeoPoint, n: u64, least: (u32, CitedFlow)) {
        #[expect(clippy::cast_possible_truncation, reason = "degrees, in ten thousandths")]
        let step = |degrees: f64| (degrees * STEPS).round() as i32;
        self.put(Range { at: (step(site.lat()), step(site.lon())), n, least });
    }

    /// Takes in what another has: the same as if it had all been told to this one.
    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|range| self.put(range));
    }

    fn put(&mut self, range: Range) {
        match self.0.binary_search_by_key(&range.at, |known| known.at) {
            Ok(place) => {
                if let Some(known) = self.0.get_mut(place) {
                    known.n = known.n.saturating_add(range.n);
                    known.least = known.least.min(range.least);
                }
            }
            Err(place) => {
                self.0.insert(place, range);
                self.0.truncate(KEPT);
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Range> + Clone {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FiveTuple, Peer, Protocol};
    use proptest::prelude::*;

    fn flow(port: u16) -> CitedFlow {
        let peer = |port| Peer { ip: [192, 0, 2, 1].into(), port };
        CitedFlow::of(&FiveTuple { orig: peer(port), resp: peer(443), proto: Protocol::TCP })
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(
            seen in proptest::collection::vec((0i8..12, 1u64..9, 1u32..1_000, 0u16..50), 1..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let of = |seen: &mut dyn Iterator<Item = &(i8, u64, u32, u16)>| {
                let mut ranges = Ranges::default();
                seen.for_each(|(lat, n, us, port)| {
                    ranges.add(GeoPoint::new(f64::from(*lat), 7.25).unwrap(), *n, (*us, flow(*port)));
                });
                ranges
            };
            let whole = of(&mut seen.iter());
            prop_assert!(whole.iter().count() <= KEPT && whole.iter().all(|range| range.site().is_some()));
            prop_assert_eq!(&of(&mut seen.iter().rev()), &whole);
            let (one, other) = seen.split_at(cut.index(seen.len()));
            let mut merged = of(&mut one.iter());
            merged.merge(of(&mut other.iter()));
            prop_assert_eq!(&merged, &whole);
        }
    }
}
