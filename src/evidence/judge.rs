//! From one endpoint's account to a judgement: every rule looks, and for each question its hypotheses compete.
//!
//! The observations of the rules are different measurements, and each hypothesis says how likely each of them is; their
//! log likelihoods add, those of one family with shrinking weights because they look at the same packets.
//! Reads: an account, its place, who is there, the site. Emits: [`Finding`]s. Thresholds: science note 6.8.

use super::hypothesis::Priors;
use super::ledger::is_path;
use super::likelihood::ln_sum;
use super::rules::{Family, Observation, RULES, Rule};
use super::{
    Account, Baseline, Evidence, Facts, Finding, Hypothesis, Inner, Innocent, Journey, Policy, Question, Range,
    Severity, Ties, Verdict, signed,
};
use crate::base::{Identity, Layer, commas};
use crate::fingerprint::Rung;
use crate::intel::{Distance, Expected, GeoPoint, Kind, Place, Towns};
use ring::digest::{SHA256, digest};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

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

/// From which log likelihood ratio on evidence is worth a word: 7 to 1.
const SAYS_SOMETHING: f64 = 2.0;

/// One endpoint as the rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its account.
    pub account: &'a Account,
    /// Its place.
    pub place: Option<&'a Place>,
    /// What the place allows, if place and tap are known.
    pub expected: Option<Expected>,
    /// Who is said to have been there.
    pub people: &'a [Arc<Identity>],
    /// The most of them who are said to have been there at once, if somebody keeps account of that.
    pub at_once: Option<usize>,
    /// Where those of them live who have declared a home.
    pub towns: Towns,
    /// The fastest way that one of them would have had to travel to or from it.
    pub journey: Option<&'a Journey>,
    /// What is known of the traffic inside its tunnel, by address.
    pub inner: &'a [Inner],
    /// What was learned of the site's honest endpoints.
    pub baseline: Option<&'a Baseline>,
    /// What it has in common with other endpoints of the run.
    pub ties: Option<&'a Ties>,
    /// Names of rules that are not asked (for measuring what each is worth).
    pub without: &'a [&'a str],
}

impl<'a> Case<'a> {
    /// An endpoint about which nobody says anything.
    #[must_use]
    pub fn new(account: &'a Account, place: Option<&'a Place>, site: &Site) -> Self {
        let expected = expected(account, place, site);
        let towns = Towns::default();
        Self {
            account,
            place,
            expected,
            people: &[],
            at_once: None,
            towns,
            journey: None,
            inner: &[],
            baseline: None,
            ties: None,
            without: &[],
        }
    }

    /// What its sessions tell beside their round trips, those inside its tunnel included.
    pub fn facts(&self) -> impl Iterator<Item = &'a Facts> + use<'a> {
        std::iter::once(&self.account.facts).chain(self.inner.iter().map(|inner| &inner.account.facts))
    }

    /// The rungs where the network path ends, lowest first: its own, then those inside its tunnel. Layers of programs
    /// are not among them.
    pub fn path_rungs(&self) -> impl Iterator<Item = (Layer, &'a Rung)> + use<'a> {
        let accounts = std::iter::once(self.account).chain(self.inner.iter().map(|inner| &inner.account));
        accounts.flat_map(|account| account.ladder.rungs()).filter(|(layer, _)| is_path(*layer))
    }

    /// The kind of its network.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.place.map_or(Kind::Unknown, |place| place.kind)
    }

    /// Whether the place is farther from the tap than a worker of the tap's own country need be: more than the 66 ms
    /// between the farthest corners of the contiguous United States (science note 0.1).
    #[must_use]
    pub fn is_distant(&self) -> bool {
        self.expected.is_some_and(|expected| expected.distance_ms > 66.0)
    }
}

/// What the place allows, if place and tap are known. Seen from several sites, what is shortest was seen from the
/// nearest.
fn expected(account: &Account, place: Option<&Place>, site: &Site) -> Option<Expected> {
    let place = place?;
    let mut taps = account.ranges.iter().filter_map(Range::site).peekable();
    let only = site.location.filter(|_| taps.peek().is_none());
    let from = taps.chain(only).filter_map(|tap| Expected::of(place, tap));
    from.min_by(|a, b| a.total_ms().total_cmp(&b.total_ms()))
}

/// What an honest round trip to an endpoint at that place should take, in ms, if place and tap are known.
#[must_use]
pub fn expected_ms(account: &Account, place: Option<&Place>, site: &Site) -> Option<f64> {
    expected(account, place, site).map(|expected| expected.total_ms())
}

