//! S03 cross-layer-gap: how much later TLS or SSH answers than TCP does, handshake by handshake.
//!
//! Sees: home-proxy (T3), where TCP ends at the home and everything above it at the operator. Needs no place.
//! Errs: clients that think long, satellites and accelerators that end TCP midway; each is a hypothesis here. A slow
//! program is slow in its own way, a long leg delays all programs by the same: so each program's own delay is unknown,
//! and the leg is common.
//! Evaded by: delaying the TCP acknowledgments as well, which shows in absolute-excess.
//! Numbers: science note S03 and 0.2; Xue et al., NDSS 2025; the widths are design values.

use super::{Observation, Rule};
use crate::base::Layer;
use crate::evidence::likelihood::{
    ln_exponential, ln_hidden_leg, ln_lognormal, ln_mix, ln_sum, ln_two_sided, ln_uniform,
};
use crate::evidence::{Case, Gap, Hypothesis};
use std::collections::BTreeMap;

pub(super) static RULE: Rule = Rule {
    name: "cross-layer-gap",
    signal: "S03",
    // Until a site has its own baseline: no rarer than 1 in 160,000 (design value).
    cap: 12.0,
    observe,
};

/// Handshakes that must have been measured at both layers (science note 0.2: never score a single handshake).
const LEAST_GAPS: usize = 2;

struct Seen {
    /// Gaps by the program that answered, ms.
    programs: BTreeMap<u64, Vec<f64>>,
    /// How far TCP's own round trips scatter, ms.
    scatter: f64,
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let account = case.account;
    if account.gaps.len() < LEAST_GAPS {
        return None;
    }
    let mut programs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for gap in &account.gaps {
        programs.entry(gap.program).or_default().push(gap.ms());
    }
    let tcp = account.ladder.rung(Layer::TcpHandshake)?;
    let (least, median) = (tcp.samples.min()?, tcp.samples.quantile(0.5)?);
    let scatter = ((median.as_secs_f64() - least.as_secs_f64()) * 1e3).clamp(8.0, 150.0);
    let seen = Seen { programs, scatter };
    let value = gap_of_ladder(&account.gaps.iter().copied().collect::<Vec<_>>())?;
    Some(Observation {
        value,
        unit: "ms",
        n: account.gap_count,
        text: text(&seen, value, account.gap_count),
        cites: cites(account.gaps.iter()),
        ln_likelihood: Hypothesis::ALL.iter().map(|h| (*h, seen.ln_likelihood(*h))).collect(),
        hidden_leg_ms: Some((Hypothesis::HomeProxy, value)),
    })
}

/// 5th percentile of the upper round trips less 5th percentile of TCP's, in ms: think time and queues fall away.
fn gap_of_ladder(gaps: &[Gap]) -> Option<f64> {
    let p05 = |pick: fn(&Gap) -> u32| {
        let mut sorted: Vec<u32> = gaps.iter().map(pick).collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 20).copied().map(|us| f64::from(us) / 1e3)
    };
    Some(p05(|g| g.upper_us)? - p05(|g| g.tcp_us)?)
}

fn text(seen: &Seen, value: f64, n: u64) -> String {
    let mut all: Vec<f64> = seen.programs.values().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let (low, high) = (all.first().copied().unwrap_or(0.0), all.last().copied().unwrap_or(0.0));
    let programs = match seen.programs.len() {
        1 => "one program".to_owned(),
        k => format!("{k} programs"),
    };
    if value.abs() < 20.0 {
        return format!(
            "In {n} handshakes of {programs} TLS or SSH answers as soon as TCP does (gap {value:.0} ms): both end at \
             the same machine."
        );
    }
    format!(
        "In {n} handshakes of {programs} TLS or SSH answers {value:.0} ms after TCP does (from {low:.0} to {high:.0} \
         ms): TCP ends at the home, what speaks ends farther on."
    )
}

