//! Days multiply: what several days of one endpoint say together, as an e-value.
//!
//! That a line is far out today says little new if it was far out yesterday: honest lines are far out for good (a bad
//! route, a wrong place) or for a day (a queue). So the first day is weighed against all lines, and every later one
//! against the lines that had been as far out for as many days before: how many of those were so again.
//!
//! The first day counts 1 / (2 sqrt p), a calibrator of p-values to e-values (Vovk and Wang, *E-values: Calibration,
//! combination, and applications*, Annals of Statistics 2021). A later day is a bet of three quarters of what there is: it
//! counts 1/4 + 3/(4 q) if the line stays as far out, q being the share of honest lines that do, and 1/4 if it comes back.
//! Either has mean one or less among honest endpoints, given the days before; so the product is an e-value at any time,
//! and an honest endpoint ever reaches 1/a with a chance of at most a (Ville's inequality).
//! On which day something began is not known: half of the stake is on the first day that was seen, the rest is spread
//! evenly over the others of five weeks.
//! Reads: p-values by day; how lines stay. Emits: [`OverDays`]. Does not: know what was measured.

use serde::{Deserialize, Serialize};

/// How far out: among the farthest quarter, sixteenth and so on of honest lines.
const CLASSES: usize = 7;
/// Days before, told apart; more count as so many.
const BEFORE: usize = 8;
/// Days that count, and may have been the first.
const DAYS: i64 = 35;
/// The share that is staked on each day after the first: a relay stays, but not for ever (design value).
const STAKE: f64 = 0.75;
/// In so many days without anything new half of it is forgotten (science note 6.8.6).
const HALF_LIFE_DAYS: f64 = 14.0;

/// How honest lines stay where they are from day to day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staying {
    /// For each class, and each number of days that a line had been in it: how many endpoints were seen again after
    /// that, and how many of them were in it still.
    seen: Vec<Vec<(f64, f64)>>,
}

/// What several days say of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverDays {
    /// At least so improbable would it be for an honest endpoint, ever: one in so many.
    pub e_value: f64,
    /// Days it rests on.
    pub days: u32,
}

impl OverDays {
    /// From so much on it is worth a sentence.
    const WORTH_TELLING: f64 = 2.0;

    /// As a sentence; nothing where they say nothing.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let Self { e_value, days } = self;
        let over = if *days == 1 { "On one day".to_owned() } else { format!("Over {days} days") };
        (*e_value >= Self::WORTH_TELLING).then(|| {
            format!("{over}: against this site's own lines, at most one honest endpoint in {e_value:.0} shows so much within five weeks.")
        })
    }
}

/// The p-value of a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayP {
    /// Days since 1970, UTC.
    pub day: i64,
    /// The chance that an honest endpoint is as far out.
    pub p: f64,
}

/// The classes that a p-value is in: one in four, one in sixteen...
fn class_bound(class: usize) -> f64 {
    0.25f64.powi(i32::try_from(class).unwrap_or(i32::MAX).saturating_add(1))
}

/// The narrowest class that holds it.
fn class_of(p: f64) -> Option<usize> {
    (0..CLASSES).rev().find(|class| p <= class_bound(*class))
}