struct Seen {
    rule: &'static Rule,
    observation: Observation,
    /// What it says for each hypothesis, capped.
    ln: [f64; Hypothesis::ALL.len()],
}

/// How well the hypotheses of one question explain all that was seen of it.
struct Weighing<'a> {
    /// What was seen, and what each observation counts beside its family.
    seen: Vec<(&'a Seen, f64)>,
    question: Question,
    priors: &'static Priors,
    /// The best explanation of each sort, and the log weight of all of that sort.
    suspect: (Hypothesis, f64),
    innocent: (Hypothesis, f64),
}

impl<'a> Weighing<'a> {
    fn of(case: &Case<'_>, seen: &'a [Seen], question: Question) -> Self {
        let seen = seen.iter().filter(|s| s.rule.question == question).map(|s| (s, 1.0)).collect();
        let priors = Priors::of(case.kind(), case.is_distant());
        let none = (Hypothesis::Direct, f64::NEG_INFINITY);
        let mut weighing = Self { seen, question, priors, suspect: none, innocent: none };
        // Who competes is found with everything at full weight; then what says the same twice is made to count less.
        weighing.compete();
        if weighing.shrink() {
            weighing.compete();
        }
        weighing
    }

    fn compete(&mut self) {
        self.suspect = self.best(true);
        self.innocent = self.best(false);
    }

    /// Of the observations of one family the one that says most counts fully, the k-th 1 / (1 + 0.6 (k - 1)) (science
    /// note 6.8.2): they look at the same packets from different sides. Tells whether there were any.
    fn shrink(&mut self) -> bool {
        let (suspect, innocent) = (self.suspect.0, self.innocent.0);
        let loud: Vec<_> =
            self.seen.iter().map(|(s, _)| (s.rule.family, s.contrast(suspect, innocent).abs(), s.rule.name)).collect();
        let mut shrunk = false;
        for ((_, weight), own) in self.seen.iter_mut().zip(&loud) {
            let louder = |other: &&(Family, f64, &str)| other.0 == own.0 && (other.1, own.2) > (own.1, other.2);
            let before = u8::try_from(loud.iter().filter(louder).count()).unwrap_or(u8::MAX);
            *weight = 1.0 / (1.0 + 0.6 * f64::from(before));
            shrunk |= before > 0;
        }
        shrunk
    }

    fn fit(&self, h: Hypothesis) -> f64 {
        self.seen.iter().map(|(s, weight)| weight * s.ln_likelihood(h)).sum()
    }

    fn posterior(&self, h: Hypothesis) -> f64 {
        self.fit(h) + self.priors.ln(h)
    }

    /// The best explanation of one sort, and the log weight of all of that sort.
    fn best(&self, malicious: bool) -> (Hypothesis, f64) {
        let weighed = self.question.answers(malicious).iter().map(|h| (self.posterior(*h), *h));
        let best = weighed.clone().max_by(|a, b| a.0.total_cmp(&b.0)).map_or(Hypothesis::Direct, |(_, h)| h);
        (best, ln_sum(weighed.map(|(weight, _)| weight)))
    }

    /// Whether something was measured that can decide.
    fn is_measured(&self) -> bool {
        self.seen.iter().any(|(s, _)| !s.rule.weak)
    }

    /// Whether what can't decide alone says enough for a malicious hypothesis to be told.
    fn hints(&self) -> bool {
        let said = self.said(self.suspect.0, self.innocent.0);
        said.iter().map(|(_, llr)| llr).sum::<f64>() >= SAYS_SOMETHING
    }

    /// What each observation says for one hypothesis against another, the loudest for it first.
    fn said(&self, suspect: Hypothesis, innocent: Hypothesis) -> Vec<(&'a Seen, f64)> {
        let mut all: Vec<_> =
            self.seen.iter().map(|(s, weight)| (*s, weight * s.contrast(suspect, innocent))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }
}

impl Seen {
    fn new(rule: &'static Rule, observation: Observation) -> Self {
        Self { rule, observation, ln: observation.capped(rule.question, rule.cap) }
    }

    fn ln_likelihood(&self, h: Hypothesis) -> f64 {
        self.ln.get(h as usize).copied().unwrap_or_default()
    }

