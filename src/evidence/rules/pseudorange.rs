//! S04 pseudorange: whether round trips from several of the company's sites agree with the endpoint's place.
//!
//! A hidden leg, a slow line or a full queue is in all of them alike, as a receiver's clock is wrong by the same for all
//! satellites; the differences between them tell where the machine is that the address belongs to. So the rule says
//! whether that machine is where the address says, whatever is behind it; how long the common part is, absolute-excess
//! weighs. Sees: misplaced-address, which it tells from a relay at the right place. Weak: capped at 6, and never enough
//! alone. Errs: where detours differ by site; where the sites lie in one direction. Evaded by: different delays added
//! for each site, which then fit no place at all.
//! Numbers: science note S04; Katz-Bassett et al., IMC 2006 (4/9 c); widths are those of absolute-excess.

use super::{Family, Observation, Rule, over};
use crate::evidence::likelihood::{IMPOSSIBLE, ln_exponential, ln_mix, ln_sum};
use crate::evidence::{Case, CitedFlow, Hypothesis, Question, Range};
use crate::intel::{Distance, GeoPoint, distance_km};

pub(super) static RULE: Rule = Rule {
    name: "pseudorange",
    signal: "S04",
    question: Question::Connection,
    family: Family::Physics,
    weak: true,
    cap: 6.0,
    observe,
    tell,
};

/// Round trips that a minimum must rest on before it is looked at (science note 0.2: never a single one).
const LEAST_SAMPLES: u64 = 3;
/// Sites nearer to each other than this see the same, in km: 15 ms of round trip, as much as distances are known to.
const APART: f64 = 1_000.0;
/// The common part is anything up to this, in ms: beyond a geostationary satellite and a full queue.
const MOST_COMMON: f64 = 1_500.0;
/// Share of honest ways of which one makes a detour that none of this foresees (design value).
const DETOUR: f64 = 0.03;
/// Mean round trip from a site to the nearest of many places that serve one address (design value, ms).
const NEAR: f64 = 20.0;
/// Places that are less likely by no more than this, in natural logarithms, are not told apart.
const HARDLY_LESS: f64 = 2.0;
/// Degrees between the points of the world that are tried.
const GRID: u8 = 10;

/// Round trips from several sites.
struct Seen {
    /// Site, shortest round trip in ms, and its flow.
    ways: Vec<(GeoPoint, f64, CitedFlow)>,
    n: u64,
}

/// How well a place explains them.
struct Fit {
    ln_likelihood: f64,
    /// What is common to all ways, in ms.
    common: f64,
    /// The greatest difference from what place and common part make, in ms.
    off: f64,
}

impl Seen {
    fn of(case: &Case<'_>) -> Option<Self> {
        let known = case.account.ranges.iter().filter(|range| range.n >= LEAST_SAMPLES);
        let way = |range: &Range| Some((range.site()?, range.ms(), range.least.1));
        let ways: Vec<_> = known.clone().filter_map(way).collect();
        let (first, rest) = ways.split_first()?;
        let apart = |other: &(GeoPoint, f64, CitedFlow)| distance_km(first.0, other.0) >= APART;
        rest.iter().any(apart).then(|| Self { n: known.map(|range| range.n).sum(), ways })
    }

    /// The likelihood of all round trips from a place, whatever they have in common.
    fn fit(&self, place: GeoPoint) -> Fit {
        let ways = || {
            self.ways.iter().map(|(site, ms, _)| {
                let km = distance_km(*site, place);
                let usual = km / Distance::USUAL_KM_PER_MS;
                let too_fast = *ms < km / Distance::LIGHT_KM_PER_MS - 1.0;
                (ms - usual, 10.0 + 0.15 * usual, too_fast)
            })
        };
        let weight: f64 = ways().map(|(_, sigma, _)| sigma.powi(-2)).sum();
        let common = ways().map(|(rest, sigma, _)| rest / sigma.powi(2)).sum::<f64>() / weight;
        let off = ways().map(|(rest, ..)| (rest - common).abs()).fold(0.0, f64::max);
        if ways().any(|(.., too_fast)| too_fast) || !(-20.0..MOST_COMMON).contains(&common) {
            return Fit { ln_likelihood: IMPOSSIBLE, common, off };
        }
        let tau = 2.0 * std::f64::consts::PI;
        let each =
            |(rest, sigma, _): (f64, f64, bool)| -0.5 * ((rest - common) / sigma).powi(2) - (sigma * tau.sqrt()).ln();
        let over_common = 0.5 * (tau / weight).ln() - MOST_COMMON.ln();
        Fit { ln_likelihood: ways().map(each).sum::<f64>() + over_common, common, off }
    }

    /// The likelihood of all round trips from a place of which nothing is known but that people live at its latitude.
    fn ln_anywhere(&self) -> f64 {
        let (terms, weights): (Vec<f64>, Vec<f64>) = points()
            .map(|point| {
                let area = point.lat().to_radians().cos();
                (self.fit(point).ln_likelihood + area.ln(), area)
            })
            .unzip();
        ln_sum(terms.iter().copied()) - weights.iter().sum::<f64>().ln()
    }

