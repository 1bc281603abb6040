//! From one endpoint's account to a judgement: every rule looks, every hypothesis competes.
//!
//! The observations of the rules are different measurements, and each hypothesis says how likely each of them is, so
//! their log likelihoods add without counting one fact twice: the gap tells the layers apart, the excess the place.
//! Reads: an account, its place, the site. Emits: one [`Finding`]. Thresholds: science note 6.8.

use super::likelihood::ln_sum;
use super::rules::{Observation, RULES, Rule};
use super::{Account, Evidence, Finding, Hypothesis, Innocent, Policy, Severity, Verdict, signed};
use crate::base::Layer;
use crate::intel::{Distance, Expected, GeoPoint, Kind, Place};
use ring::digest::{SHA256, digest};
use std::net::IpAddr;

/// What is known of the site.
#[derive(Debug, Clone, Copy, Default)]
pub struct Site {
    /// Where the capture point is.
    pub location: Option<GeoPoint>,
    /// Whether any place database was given.
    pub has_places: bool,
    /// What the site decides for itself.
    pub policy: Policy,
}

/// One endpoint as the rules see it.
#[derive(Debug)]
pub struct Case<'a> {
    /// Its account.
    pub account: &'a Account,
    /// Its place.
    pub place: Option<&'a Place>,
    /// What the place allows, if place and tap are known.
    pub expected: Option<Expected>,
}

/// What an honest round trip to that place should take, in ms, if place and tap are known.
#[must_use]
pub fn expected_ms(place: Option<&Place>, site: &Site) -> Option<f64> {
    site.location.zip(place).and_then(|(tap, place)| Expected::of(place, tap)).map(|expected| expected.total_ms())
}

struct Seen {
    rule: &'static Rule,
    observation: Observation,
}

/// How well the hypotheses explain all that was seen.
struct Weighing {
    seen: Vec<Seen>,
    kind: Kind,
}

impl Weighing {
    fn of(case: &Case<'_>) -> Self {
        let look = |rule: &&'static Rule| (rule.observe)(case).map(|observation| Seen { rule, observation });
        let seen = RULES.iter().filter_map(look).collect();
        Self { seen, kind: case.place.map_or(Kind::Unknown, |p| p.kind) }
    }

    fn fit(&self, h: Hypothesis) -> f64 {
        self.seen.iter().map(|s| s.observation.ln_likelihood_of(h, s.rule.cap)).sum()
    }

    fn posterior(&self, h: Hypothesis) -> f64 {
        self.fit(h) + h.prior(self.kind).ln()
    }

    /// The best explanation of one sort, and the log weight of all of that sort.
    fn best(&self, malicious: bool) -> (Hypothesis, f64) {
        // Those of the other sort weigh nothing.
        let weighed = Hypothesis::ALL
            .map(|h| (if h.is_malicious() == malicious { self.posterior(h) } else { f64::NEG_INFINITY }, h));
        let best = weighed.iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or(Hypothesis::Direct, |(_, h)| *h);
        (best, ln_sum(weighed.iter().map(|(weight, _)| *weight)))
    }
}

/// Judges one endpoint. With `told` the finding gets its evidence, story and identifier; without, only what a count or
/// an endpoint record needs, which is several times cheaper.
#[must_use]
pub fn judge(endpoint: IpAddr, account: &Account, place: Option<&Place>, site: &Site, told: bool) -> Finding {
    let expected = site.location.zip(place).and_then(|(tap, place)| Expected::of(place, tap));
    let case = Case { account, place, expected };
    let weighing = Weighing::of(&case);
    let ((suspect, guilt), (innocent, innocence)) = (weighing.best(true), weighing.best(false));
    let score = guilt - innocence;
    let llr = weighing.fit(suspect) - weighing.fit(innocent);
    let measured = weighing.seen.iter().any(|s| s.rule.name != "tunnel-tax");
    let verdict = verdict(score, llr, measured, &site.policy);
    // Each reading may hold the leg more than once and the thoughts of programs besides: the least one is nearest.
    let readings = weighing.seen.iter().filter_map(|s| s.observation.hidden_leg_ms);
    let relayed = verdict == Verdict::Relayed;
    let hidden = readings.filter(|(h, _)| relayed && *h == suspect).map(|(_, ms)| ms).reduce(f64::min);
    // What can't be told is no suspicion: it goes by the name of what is likelier.
    let hypothesis = if verdict == Verdict::Relayed { suspect } else { innocent };
    Finding {
        id: if told { id(endpoint, hypothesis, account) } else { String::new() },
        endpoint,
        verdict,
        hypothesis,
        severity: severity(verdict, score),
        score,
        llr,
        innocent: Innocent {
            hypothesis: innocent,
            llr: -llr,
            text: if told { story(innocent, llr) } else { String::new() },
        },
        hidden_leg_ms: hidden,
        operator: hidden
            .map(|ms| Distance::of_round_trip(ms, bound_ms(&case, suspect).map_or(ms, |most| most.max(ms)))),
        evidence: if told { evidence(&case, &weighing.seen, suspect, innocent) } else { Vec::new() },
        missing: if told { missing(&case, site) } else { Vec::new() },
        identities: Vec::new(),
        suppressed: None,
        first_seen: account.first_seen,
        last_seen: account.last_seen,
    }
}