    fn contrast(&self, suspect: Hypothesis, innocent: Hypothesis) -> f64 {
        self.ln_likelihood(suspect) - self.ln_likelihood(innocent)
    }
}

/// Judges one endpoint by what its own packets tell, and gives the finding that matters most: see [`judge_all`].
#[must_use]
pub fn judge(endpoint: IpAddr, account: &Account, place: Option<&Place>, site: &Site, told: bool) -> Finding {
    let case = Case::new(account, place, site);
    judge_all(endpoint, &case, site, told).swap_remove(0)
}

/// Judges one endpoint: a finding for its connection, and one for each other question to which something was seen; what
/// is raised first, the surest first. Never empty. With `told` the findings get their evidence, story and identifier;
/// without, only what a count or an endpoint record needs, which is several times cheaper.
#[must_use]
pub fn judge_all(endpoint: IpAddr, case: &Case<'_>, site: &Site, told: bool) -> Vec<Finding> {
    let rules = RULES.iter().filter(|rule| !case.without.contains(&rule.name));
    let look = |rule: &'static Rule| (rule.observe)(case).map(|observation| Seen::new(rule, observation));
    let seen: Vec<Seen> = rules.copied().filter_map(look).collect();
    let mut answers: Vec<(Finding, bool)> = Question::ALL
        .into_iter()
        .filter(|question| *question == Question::Connection || seen.iter().any(|s| s.rule.question == *question))
        .filter_map(|question| {
            let weighing = Weighing::of(case, &seen, question);
            let decides = question == Question::Connection || weighing.is_measured();
            (decides || weighing.hints()).then(|| (finding(endpoint, case, site, &weighing, told), decides))
        })
        .collect();
    // What is raised first, the surest first; then what can't be told, because clear means that nothing is open; a hint
    // that can't decide is told, but is no verdict.
    let rank = |(finding, decides): &(Finding, bool)| match finding.verdict {
        verdict if verdict.is_finding() => 0,
        _ if !decides => 3,
        Verdict::Insufficient => 1,
        _ => 2,
    };
    answers.sort_by(|a, b| {
        let surer = if a.0.verdict.is_finding() { b.0.score.total_cmp(&a.0.score) } else { Ordering::Equal };
        rank(a).cmp(&rank(b)).then(surer)
    });
    answers.into_iter().map(|(finding, _)| finding).collect()
}

/// What each rule would say alone, against nothing but the plainest innocent answer to its question: a home as it says,
/// the worker's own hands, one household. The named innocent explanations, the other rules and the priors are left out, so
/// this is what a product with one signal sees (`docs/evaluation.md`). Log ratios, in the order of [`RULES`].
#[must_use]
pub fn alone(case: &Case<'_>) -> Vec<(&'static str, f64)> {
    let says = |rule: &&'static Rule| {
        let observation = (rule.observe)(case)?;
        let plain = rule.question.plain(case.is_distant());
        let guilty = Hypothesis::ALL.into_iter().filter(|h| h.question() == rule.question && h.is_malicious());
        let ln = |h: Hypothesis| observation.ln_likelihood_of(h, rule.cap);
        Some((rule.name, guilty.map(ln).fold(f64::NEG_INFINITY, f64::max) - ln(plain)))
    };
    RULES.iter().filter_map(says).collect()
}

/// The answer to one question.
fn finding(endpoint: IpAddr, case: &Case<'_>, site: &Site, weighing: &Weighing<'_>, told: bool) -> Finding {
    let account = case.account;
    let ((suspect, guilt), (innocent, innocence)) = (weighing.suspect, weighing.innocent);
    let ln_prior = |malicious| weighing.priors.ln_sum(weighing.question, malicious);
    let score = guilt + site.policy.prior_scale.ln() - innocence;
    let ln_bayes = (guilt - ln_prior(true)) - (innocence - ln_prior(false));
    let llr = weighing.fit(suspect) - weighing.fit(innocent);
    let raised = weighing.is_measured() && score >= site.policy.relayed_from;
    let verdict = if raised {
        Verdict::of(suspect)
    } else if weighing.is_measured() && llr <= site.policy.clear_to {
        Verdict::Clear
    } else {
        Verdict::Insufficient
    };
    // Each reading may hold the leg more than once and the thoughts of programs besides: the least one is nearest.
    let readings = weighing.seen.iter().filter_map(|(s, _)| s.observation.hidden_leg_ms);
    let hidden = readings.filter(|(h, _)| raised && *h == suspect).map(|(_, ms)| ms).reduce(f64::min);
    // What can't be told is no suspicion: it goes by the name of what is likelier.
    let hypothesis = if raised { suspect } else { innocent };
    let said = weighing.said(suspect, innocent);
    Finding {
        id: if told { id(endpoint, hypothesis, account) } else { String::new() },
        endpoint,
        question: weighing.question,
        verdict,
        hypothesis,
        severity: if raised { severity(score, ln_bayes, &said, &site.policy) } else { Severity::Info },
        score,
        llr,
        ln_bayes,
        false_discovery_rate: None,
        over_days: None,
        innocent: Innocent {
            hypothesis: innocent,
            llr: -llr,
            text: if told {
                story(innocent, llr, raised.then(|| innocent.prior(case.kind(), case.is_distant())))
            } else {
                String::new()
            },
        },
        hidden_leg_ms: hidden,
        operator: hidden.map(|ms| {
            let most = if weighing.question == Question::Connection { bound_ms(case, suspect) } else { None };
            Distance::of_round_trip(ms, most.map_or(ms, |most| most.max(ms)))
        }),
        evidence: if told { evidence(case, &said, suspect) } else { Vec::new() },
        missing: if told { missing(case, site, weighing.question) } else { Vec::new() },
        identities: Vec::new(),
        suppressed: None,
        first_seen: account.first_seen,
        last_seen: account.last_seen,
    }
}