fn cites<'a>(gaps: impl Iterator<Item = &'a Gap>) -> Vec<String> {
    let mut flows: Vec<_> = gaps.map(|g| (g.at, g.flow)).collect();
    flows.sort_unstable();
    flows.dedup_by_key(|(_, flow)| *flow);
    flows.iter().take(3).map(|(_, flow)| flow.community_id()).collect()
}

impl Seen {
    fn ln_likelihood(&self, hypothesis: Hypothesis) -> f64 {
        match hypothesis {
            Hypothesis::HomeProxy => self.ln_common_leg(60, 500, |leg| ln_hidden_leg(leg)),
            // A satellite's accelerator ends TCP on the ground: the gap is the hop up and down.
            Hypothesis::GeoSatellite => ln_mix(&[
                (0.5, self.ln_common_leg(477, 900, |leg| ln_uniform(leg, 477.0, 900.0))),
                (0.5, self.ln_each(|g| self.ln_honest(g))),
            ]),
            Hypothesis::Accelerator => self.ln_common_leg(10, 150, |leg| ln_uniform(leg, 10.0, 150.0)),
            Hypothesis::SlowClient => self.programs.values().map(|gaps| ln_slow_program(gaps)).sum(),
            Hypothesis::Bufferbloat => self.ln_each(|g| ln_two_sided(g, 85.0, 0.6)),
            _ => self.ln_each(|g| self.ln_honest(g)),
        }
    }

    fn ln_each(&self, ln: impl Fn(f64) -> f64) -> f64 {
        self.programs.values().flatten().map(|g| ln(*g)).sum()
    }

    /// One machine ends both: an answer within milliseconds, now and then a thought.
    fn ln_honest(&self, gap: f64) -> f64 {
        ln_mix(&[
            (0.95, ln_two_sided(gap, self.scatter, 0.7)),
            (0.04, ln_exponential(gap, 60.0)),
            (0.01, ln_uniform(gap, -2_000.0, 3_000.0)),
        ])
    }

    /// The same unknown leg in every gap, with its prior, in steps of 4 ms.
    fn ln_common_leg(&self, from: u16, to: u16, ln_prior: impl Fn(f64) -> f64) -> f64 {
        const STEP: u16 = 4;
        let legs: Vec<f64> = (from..=to)
            .step_by(usize::from(STEP))
            .map(|leg| {
                let leg = f64::from(leg);
                ln_prior(leg) + f64::from(STEP).ln() + self.ln_each(|g| self.ln_behind(g - leg))
            })
            .collect();
        ln_sum(legs.iter().copied())
    }

    /// What is left of a gap when the leg is taken away.
    fn ln_behind(&self, rest: f64) -> f64 {
        ln_mix(&[
            (0.85, ln_two_sided(rest, self.scatter.max(10.0), 0.6)),
            (0.10, ln_exponential(rest, 80.0)),
            (0.05, ln_uniform(rest, -2_000.0, 3_000.0)),
        ])
    }
}

/// One program with a delay of its own: any median from 20 ms to 1.5 s, more or less steady.
fn ln_slow_program(gaps: &[f64]) -> f64 {
    const MEDIANS: u16 = 30;
    const SIGMAS: [f64; 3] = [0.15, 0.4, 0.8];
    let span = (1_500.0f64 / 20.0).ln();
    let terms: Vec<f64> = (0..MEDIANS)
        .flat_map(|i| SIGMAS.map(|sigma| (20.0 * (span * (f64::from(i) + 0.5) / f64::from(MEDIANS)).exp(), sigma)))
        .map(|(median, sigma)| {
            let each: f64 = gaps
                .iter()
                .map(|g| ln_mix(&[(0.97, ln_lognormal(*g, median, sigma)), (0.03, ln_uniform(*g, -2_000.0, 3_000.0))]))
                .sum();
            each - (f64::from(MEDIANS) * 3.0).ln()
        })
        .collect();
    ln_sum(terms.iter().copied())
}