/// The most that the hidden leg can take, in ms: the shortest loop that must have passed it, less what light needs for
/// the way between tap and home. How fast the home's line is does not come into it.
fn bound_ms(case: &Case<'_>, suspect: Hypothesis) -> Option<f64> {
    let passes = |layer: Layer| suspect != Hypothesis::HomeProxy || layer != Layer::TcpHandshake;
    let loops = case.account.ladder.rungs().filter(|(layer, _)| passes(*layer));
    let shortest = loops.filter_map(|(_, rung)| rung.samples.min()).min()?;
    let light = case.expected.map_or(0.0, |e| e.floor_ms());
    Some(shortest.as_secs_f64() * 1e3 - light)
}

/// `measured`: at least one rule had round trips to go by.
fn verdict(score: f64, llr: f64, measured: bool, policy: &Policy) -> Verdict {
    if measured && score >= policy.relayed_from {
        Verdict::Relayed
    } else if measured && llr <= policy.clear_to {
        Verdict::Clear
    } else {
        Verdict::Insufficient
    }
}

fn severity(verdict: Verdict, score: f64) -> Severity {
    match verdict {
        Verdict::Relayed if score >= 99f64.ln() => Severity::High,
        Verdict::Relayed if score >= 9f64.ln() => Severity::Medium,
        Verdict::Relayed => Severity::Low,
        _ => Severity::Info,
    }
}

fn story(innocent: Hypothesis, llr: f64) -> String {
    let fits = if llr > 3.0 {
        "It explains the measurements far worse"
    } else if llr > 0.5 {
        "It explains the measurements somewhat worse"
    } else if llr > -0.5 {
        "It explains the measurements about as well"
    } else {
        "It explains the measurements better"
    };
    format!("{}. {fits} (log ratio {}).", sentence(innocent.story()), signed(-llr))
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn evidence(case: &Case<'_>, seen: &[Seen], suspect: Hypothesis, innocent: Hypothesis) -> Vec<Evidence> {
    let told = |Seen { rule, observation }: &Seen| {
        let (text, cites) = (rule.tell)(case, observation);
        Evidence {
            rule: rule.name,
            llr: observation.ln_likelihood_of(suspect, rule.cap) - observation.ln_likelihood_of(innocent, rule.cap),
            value: observation.value,
            unit: observation.unit,
            n: observation.n,
            text,
            cites,
        }
    };
    let mut all: Vec<Evidence> = seen.iter().map(told).collect();
    all.sort_by(|a, b| b.llr.total_cmp(&a.llr));
    all
}

/// Round trips from which on a minimum is trusted (science note 0.2), in this many windows of 5 minutes.
const ENOUGH_SAMPLES: u64 = 20;
const ENOUGH_WINDOWS: usize = 3;

/// A count and what is counted.
fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn missing(case: &Case<'_>, site: &Site) -> Vec<String> {
    let mut missing = Vec::new();
    if !site.has_places {
        missing
            .push("a place database (--geo-city, --geo-asn or --geo-csv): distance can't be judged without".to_owned());
    } else if case.place.and_then(|p| p.point).is_none() {
        missing.push("the place of this address: the databases given don't know it".to_owned());
    }
    if site.location.is_none() {
        missing.push("the place of the capture point (--site LAT,LON)".to_owned());
    }
    match case.account.ladder.lowest() {
        None => missing.push("a round trip to this endpoint: no handshake of it was captured whole".to_owned()),
        Some((_, rung)) if rung.samples.n() < ENOUGH_SAMPLES || rung.windows() < ENOUGH_WINDOWS => {
            missing.push(format!(
                "more time: {} in {}, {ENOUGH_SAMPLES} in {ENOUGH_WINDOWS} rule out a full queue",
                plural(rung.samples.n(), "round trip"),
                plural(u64::try_from(rung.windows()).unwrap_or(u64::MAX), "five-minute window"),
            ));
        }
        Some(_) => {}
    }
    if case.account.gap_count < 5 {
        missing.push(format!(
            "more round trips of TLS or SSH on connections seen from their first packet: {} so far, about 5 settle the \
             layers",
            case.account.gap_count
        ));
    }
    missing
}

/// The same endpoint, hypothesis and day (UTC, of its first packet) give the same id.
fn id(endpoint: IpAddr, hypothesis: Hypothesis, account: &Account) -> String {
    const DAY: i64 = 86_400_000_000_000;
    let day = account.first_seen.map_or(0, |t| t.nanos().div_euclid(DAY));
    let hash = digest(&SHA256, format!("{endpoint}|{}|{day}", hypothesis.name()).as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RttSample, Side, Timestamp};
    use std::time::Duration;

    /// An honest line may be quicker than what its place allows; then the excess is less than the leg it hides.
    #[test]
    fn the_farthest_distance_is_physics_and_not_what_a_line_usually_takes() {
        let mut account = Account::default();
        for (layer, ms) in [(Layer::TcpHandshake, 40), (Layer::Tls, 200)] {
            let at = Timestamp::default();
            let rtt = Duration::from_millis(ms);
            account.ladder.add(&RttSample { at, side: Side::Client, rtt, layer, method: "test", ambiguous: false });
        }
        let expected = Some(Expected { distance_ms: 30.0, access_ms: 15.0 });
        let case = Case { account: &account, place: None, expected };
        // 30 ms at 66.6 km/ms are 20 ms at 99.9.
        assert!((bound_ms(&case, Hypothesis::HomeProxy).unwrap() - 180.0).abs() < 0.01);
        assert!((bound_ms(&case, Hypothesis::HomeExit).unwrap() - 20.0).abs() < 0.01);
        let far = Distance::of_round_trip(155.0, 180.0);
        assert_eq!([far.soft_min, far.best, far.max].map(f64::round), [5_500.0, 10_323.0, 17_982.0]);
    }
}