/// The most that the hidden leg can take, in ms: the shortest loop that must have passed it, less what light needs for
/// the way between tap and home. How fast the home's line is does not come into it.
fn bound_ms(case: &Case<'_>, suspect: Hypothesis) -> Option<f64> {
    let passes =
        |layer: Layer| suspect != Hypothesis::HomeProxy || !matches!(layer, Layer::TcpHandshake | Layer::TcpData);
    let loops = case.account.ladder.rungs().filter(|(layer, _)| passes(*layer));
    let shortest = loops.filter_map(|(_, rung)| rung.samples.min()).min()?;
    let light = case.expected.map_or(0.0, |e| e.floor_ms());
    Some(shortest.as_secs_f64() * 1e3 - light)
}

/// How urgent something raised is. Several families of evidence that agree cannot all have the same innocent cause.
/// Evidence that an honest endpoint shows more often than the site has time for is never more than low: by Markov's
/// inequality a Bayes factor of 1 / b or more comes up by chance at most in a share b of them.
fn severity(score: f64, ln_bayes: f64, said: &[(&Seen, f64)], policy: &Policy) -> Severity {
    let mut families: Vec<Family> =
        said.iter().filter(|(_, llr)| *llr > SAYS_SOMETHING).map(|(s, _)| s.rule.family).collect();
    families.sort_unstable();
    families.dedup();
    match score {
        _ if ln_bayes < -policy.alert_budget.ln() => Severity::Low,
        score if score >= 99f64.ln() && families.len() > 1 => Severity::Critical,
        score if score >= 99f64.ln() => Severity::High,
        score if score >= 9f64.ln() => Severity::Medium,
        _ => Severity::Low,
    }
}

/// The innocent story, and how well it fits; `share` is that of such connections for which it holds, where something is
/// raised in spite of it.
fn story(innocent: Hypothesis, llr: f64, share: Option<f64>) -> String {
    let fits = if llr > 3.0 {
        "It explains the measurements far worse"
    } else if llr > 0.5 {
        "It explains the measurements somewhat worse"
    } else if llr > -0.5 {
        "It explains the measurements about as well"
    } else {
        "It explains the measurements better"
    };
    // Then it is only rarity that speaks against it, and a reader must know.
    let rare = share.filter(|share| llr < SAYS_SOMETHING && *share < RARE).map_or_else(String::new, |share| {
        format!(" It is rare, though: it is believed of one such connection in {}.", commas(one_in(share)))
    });
    format!("{}. {fits} (log ratio {}).{rare}", sentence(innocent.story()), signed(-llr))
}

/// From which share on a story is rare: one in a hundred.
const RARE: f64 = 0.01;