impl Staying {
    /// From the p-values of each endpoint's days, in order.
    #[must_use]
    pub(super) fn of<'a>(endpoints: impl Iterator<Item = &'a [f64]>) -> Self {
        let mut seen = vec![vec![(0.0, 0.0); BEFORE]; CLASSES];
        for days in endpoints.filter(|days| days.len() > 1) {
            #[expect(clippy::cast_precision_loss, reason = "a count of days")]
            let weight = 1.0 / (days.len() - 1) as f64;
            for (class, row) in seen.iter_mut().enumerate() {
                let inside = |p: &f64| *p <= class_bound(class);
                for start in 0..days.len() {
                    let run = days.iter().skip(start).take_while(|p| inside(p)).count();
                    let left = days.len() - start;
                    for before in 1..=run.min(left - 1) {
                        if let Some((again, still)) = row.get_mut(before.min(BEFORE) - 1) {
                            *again += weight;
                            *still += if before < run { weight } else { 0.0 };
                        }
                    }
                }
            }
        }
        Self { seen }
    }

    pub(super) fn is_sound(&self) -> bool {
        let sound = |(again, still): &(f64, f64)| again.is_finite() && *still >= 0.0 && still <= again;
        self.seen.len() <= CLASSES && self.seen.iter().all(|row| row.len() <= BEFORE && row.iter().all(sound))
    }

    /// The share of lines that stay in a class after so many days in it, the endpoint in question counted as one of
    /// them that does; and how many that rests on.
    fn share(&self, class: usize, before: usize) -> f64 {
        let row = self.seen.get(class).map_or(&[][..], Vec::as_slice);
        let (again, still) = row.get(before.clamp(1, BEFORE) - 1).copied().unwrap_or_default();
        (still + 1.0) / (again + 1.0)
    }

    /// Classes with their bound, and the endpoints seen again after one day in them, of which so many were in them
    /// still.
    pub fn told(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let rows = self.seen.iter().enumerate();
        rows.filter_map(|(class, row)| row.first().map(|(again, still)| (class_bound(class), *again, *still)))
    }

    /// What these days say at the end of the last one; ascending, at most one a day.
    #[must_use]
    pub fn over(&self, days: &[DayP]) -> Option<OverDays> {
        let last = days.last()?.day;
        let days: Vec<DayP> = days.iter().filter(|day| day.day > last.saturating_sub(DAYS)).copied().collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of days")]
        let others = 0.5 / (DAYS - 1) as f64;
        let from = |start: usize| days.get(start..).map_or(1.0, |days| self.began_on_first(days, last));
        let bets = (0..days.len()).map(|start| from(start) * if start == 0 { 0.5 } else { others });
        // What is staked on days that have not come is still there.
        let left = u32::try_from(days.len()).unwrap_or(u32::MAX);
        let kept = others * (f64::from(u32::try_from(DAYS).unwrap_or(0)) - f64::from(left)).max(0.0);
        Some(OverDays { e_value: bets.sum::<f64>() + kept, days: left })
    }

    /// If it began on the first of these days.
    fn began_on_first(&self, days: &[DayP], last: i64) -> f64 {
        let Some((first, later)) = days.split_first() else { return 1.0 };
        let mut e = 0.5 / first.p.sqrt();
        let mut latest = first.day;
        if let Some(class) = class_of(first.p) {
            for (before, day) in (1..).zip(later) {
                if day.p > class_bound(class) {
                    // It came back, and says no more.
                    e *= 1.0 - STAKE;
                    break;
                }
                e *= 1.0 - STAKE + STAKE / self.share(class, before);
                latest = day.day;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of days")]
        let age = last.saturating_sub(latest) as f64;
        // Of gains alone: to forget losses would make the next gain too large.
        if e > 1.0 { e.powf(0.5f64.powf(age / HALF_LIFE_DAYS)) } else { e }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Spread;

    /// Chance that is the same in every run.
    struct Chance(u64);

    impl Chance {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) as f64 + 0.5) / (1u64 << 31) as f64
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
        }

        /// Days of a line: what stays, what passes, and now and then a full queue for a day.
        fn line(&mut self, (stays, passes, queue): (f64, f64, f64), days: usize) -> Vec<f64> {
            let own = stays * self.normal();
            let mut day = || {
                let full = if self.uniform() < queue { 60.0 * -self.uniform().ln() } else { 0.0 };
                own + passes * self.normal() + full
            };
            (0..days).map(|_| day()).collect()
        }
    }

    /// A fleet's spread and how it stays, learned from lines of ten days.
    fn learned(chance: &mut Chance, kind: (f64, f64, f64)) -> (Spread, Staying) {
        let lines: Vec<Vec<f64>> = (0..1_500).map(|_| chance.line(kind, 10)).collect();
        let spread = Spread::of(lines.len(), lines.iter().flatten().map(|x| (*x, 0.1)).collect());
        let p: Vec<Vec<f64>> = lines.iter().map(|line| line.iter().map(|x| spread.p(*x)).collect()).collect();
        (spread, Staying::of(p.iter().map(Vec::as_slice)))
    }

    fn days(p: &[f64]) -> Vec<DayP> {
        (20_000..).zip(p).map(|(day, p)| DayP { day, p: *p }).collect()
    }

    /// Fleets whose lines are far out for good, for a day, or either: no more than the bound says ever reach it within
    /// thirty days. To multiply all days as if they had nothing to do with each other breaks it at once.
    #[test]
    fn of_honest_endpoints_no_more_than_the_bound_says_ever_reach_it() {
        let fleets = [("for good", (10.0, 0.5, 0.0)), ("for a day", (0.5, 10.0, 0.02)), ("either", (8.0, 6.0, 0.02))];
        for (name, kind) in fleets {
            let chance = &mut Chance(7);
            let (spread, staying) = learned(chance, kind);
            let (mut reached, mut naive) = ([0u32; 2], 0u32);
            let lines = 2_000;
            for _ in 0..lines {
                let p: Vec<f64> = chance.line(kind, 30).iter().map(|x| spread.p(*x)).collect();
                let days = days(&p);
                let most = (1..=30).filter_map(|n| staying.over(&days[..n])).map(|o| o.e_value).fold(0.0, f64::max);
                reached[0] += u32::from(most >= 20.0);
                reached[1] += u32::from(most >= 100.0);
                let mut product = 1.0f64;
                naive += u32::from(p.iter().any(|p| {
                    product *= 0.5 / p.sqrt();
                    product >= 100.0
                }));
            }
            let share = |n: u32| f64::from(n) / f64::from(lines);
            println!(
                "{name}: e >= 20 {:.4}, e >= 100 {:.4}, naive {:.4}",
                share(reached[0]),
                share(reached[1]),
                share(naive)
            );
            assert!(share(reached[0]) <= 0.05 && share(reached[1]) <= 0.01, "{name}: {reached:?} of {lines}");
            if name == "for good" {
                assert!(share(naive) > 0.02, "{name}: a plain product would have done, {naive} of {lines}");
            }
        }
    }

    /// Where lines are far out for a day only, days multiply; where they are so for good, they cannot.
    #[test]
    fn what_stays_out_gains_by_each_day_where_honest_lines_come_back() {
        let chance = &mut Chance(11);
        let e = |staying: &Staying, p: &[f64]| staying.over(&days(p)).unwrap().e_value;
        let (spread, staying) = learned(chance, (0.5, 5.0, 0.03));
        let p = spread.p(45.0);
        let grown: Vec<f64> = [1, 2, 3, 5].map(|n| e(&staying, &vec![p; n])).to_vec();
        assert!(grown.is_sorted() && grown[1] > 3.0 * grown[0] && grown[2] > 30.0, "{grown:?}");
        let (spread, staying) = learned(chance, (10.0, 0.5, 0.0));
        let p = spread.p(30.0);
        assert!(e(&staying, &[p; 10]) < 1.5 * e(&staying, &[p]), "{}", e(&staying, &[p; 10]));
        // Without lines that were seen twice nothing is known of staying.
        assert!(e(&Staying::default(), &[p; 10]) < 1.5 * e(&Staying::default(), &[p]));
    }

    #[test]
    fn it_is_frozen_when_the_line_comes_back_and_fades_from_then_on() {
        let (spread, staying) = learned(&mut Chance(11), (0.5, 5.0, 0.03));
        let far = spread.p(45.0);
        let at = |p: &[f64], gap: i64| {
            let mut days = days(p);
            let last = days.last().map_or(0, |day| day.day);
            days.push(DayP { day: last + gap, p: 0.6 });
            staying.over(&days).unwrap()
        };
        let raised = staying.over(&days(&[far; 4])).unwrap();
        assert_eq!(raised.days, 4);
        let (next, later, weeks) = (at(&[far; 4], 1), at(&[far; 4], 14), at(&[far; 4], 40));
        assert!(next.e_value < 0.3 * raised.e_value && next.e_value > 0.1 * raised.e_value, "{next:?} {raised:?}");
        assert!(later.e_value < next.e_value / 2.0, "{later:?} {next:?}");
        assert!(weeks.e_value < 1.0 && weeks.days == 1, "{weeks:?}");
    }

    #[test]
    fn what_begins_after_weeks_counts_though_less_was_staked_on_it() {
        let (spread, staying) = learned(&mut Chance(11), (0.5, 5.0, 0.03));
        let (near, far) = (0.5, spread.p(45.0));
        let mut p = vec![near; 20];
        let before = staying.over(&days(&p)).unwrap().e_value;
        p.extend([far; 4]);
        let after = staying.over(&days(&p)).unwrap().e_value;
        assert!(after > before + 1.0, "{before} {after}");
    }
}
