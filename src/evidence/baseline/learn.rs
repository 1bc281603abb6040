//! From records of endpoints to a baseline.
//!
//! Reads: [`Line`]s, one for each endpoint and source, in any order. Emits: a [`Baseline`]. An endpoint of which
//! something was found anywhere is left out everywhere. What relays nobody found are among the rest make the tail
//! heavier, and the judgement more careful. Does not: keep addresses longer than it takes to learn.

use super::{
    ALL, Baseline, DayJudged, DayMeasured, LEAST_ENDPOINTS, LEAST_NARROW, Learned, Measured, Origin, ProgramMeasured,
    Signal, Spread, Staying, asn_group, program_group,
};
use crate::intel::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Groups kept of one signal: those with the most endpoints.
const GROUPS: usize = 200;

/// What one source says of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Whose.
    pub endpoint: IpAddr,
    /// The kind of its network.
    pub kind: Kind,
    /// Its network.
    pub asn: Option<u32>,
    /// Whether its place is far from the tap: then its excess is not like that of others.
    pub distant: bool,
    /// Whether something was found of it.
    pub raised: bool,
    /// What it brings.
    pub measured: Measured,
}

/// There is too little to learn from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{honest} honest endpoints with something measured, of {endpoints} (of {raised} something was found): a baseline \
     needs {LEAST_ENDPOINTS}"
)]
pub struct TooFew {
    /// Endpoints seen.
    pub endpoints: usize,
    /// Of them something was found.
    pub raised: usize,
    /// Those left that bring something.
    pub honest: usize,
}

#[derive(Debug, Default)]
struct Endpoint {
    kind: Kind,
    asn: Option<u32>,
    distant: bool,
    days: BTreeMap<i64, DayMeasured>,
    programs: BTreeMap<u64, Vec<ProgramMeasured>>,
}

/// Collects lines.
#[derive(Debug, Default)]
pub struct Learner {
    endpoints: BTreeMap<IpAddr, Endpoint>,
    raised: BTreeSet<IpAddr>,
    sources: u32,
    programs: BTreeMap<String, String>,
}

/// The values of a group's endpoints, each with its share of its endpoint.
#[derive(Debug, Default)]
struct Values {
    endpoints: usize,
    values: Vec<(f64, f64)>,
}

impl Values {
    fn add(&mut self, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        self.endpoints += 1;
        #[expect(clippy::cast_precision_loss, reason = "a count of values")]
        let share = 1.0 / values.len() as f64;
        self.values.extend(values.iter().map(|value| (*value, share)));
    }
}

impl Learner {
    /// Another folder or store begins.
    pub const fn source(&mut self) {
        self.sources = self.sources.saturating_add(1);
    }

    /// What a program is called, by the hash of its fingerprint.
    pub fn name(&mut self, program: u64, name: &str) {
        self.programs.entry(program_group(program)).or_insert_with(|| name.to_owned());
    }

    /// Takes a line in. Of two that tell of the same day the shorter round trip and gap count.
    pub fn add(&mut self, line: Line) {
        if line.raised {
            self.raised.insert(line.endpoint);
            self.endpoints.remove(&line.endpoint);
        }
        if self.raised.contains(&line.endpoint) {
            return;
        }
        let known = self.endpoints.entry(line.endpoint).or_default();
        (known.kind, known.asn) = (line.kind, line.asn);
        known.distant |= line.distant;
        let less = |a: Option<(u64, f64)>, b: Option<(u64, f64)>| match (a, b) {
            (Some(a), Some(b)) => Some(if a.1 <= b.1 { a } else { b }),
            (a, b) => a.or(b),
        };
        for day in line.measured.days {
            let at = known.days.entry(day.day).or_insert(day);
            (at.excess, at.gap) = (less(at.excess, day.excess), less(at.gap, day.gap));
        }
        for (program, measured) in line.measured.programs {
            known.programs.entry(program).or_default().push(measured);
        }
    }

    /// Learns.
    ///
    /// # Errors
    /// There are too few honest endpoints.
    pub fn finish(self, mut origin: Origin) -> Result<Baseline, TooFew> {
        let seen = self.endpoints.len() + self.raised.len();
        let tells = |endpoint: &&Endpoint| !endpoint.days.is_empty() || !endpoint.programs.is_empty();
        let honest: Vec<&Endpoint> = self.endpoints.values().filter(tells).collect();
        if honest.len() < LEAST_ENDPOINTS {
            return Err(TooFew { endpoints: seen, raised: self.raised.len(), honest: honest.len() });
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        origin.sources = self.sources;
        origin.endpoints = count(honest.len());
        origin.days = count(honest.iter().map(|endpoint| endpoint.days.len()).sum());
        origin.left_out = count(self.raised.len());
        let days: BTreeSet<i64> = honest.iter().flat_map(|endpoint| endpoint.days.keys().copied()).collect();
        (origin.from, origin.to) = (
            days.first().map_or_else(String::new, |day| date(*day)),
            days.last().map_or_else(String::new, |day| date(*day)),
        );
        let mut baseline = Baseline { origin, ..Baseline::default() };
        for signal in Signal::ALL {
            baseline.groups.insert(signal, groups(&honest, signal));
        }
        baseline.staying.insert(Signal::Excess, staying(&baseline, &honest, |day| day.excess_p));
        baseline.staying.insert(Signal::DayGap, staying(&baseline, &honest, |day| day.gap_p));
        baseline.programs = self.programs;
        let named: BTreeSet<&String> = baseline.groups.values().flat_map(BTreeMap::keys).collect();
        baseline.programs.retain(|group, _| named.contains(group));
        Ok(baseline)
    }
}

/// A day as it is written.
fn date(day: i64) -> String {
    let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(day.clamp(-100_000, 1_000_000)));
    date.map_or_else(|_| String::new(), |date| date.to_string())
}