/// One in how many, to one digit.
fn one_in(share: f64) -> u64 {
    let size = 10f64.powf((-share.log10()).floor());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a million")]
    let rounded = ((1.0 / share / size).round() * size) as u64;
    rounded
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn evidence(case: &Case<'_>, said: &[(&Seen, f64)], suspect: Hypothesis) -> Vec<Evidence> {
    let told = |(seen, llr): &(&Seen, f64)| {
        let Seen { rule, observation, .. } = seen;
        let (text, cites) = (rule.tell)(case, observation);
        Evidence {
            rule: rule.name,
            family: rule.family,
            llr: *llr,
            llr_plain: seen.contrast(suspect, suspect.question().plain(case.is_distant())),
            value: observation.value,
            unit: observation.unit,
            n: observation.n,
            text,
            cites,
        }
    };
    said.iter().map(told).collect()
}

/// Round trips from which on a minimum is trusted (science note 0.2), in this many windows of 5 minutes.
const ENOUGH_SAMPLES: u64 = 20;
const ENOUGH_WINDOWS: usize = 3;

/// A count and what is counted.
fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn missing(case: &Case<'_>, site: &Site, question: Question) -> Vec<String> {
    match question {
        Question::Connection => missing_of_connection(case, site),
        Question::Control => {
            let helping =
                "who was helping, and when: the helpdesk's tickets (--config, allow) tell a wanted session from another";
            let far = "how far away whoever works the machine is: some minutes of its picture, or the checks of its \
                       call, tell that";
            let measured = case.facts().any(|facts| !facts.reaches.is_empty());
            std::iter::once(helping).chain((!measured).then_some(far)).map(str::to_owned).collect()
        }
        Question::Sharing => vec![
            "who works from this address: VPN accounting (RADIUS at the tap, or --identities) tells people from machines"
                .to_owned(),
            "where those people say that they live (--homes): one household lives in one town".to_owned(),
        ],
    }
}

fn missing_of_connection(case: &Case<'_>, site: &Site) -> Vec<String> {
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
    let rungs = || case.path_rungs().map(|(_, rung)| rung);
    match rungs().max_by_key(|rung| (rung.samples.n().min(ENOUGH_SAMPLES), rung.windows())) {
        None => missing.push("a round trip to this endpoint: no handshake of it was captured whole".to_owned()),
        Some(rung) if rung.samples.n() < ENOUGH_SAMPLES || rung.windows() < ENOUGH_WINDOWS => {
            missing.push(format!(
                "more time: {} in {} so far; {ENOUGH_SAMPLES} in {ENOUGH_WINDOWS} such windows rule out a full queue",
                plural(rung.samples.n(), "round trip"),
                plural(u64::try_from(rung.windows()).unwrap_or(u64::MAX), "five-minute window"),
            ));
        }
        Some(_) => {}
    }
    if case.account.facts.tunnels_at_once() > 0 && case.inner.is_empty() {
        missing.push(
            "a tap behind the VPN's gateway: what passes inside the tunnel tells where the machine is, and who works it"
                .to_owned(),
        );
    } else if case.inner.is_empty() && case.account.gap_count < 5 {
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

    /// A company's site beside the home allows less than the one that the run names.
    #[test]
    fn what_a_place_allows_counts_from_the_nearest_site_that_measured_it() {
        let point = |lat, lon| GeoPoint::new(lat, lon).unwrap();
        let place = Place { point: Some(point(41.26, -95.93)), ..Place::default() };
        let site = Site { location: Some(point(39.04, -77.49)), ..Site::default() };
        let mut account = Account::default();
        let far = expected_ms(&account, Some(&place), &site).unwrap();
        account.ranges.make().add(point(41.88, -87.63), 9, (20_000, crate::evidence::CitedFlow::any(1)));
        let near = expected_ms(&account, Some(&place), &site).unwrap();
        assert!(near < far - 5.0, "{near} {far}");
        assert_eq!(expected_ms(&account, None, &site), None);
    }

    #[test]
    fn a_story_that_fits_but_is_rare_is_told_as_rare() {
        assert_eq!([1e-5, 2e-3, 4e-4, 3e-6].map(one_in), [100_000, 500, 3_000, 300_000]);
        let of = |llr, share| story(Hypothesis::Accelerator, llr, share);
        assert!(
            of(-0.8, Some(1e-5)).ends_with("It is rare, though: it is believed of one such connection in 100,000.")
        );
        for (llr, share) in [(-0.8, None), (-0.8, Some(0.2)), (8.0, Some(1e-5))] {
            assert!(!of(llr, share).contains("rare"), "{llr} {share:?}");
        }
    }

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
        let case = Case { expected, ..Case::new(&account, None, &Site::default()) };
        // 30 ms at 66.6 km/ms are 20 ms at 99.9.
        assert!((bound_ms(&case, Hypothesis::HomeProxy).unwrap() - 180.0).abs() < 0.01);
        assert!((bound_ms(&case, Hypothesis::HomeExit).unwrap() - 20.0).abs() < 0.01);
        let far = Distance::of_round_trip(155.0, 180.0);
        assert_eq!([far.soft_min, far.best, far.max].map(f64::round), [5_500.0, 10_323.0, 17_982.0]);
    }
}
