//! S06 hello-lag: how long the client waits between the end of the TCP handshake and its first bytes.
//!
//! Sees: home-proxy (T3) through SOCKS or CONNECT, whose client learns only a leg later that the connection stands, and
//! so speaks a leg late: visible in the fourth packet of a flow. Needs no place.
//! Errs: browsers that open connections in advance wait for a click; programs that start slowly. A leg is common to all.
//! Evaded by: proxies that accept data in advance (Shadowsocks, Trojan): the absence proves nothing.
//! Numbers: science note S06; the widths are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::habits::{Answer, Behind, Habits, Medians};
use crate::evidence::likelihood::{ln_exponential, ln_hidden_leg, ln_mix, ln_two_sided, ln_uniform};
use crate::evidence::{Case, Hypothesis, Lag, Question, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The cap keeps it from deciding alone: what a program does before it speaks is its own affair (design value).
pub(super) static RULE: Rule = Rule {
    name: "hello-lag",
    signal: "S06",
    question: Question::Connection,
    family: Family::Physics,
    weak: false,
    cap: 6.0,
    observe,
    tell,
};

const LEAST_LAGS: usize = 2;
/// Below this nobody waits for a leg, in ms.
const SMALL: f64 = 40.0;

fn observe(case: &Case<'_>) -> Option<Observation> {
    let lags = &case.account.lags;
    if lags.len() < LEAST_LAGS {
        return None;
    }
    let mut groups: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for lag in lags {
        groups.entry(lag.program).or_default().push(f64::from(lag.us) / 1e3);
    }
    let learned = case.learned_habits(Signal::Lag, groups.keys().copied().map(Some));
    let answers = groups.values().map(|group| (Answer::Thought, &group[..]));
    let habits = Habits::new(answers, 8.0).against(learned);
    let value = shortest(lags)?;
    let n = u64::try_from(lags.len()).unwrap_or(u64::MAX);
    Some(Observation {
        value,
        unit: "ms",
        n,
        ln_likelihood: ln_likelihoods(&habits),
        hidden_leg_ms: (value >= SMALL).then_some((Hypothesis::HomeProxy, value)),
    })
}

/// 5th percentile, ms.
fn shortest(lags: &BTreeSet<Lag>) -> Option<f64> {
    let mut all: Vec<u32> = lags.iter().map(|lag| lag.us).collect();
    all.sort_unstable();
    all.get(all.len().div_ceil(20).saturating_sub(1)).map(|us| f64::from(*us) / 1e3)
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let (value, n) = (seen.value, seen.n);
    // The value is a 5th percentile: of twenty and more, one may be below.
    let hardly = if n < 20 { "no sooner" } else { "hardly ever sooner" };
    let text = if value < SMALL {
        format!(
            "Its programs speak as soon as their connections stand ({value:.0} ms after, {n} connections): no proxy has \
             to tell them first."
        )
    } else {
        format!(
            "In {n} connections its programs speak {hardly} than {value:.0} ms after the connection stands, as if \
             somebody had to tell them first; programs that open connections in advance wait, too."
        )
    };
    (text, case.account.lags.iter().take(2).map(|lag| lag.flow.community_id()).collect())
}

/// What each hypothesis expects of the medians.
struct Expectations {
    unprompted: Medians,
    slow: Medians,
    told: Behind,
}

static EXPECTATIONS: LazyLock<Expectations> = LazyLock::new(|| Expectations {
    unprompted: Medians::new(|m, _| ln_unprompted(m)),
    slow: Medians::new(|m, _| ln_exponential(m, 150.0)),
    told: Behind::new((60, 400), ln_hidden_leg, |m, leg, _| ln_told(m, leg)),
});

fn ln_likelihoods(habits: &Habits) -> [f64; Hypothesis::ALL.len()] {
    let expect = &*EXPECTATIONS;
    let unprompted = habits.ln_usual(&expect.unprompted);
    over(Question::Connection, |h| match h {
        Hypothesis::HomeProxy => ln_mix(&[(0.6, habits.ln_common(&expect.told)), (0.4, unprompted)]),
        Hypothesis::SlowClient => ln_mix(&[(0.5, unprompted), (0.5, habits.ln_independent(&expect.slow))]),
        _ => unprompted,
    })
}

/// A program that knows by itself that its connection stands: at once; now and then later, or in advance.
fn ln_unprompted(median: f64) -> f64 {
    ln_mix(&[
        (0.80, ln_exponential(median.max(0.0), 6.0)),
        (0.12, ln_exponential(median, 60.0)),
        (0.08, ln_uniform(median, 0.0, 1_600.0)),
    ])
}

/// A program that has to be told over the leg, once or twice.
fn ln_told(median: f64, leg: f64) -> f64 {
    let after = |rest: f64| ln_mix(&[(0.7, ln_two_sided(rest, 10.0, 0.7)), (0.3, ln_exponential(rest, 60.0))]);
    ln_mix(&[(0.85, after(median - leg)), (0.15, after(median - 2.0 * leg))])
}