/// All groups of a signal that are large enough.
fn groups(endpoints: &[&Endpoint], signal: Signal) -> BTreeMap<String, Learned> {
    let mut groups = BTreeMap::<String, Values>::new();
    for endpoint in endpoints {
        for (group, values) in brought(endpoint, signal) {
            groups.entry(group).or_default().add(&values);
        }
    }
    let wide = |name: &str| name == ALL || Kind::ALL.iter().any(|kind| kind.name() == name);
    groups.retain(|name, values| values.endpoints >= if wide(name) { LEAST_ENDPOINTS } else { LEAST_NARROW });
    let mut by_size: Vec<(String, Values)> = groups.into_iter().collect();
    by_size.sort_by(|a, b| b.1.endpoints.cmp(&a.1.endpoints).then_with(|| a.0.cmp(&b.0)));
    by_size.truncate(GROUPS);
    let learned = |(name, values): (String, Values)| (name, Learned::new(Spread::of(values.endpoints, values.values)));
    by_size.into_iter().map(learned).collect()
}

/// What an endpoint brings to which groups.
fn brought(endpoint: &Endpoint, signal: Signal) -> Vec<(String, Vec<f64>)> {
    let days = |pick: fn(&DayMeasured) -> Option<(u64, f64)>| -> Vec<f64> {
        endpoint.days.values().filter_map(pick).map(|(_, value)| value).collect()
    };
    let everywhere = |values: Vec<f64>| {
        let groups = [Some(ALL.to_owned()), Some(endpoint.kind.name().to_owned()), endpoint.asn.map(asn_group)];
        groups.into_iter().flatten().map(|group| (group, values.clone())).collect()
    };
    let by_program = |pick: fn(&ProgramMeasured) -> Vec<f64>| {
        let of = |(program, measured): (&u64, &Vec<ProgramMeasured>)| {
            (program_group(*program), measured.iter().flat_map(pick).collect::<Vec<f64>>())
        };
        let mut all: Vec<(String, Vec<f64>)> = endpoint.programs.iter().map(of).collect();
        let values: Vec<f64> = all.iter().flat_map(|(_, values)| values.clone()).collect();
        all.push((endpoint.kind.name().to_owned(), values.clone()));
        all.push((ALL.to_owned(), values));
        all
    };
    match signal {
        Signal::Excess if endpoint.distant => Vec::new(),
        Signal::Excess => everywhere(days(|day| day.excess)),
        Signal::DayGap => everywhere(days(|day| day.gap)),
        Signal::Gap => by_program(|measured| measured.gaps_ms.clone()),
        Signal::Lag => by_program(|measured| measured.lag_ms.into_iter().collect()),
    }
}

