//! What a baseline is about: a value for each endpoint and day, and one for each of its programs' habits.
//!
//! Reads: a case. Emits: [`Measured`], which goes into records and stores and is what a baseline is learned from.
//! Does not: name an address or a person; a program is a hash of its fingerprint.

use crate::base::Timestamp;
use crate::evidence::{Account, Case, Gap};
use std::collections::BTreeMap;

/// Round trips that a day's least must rest on: as many as the rule asks for (science note 0.2).
const LEAST_SAMPLES: u64 = 3;
/// Paired round trips that a day's gap must rest on: the same.
const LEAST_GAPS: usize = 2;
/// Days told of an endpoint; the latest stay.
const DAYS: usize = 64;

/// What one endpoint brings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// By day, ascending.
    pub days: Vec<DayMeasured>,
    /// By program, a hash of its fingerprint, ascending.
    pub programs: BTreeMap<u64, ProgramMeasured>,
}

/// What one endpoint brings on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DayMeasured {
    /// Days since 1970, UTC.
    pub day: i64,
    /// Round trips of its network path, and the shortest less what its place allows, in ms.
    pub excess: Option<(u64, f64)>,
    /// Gaps between TCP and what is above it, and their 5th percentile, in ms.
    pub gap: Option<(u64, f64)>,
}

/// A day, and how far out it was when it was compared with a baseline: the chance that an honest endpoint is as far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DayJudged {
    /// What was measured.
    pub measured: DayMeasured,
    /// By its excess.
    pub excess_p: Option<f64>,
    /// By its gap.
    pub gap_p: Option<f64>,
}

/// What one program of an endpoint brings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgramMeasured {
    /// The median gap of each question that it has to think about, in ms, ascending.
    pub gaps_ms: Vec<f64>,
    /// The median wait before it speaks, in ms.
    pub lag_ms: Option<f64>,
}

impl Measured {
    /// Of a case.
    #[must_use]
    pub fn of(case: &Case<'_>) -> Self {
        Self { days: DayMeasured::all_of(case), programs: programs(case.account) }
    }
}

impl DayMeasured {
    /// The days of a case, ascending.
    #[must_use]
    pub fn all_of(case: &Case<'_>) -> Vec<Self> {
        let mut days = BTreeMap::<i64, Self>::new();
        let mut on = |day: i64, put: &dyn Fn(&mut Self)| {
            put(days.entry(day).or_insert(Self { day, ..Self::default() }));
        };
        let path = case.path_rungs().find(|(_, rung)| rung.samples.n() >= LEAST_SAMPLES);
        if let Some(((_, rung), expected)) = path.zip(case.expected) {
            for (day, (n, least)) in rung.days().into_iter().filter(|(_, (n, _))| *n >= LEAST_SAMPLES) {
                let excess = f64::from(least) / 1e3 - expected.total_ms();
                on(day, &|measured| measured.excess = Some((n, excess)));
            }
        }
        for (day, gaps) in gaps_by_day(case.account) {
            let n = u64::try_from(gaps.len()).unwrap_or(u64::MAX);
            if let Some(gap) = Gap::between(gaps.iter().copied()).filter(|_| gaps.len() >= LEAST_GAPS) {
                on(day, &|measured| measured.gap = Some((n, gap)));
            }
        }
        let mut days: Vec<Self> = days.into_values().collect();
        days.drain(..days.len().saturating_sub(DAYS));
        days
    }
}

fn day_of(at: Timestamp) -> i64 {
    at.nanos().div_euclid(86_400_000_000_000)
}

fn gaps_by_day(account: &Account) -> BTreeMap<i64, Vec<&Gap>> {
    let mut days = BTreeMap::<i64, Vec<&Gap>>::new();
    account.gaps.iter().for_each(|gap| days.entry(day_of(gap.at)).or_default().push(gap));
    days
}

fn programs(account: &Account) -> BTreeMap<u64, ProgramMeasured> {
    let mut gaps = BTreeMap::<(u64, u64), Vec<f64>>::new();
    for gap in account.gaps.iter().filter(|gap| !gap.unthinking) {
        gaps.entry((gap.program, gap.habit)).or_default().push(gap.ms());
    }
    let mut lags = BTreeMap::<u64, Vec<f64>>::new();
    account.lags.iter().for_each(|lag| lags.entry(lag.program).or_default().push(f64::from(lag.us) / 1e3));
    let mut programs = BTreeMap::<u64, ProgramMeasured>::new();
    for ((program, _), mut values) in gaps {
        let known = programs.entry(program).or_default();
        known.gaps_ms.extend(median(&mut values));
        known.gaps_ms.sort_by(f64::total_cmp);
    }
    for (program, mut values) in lags {
        programs.entry(program).or_default().lag_ms = median(&mut values);
    }
    programs
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}