    /// The likelihood where each way ends near its site, but for what is common: one address that is served from many
    /// places, or a provider that ends TCP near the tap.
    fn ln_everywhere(&self) -> f64 {
        let least = self.ways.iter().map(|(_, ms, _)| *ms).fold(f64::INFINITY, f64::min);
        let each: f64 = self.ways.iter().map(|(_, ms, _)| ln_exponential(ms - least, NEAR)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most eight")]
        let ways = self.ways.len() as f64;
        each + (NEAR / ways).ln() - MOST_COMMON.ln()
    }

    /// The place that explains them with the least left over, found from the best of the grid in smaller and smaller
    /// steps; and how far from it another one may be that is hardly less likely, in km.
    fn best(&self) -> Option<(GeoPoint, f64)> {
        let left = |point: &GeoPoint| {
            let fit = self.fit(*point);
            if fit.ln_likelihood > IMPOSSIBLE { fit.off } else { f64::INFINITY }
        };
        let best = |points: Vec<GeoPoint>| points.into_iter().min_by(|a, b| left(a).total_cmp(&left(b)));
        let mut at = best(points().collect())?;
        let mut step = f64::from(GRID) / 2.0;
        while step > 0.1 {
            let around = [0.0, -step, step].into_iter().flat_map(|lat| [0.0, -step, step].map(|lon| (lat, lon)));
            let near = around.filter_map(|(lat, lon)| {
                let turned = (at.lon() + lon + 180.0).rem_euclid(360.0) - 180.0;
                GeoPoint::new((at.lat() + lat).clamp(-90.0, 90.0), turned).ok()
            });
            at = best(near.collect())?;
            step /= 2.0;
        }
        let likely = self.fit(at).ln_likelihood - HARDLY_LESS;
        let others = points().filter(|point| self.fit(*point).ln_likelihood >= likely);
        Some((at, others.map(|point| distance_km(point, at)).fold(f64::from(GRID) / 2.0 * 111.2, f64::max)))
    }
}

/// Points all over the Earth between 60 degrees south and 75 north.
fn points() -> impl Iterator<Item = GeoPoint> {
    let steps = |from: i16, to: i16| (from..to).step_by(usize::from(GRID)).map(f64::from);
    steps(-55, 76).flat_map(move |lat| steps(-175, 180).filter_map(move |lon| GeoPoint::new(lat, lon).ok()))
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let seen = Seen::of(case)?;
    let place = case.place.and_then(|place| place.point)?;
    let fit = seen.fit(place);
    let (anywhere, everywhere) = (seen.ln_anywhere(), seen.ln_everywhere());
    let here = ln_mix(&[(1.0 - DETOUR, fit.ln_likelihood), (DETOUR, anywhere)]);
    let access = case.expected.map_or(0.0, |expected| expected.access_ms);
    Some(Observation {
        value: fit.off,
        unit: "ms",
        n: seen.n,
        ln_likelihood: over(Question::Connection, |h| match h {
            Hypothesis::Misplaced => anywhere,
            // Where a service's exit is its lists say, more or less.
            Hypothesis::CommercialVpn => ln_mix(&[(0.7, here), (0.3, anywhere)]),
            Hypothesis::PrivacyRelay => ln_mix(&[(0.4, here), (0.3, anywhere), (0.3, everywhere)]),
            Hypothesis::Accelerator => ln_mix(&[(0.5, here), (0.5, everywhere)]),
            _ => here,
        }),
        hidden_leg_ms: Some((Hypothesis::HomeExit, fit.common - access)),
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let (Some(seen), Some(place)) = (Seen::of(case), case.place.and_then(|place| place.point)) else {
        return (String::new(), Vec::new());
    };
    let fit = seen.fit(place);
    let mut text = if fit.ln_likelihood <= IMPOSSIBLE {
        format!("From {} of the company's sites its round trips fit its place in no way.", seen.ways.len())
    } else {
        format!(
            "Round trips from {} of the company's sites agree with its place to within {:.0} ms once {:.0} ms are taken \
             off all of them.",
            seen.ways.len(),
            fit.off,
            fit.common
        )
    };
    // Two sites leave a line of places open.
    let better = |best: &GeoPoint| seen.fit(*best).ln_likelihood > fit.ln_likelihood + HARDLY_LESS;
    let best =
        seen.best().filter(|(best, _)| seen.ways.len() > 2 && distance_km(*best, place) >= APART && better(best));
    if let Some((best, within)) = best {
        text.push_str(&format!(
            " A place around {:.0},{:.0} fits better, or one up to {:.0},000 km from there.",
            best.lat(),
            best.lon(),
            (within / 1e3).ceil()
        ));
    }
    (text, seen.ways.iter().take(4).map(|(.., flow)| flow.community_id()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Account, Site};
    use crate::flow::{FiveTuple, Peer, Protocol};
    use crate::intel::{Kind, Place};

    const ASHBURN: &str = "39.04,-77.49";
    const SAN_JOSE: &str = "37.34,-121.89";
    const MIAMI: &str = "25.76,-80.19";
    const OMAHA: &str = "41.26,-95.93";
    const FRANKFURT: &str = "50.11,8.68";
    const BERLIN: &str = "52.52,13.41";

    fn point(text: &str) -> GeoPoint {
        text.parse().unwrap()
    }

    /// What is said where round trips from these sites end at `end`, with so much in common and so much more by site.
    fn said(sites: &[&str], end: &str, common: f64, more: &[f64]) -> Option<(Observation, String)> {
        let mut account = Account::default();
        let peer = |port| Peer { ip: [198, 51, 100, 1].into(), port };
        let flow = CitedFlow::of(&FiveTuple { orig: peer(50_000), resp: peer(443), proto: Protocol::TCP });
        for (i, site) in sites.iter().enumerate() {
            let km = distance_km(point(site), point(end));
            let ms = km / Distance::USUAL_KM_PER_MS + common + more.get(i).copied().unwrap_or_default();
            let us = u32::try_from(std::time::Duration::from_secs_f64(ms / 1e3).as_micros()).unwrap();
            account.ranges.make().add(point(site), 20, (us, flow));
        }
        let place = Place { point: Some(point(OMAHA)), kind: Kind::Residential, ..Place::default() };
        let case = Case::new(&account, Some(&place), &Site::default());
        let seen = observe(&case)?;
        let (text, _) = tell(&case, &seen);
        Some((seen, text))
    }

    /// What it says for a relay at the place against an address that is elsewhere.
    fn here(seen: &Observation) -> f64 {
        seen.ln_likelihood_of(Hypothesis::HomeExit, RULE.cap) - seen.ln_likelihood_of(Hypothesis::Misplaced, RULE.cap)
    }

    #[test]
    fn a_leg_that_is_common_to_all_leaves_the_place_where_it_is() {
        for common in [12.0, 200.0] {
            let (seen, text) = said(&[ASHBURN, SAN_JOSE, MIAMI], OMAHA, common, &[4.0, -3.0, 6.0]).unwrap();
            assert!(here(&seen) > 2.0, "{} {text}", here(&seen));
            let (_, leg) = seen.hidden_leg_ms.unwrap();
            assert!((leg + 15.0 - common).abs() < 5.0, "{leg}");
            // It does not decide between a leg and its innocent causes: those are in all ways, too.
            let of = |h| seen.ln_likelihood_of(h, RULE.cap);
            assert_eq!(of(Hypothesis::HomeExit), of(Hypothesis::Direct));
            assert_eq!(of(Hypothesis::HomeProxy), of(Hypothesis::Bufferbloat));
        }
    }

    #[test]
    fn an_address_that_is_elsewhere_is_found_there() {
        let (seen, text) = said(&[ASHBURN, SAN_JOSE, FRANKFURT], BERLIN, 14.0, &[3.0, 0.0, 5.0]).unwrap();
        assert!(here(&seen) < -3.0, "{} {text}", here(&seen));
        assert!(text.contains("fits better"), "{text}");
        // From America all of Europe lies in one direction: too little to tell by.
        let (seen, text) = said(&[ASHBURN, SAN_JOSE, MIAMI], BERLIN, 14.0, &[3.0, 0.0, 5.0]).unwrap();
        assert!(here(&seen).abs() < 3.0 && !text.contains("fits better"), "{} {text}", here(&seen));
    }

    #[test]
    fn two_sites_say_less_and_one_or_neighbours_nothing() {
        let (seen, _) = said(&[ASHBURN, SAN_JOSE], OMAHA, 200.0, &[]).unwrap();
        assert!((0.3..3.0).contains(&here(&seen)), "{}", here(&seen));
        assert!(said(&[ASHBURN], OMAHA, 200.0, &[]).is_none());
        assert!(said(&[ASHBURN, "40.71,-74.01"], OMAHA, 200.0, &[]).is_none());
    }

    #[test]
    fn a_relay_that_is_near_everywhere_is_no_exit() {
        let near = [ASHBURN, SAN_JOSE, MIAMI].map(|site| 9.0 - distance_km(point(site), point(OMAHA)) / 66.6);
        let (seen, _) = said(&[ASHBURN, SAN_JOSE, MIAMI], OMAHA, 0.0, &near).unwrap();
        let of = |h| seen.ln_likelihood_of(h, RULE.cap);
        assert!(of(Hypothesis::PrivacyRelay) > of(Hypothesis::HomeExit) + 3.0);
    }

    #[test]
    fn a_place_that_light_does_not_reach_is_impossible() {
        let (seen, text) = said(&[ASHBURN, SAN_JOSE], ASHBURN, 9.0, &[]).unwrap();
        assert!((-4.0..-3.0).contains(&here(&seen)) && text.contains("in no way"), "{} {text}", here(&seen));
    }
}