/// How lines stay where they are, by the p-values of their days.
fn staying(baseline: &Baseline, endpoints: &[&Endpoint], pick: fn(&DayJudged) -> Option<f64>) -> Staying {
    let p = |endpoint: &&Endpoint| -> Vec<f64> {
        let of = |day: &DayMeasured| pick(&baseline.judged(endpoint.kind, endpoint.asn, endpoint.distant, *day));
        endpoint.days.values().filter_map(of).collect()
    };
    let all: Vec<Vec<f64>> = endpoints.iter().map(p).collect();
    Staying::of(all.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::DayJudged;

    fn home(n: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, n])
    }

    /// A home with an excess on one day, and a program that thinks for so long.
    fn line(n: u8, day: i64, excess: f64, gap: f64) -> Line {
        let days = vec![DayMeasured { day, excess: Some((5, excess)), gap: Some((4, gap)) }];
        let program = ProgramMeasured { gaps_ms: vec![gap], lag_ms: Some(1.0) };
        let measured = Measured { days, programs: BTreeMap::from([(7, program)]) };
        Line { endpoint: home(n), kind: Kind::Residential, asn: Some(64_500), distant: false, raised: false, measured }
    }

    fn learned(lines: impl Iterator<Item = Line>) -> Result<Baseline, TooFew> {
        let mut learner = Learner::default();
        learner.name(7, "t13d1516h2");
        lines.for_each(|line| learner.add(line));
        learner.finish(Origin::default())
    }

    #[test]
    fn whoever_was_raised_anywhere_is_left_out_everywhere_and_fifty_are_needed() {
        let all = || (1..=60).map(|n| line(n, 20_000, f64::from(n) / 10.0, 2.0));
        let raised = |n| Line { raised: true, ..line(n, 20_001, 180.0, 2.0) };
        for lines in [all().chain([raised(7)]).collect::<Vec<_>>(), std::iter::once(raised(7)).chain(all()).collect()] {
            let baseline = learned(lines.into_iter()).unwrap();
            let origin = baseline.origin();
            assert_eq!((origin.endpoints, origin.days, origin.left_out), (59, 59, 1));
            assert!(baseline.excess(Kind::Residential, None).unwrap().1.spread.greatest() < 7.0);
        }
        let few = learned(all().chain((1..=11).map(raised))).unwrap_err();
        assert_eq!((few.endpoints, few.raised, few.honest), (60, 11, 49));
        assert!(few.to_string().contains("needs 50"));
    }

    #[test]
    fn a_day_counts_once_and_small_groups_are_none() {
        let twice = (1..=60).flat_map(|n| [line(n, 20_000, 5.0, 2.0), line(n, 20_000, 3.0, 4.0)]);
        let baseline = learned(twice.chain([line(1, 20_001, 3.0, 2.0)])).unwrap();
        assert_eq!((baseline.origin().days, baseline.origin().to.as_str()), (61, "2024-10-05"));
        let spread = &baseline.excess(Kind::Residential, Some(64_500)).unwrap().1.spread;
        assert_eq!((spread.endpoints(), spread.values(), spread.values_from(4.0)), (60, 61, 0));
        // Neither the network nor the program has enough for a group of its own, nor is the program named.
        assert_eq!(baseline.groups(Signal::Excess).map(|(name, _)| name).collect::<Vec<_>>(), ["all", "residential"]);
        assert!(baseline.groups(Signal::Gap).all(|(name, _)| name != program_group(7)));
        assert!(!String::from_utf8(baseline.to_bytes().unwrap()).unwrap().contains("t13d1516h2"));
        assert!(baseline.excess(Kind::Mobile, None).is_none());
        assert!((baseline.base_ms(Kind::Mobile, None) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_program_that_many_have_is_a_group_and_what_is_written_is_read() {
        let homes = (0..=249).map(|n| line(n, 20_000 + i64::from(n % 3), -10.0 + f64::from(n % 5), 90.0));
        let baseline = learned(homes).unwrap();
        let learned = baseline.habit(Signal::Gap, 7, Kind::Residential).unwrap();
        assert_eq!((learned.spread.endpoints(), baseline.program_name(&program_group(7))), (250, Some("t13d1516h2")));
        let bytes = baseline.to_bytes().unwrap();
        let again = Baseline::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes().unwrap(), bytes);
        // Any byte that is another makes another file of it, and none panics.
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Baseline::from_bytes(&damaged).is_err(), "byte {at}");
        }
    }

    /// What is learned is said no louder than so many endpoints can say it, and never against who is nearer than usual.
    #[test]
    fn a_correction_is_bounded_by_the_endpoints_it_rests_on() {
        let baseline = learned((0..=199).map(|n| line(n, 20_000, f64::from(n % 10), 2.0))).unwrap();
        let (_, learned) = baseline.excess(Kind::Residential, None).unwrap();
        let most = 201f64.ln();
        for (value, ln_shipped) in [(5.0, -60.0), (150.0, -3.0), (150.0, -20.0), (-200.0, -5.0), (4.0, 0.0)] {
            let correction = learned.correction(value, ln_shipped);
            assert!(correction.abs() <= most + 1e-9, "{value}: {correction}");
        }
        assert!((learned.correction(5.0, -60.0) - most).abs() < 1e-9);
        assert!((learned.correction(150.0, -3.0) - (100f64 / 300.0).ln()).abs() < 0.01);
        assert!(learned.correction(-200.0, -5.0) >= 0.0);
    }

    #[test]
    fn over_days_say_no_more_than_there_are_endpoints_and_a_day_counts_by_its_least_capture() {
        let baseline = learned((0..=99).map(|n| line(n, 20_000, f64::from(n), 2.0))).unwrap();
        let day = |day, p| DayJudged {
            measured: DayMeasured { day, ..DayMeasured::default() },
            excess_p: Some(p),
            gap_p: None,
        };
        assert_eq!(baseline.over_days(&[]), None);
        assert!((baseline.over_days(&[day(1, 1e-12)]).unwrap().e_value - 101.0).abs() < 1e-9);
        let both = baseline.over_days(&[day(1, 0.01), day(1, 0.3)]);
        assert_eq!(both, baseline.over_days(&[day(1, 0.3)]));
    }
}
