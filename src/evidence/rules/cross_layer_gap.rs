//! S03 cross-layer-gap: how much later TLS or SSH answers than TCP does, handshake by handshake.
//!
//! Sees: home-proxy (T3), where TCP ends at the home and everything above it at the operator. Needs no place.
//! Errs: clients that think long, satellites and accelerators that end TCP midway; each is a hypothesis here. A slow
//! program is slow in its own way, a long leg delays all programs by the same or a multiple: a relay that waits for an
//! acknowledgment of its own before it passes on the rest of a message makes the loop take the leg twice.
//! Evaded by: delaying the TCP acknowledgments as well, which shows in absolute-excess.
//! Numbers: science note S03 and 0.2; Xue et al., NDSS 2025; the widths are design values.

use super::{Family, Observation, Rule, over};
use crate::base::Layer;
use crate::evidence::baseline::told;
use crate::evidence::habits::{Answer, Behind, Habits, Medians};
use crate::evidence::likelihood::{IMPOSSIBLE, ln_exponential, ln_hidden_leg, ln_mix, ln_two_sided, ln_uniform};
use crate::evidence::{Case, Gap, Hypothesis, Question, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

pub(super) static RULE: Rule = Rule {
    name: "cross-layer-gap",
    signal: "S03",
    question: Question::Connection,
    family: Family::Physics,
    weak: false,
    // Until a site has its own baseline: no rarer than 1 in 160,000 (design value).
    cap: 12.0,
    observe,
    tell,
};

/// Handshakes that must have been measured at both layers (science note 0.2: never score a single handshake).
const LEAST_GAPS: usize = 2;
/// Gaps below this are one machine's thoughts, in ms; the farm question begins at 60 (science note 0.1).
const SMALL: f64 = 20.0;
/// Flows cited.
const CITED: usize = 3;

fn observe(case: &Case<'_>) -> Option<Observation> {
    let account = case.account;
    if account.gaps.len() < LEAST_GAPS {
        return None;
    }
    let tcp = account.ladder.rung(Layer::TcpHandshake)?;
    let (least, median) = (tcp.samples.min()?, tcp.samples.quantile(0.5)?);
    let scatter = ((median.as_secs_f64() - least.as_secs_f64()) * 1e3).clamp(8.0, 150.0);
    let mut groups: BTreeMap<(bool, u64), Vec<f64>> = BTreeMap::new();
    let mut programs: BTreeMap<(bool, u64), Option<u64>> = BTreeMap::new();
    for gap in &account.gaps {
        groups.entry((gap.unthinking, gap.habit)).or_default().push(gap.ms());
        programs.insert((gap.unthinking, gap.habit), Some(gap.program).filter(|_| !gap.unthinking));
    }
    let answers = groups
        .iter()
        .map(|((unthinking, _), delays)| (if *unthinking { Answer::Unthinking } else { Answer::Thought }, &delays[..]));
    let learned = case.learned_habits(Signal::Gap, programs.into_values());
    let habits = Habits::new(answers, scatter).against(learned);
    let value = Gap::between(account.gaps.iter())?;
    Some(Observation {
        value,
        unit: "ms",
        n: account.gap_count,
        ln_likelihood: ln_likelihoods(&habits),
        hidden_leg_ms: Some((Hypothesis::HomeProxy, value)),
    })
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let gaps = &case.account.gaps;
    let mut by_time: Vec<_> = gaps.iter().map(|g| (g.at, g.flow)).collect();
    by_time.sort_unstable();
    let mut cites: Vec<String> = Vec::new();
    for (_, flow) in by_time {
        let id = flow.community_id();
        if !cites.contains(&id) {
            cites.push(id);
        }
        if cites.len() == CITED {
            break;
        }
    }
    let learned = told(case.learned_gap(), seen.value, "late");
    (text(gaps, seen.value, seen.n) + &learned, cites)
}

fn text(gaps: &BTreeSet<Gap>, value: f64, n: u64) -> String {
    let all = || gaps.iter().map(Gap::ms);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let programs: BTreeSet<u64> = gaps.iter().map(|g| g.program).collect();
    let programs = match programs.len() {
        1 => "one program".to_owned(),
        k => format!("{k} programs"),
    };
    let (layers, kept) = (layers(gaps), u64::try_from(gaps.len()).unwrap_or(u64::MAX));
    let of = if n > kept {
        format!("{kept} of {n} round trips of {programs}")
    } else {
        format!("{n} round trips of {programs}")
    };
    if value < SMALL {
        return format!(
            "In {of} {layers} answers as soon as TCP does (gap {:.0} ms): no long way lies between where the two end.",
            value.max(0.0)
        );
    }
    format!(
        "In {of} {layers} answers about {value:.0} ms after TCP does ({low:.0} to {high:.0} ms). If TCP ends at the \
         home and the program elsewhere, that is the way between them, once or twice; a program that thinks that long \
         would look the same."
    )
}

/// The layers above TCP, for a sentence.
fn layers(gaps: &BTreeSet<Gap>) -> String {
    let names: BTreeSet<&str> = gaps
        .iter()
        .map(|gap| match gap.layer {
            Layer::Tls => "TLS",
            Layer::Ssh => "SSH",
            Layer::OpenVpn => "OpenVPN",
            other => other.name(),
        })
        .collect();
    names.into_iter().collect::<Vec<_>>().join(" or ")
}

/// What each hypothesis expects of the medians.
struct Expectations {
    thought: Medians,
    slow: Medians,
    queued: Medians,
    relayed: Behind,
    satellite: Behind,
    accelerated: Behind,
    nearby: Behind,
}

static EXPECTATIONS: LazyLock<Expectations> = LazyLock::new(|| Expectations {
    thought: Medians::new(ln_thought),
    slow: Medians::new(ln_slow),
    queued: Medians::new(|m, answer| ln_mix(&[(0.5, ln_thought(m, answer)), (0.5, ln_two_sided(m, 85.0, 0.6))])),
    relayed: Behind::new((60, 400), ln_hidden_leg, ln_behind),
    // A satellite's accelerator ends TCP on the ground: the gap is the hop up and down.
    satellite: Behind::new((477, 900), |leg| ln_uniform(leg, 477.0, 900.0), ln_behind),
    // Privacy relays and cloud gateways are chosen near their users.
    nearby: Behind::new((6, 150), |leg| ln_exponential(leg - 6.0, 20.0), ln_behind),
    accelerated: Behind::new((10, 150), |leg| ln_uniform(leg, 10.0, 150.0), ln_behind),
});

fn ln_likelihoods(habits: &Habits) -> [f64; Hypothesis::ALL.len()] {
    let expect = &*EXPECTATIONS;
    let usual = habits.ln_usual(&expect.thought);
    over(Question::Connection, |h| match h {
        Hypothesis::HomeProxy => habits.ln_common(&expect.relayed),
        Hypothesis::GeoSatellite => ln_mix(&[(0.5, habits.ln_common(&expect.satellite)), (0.5, usual)]),
        Hypothesis::Accelerator => habits.ln_common(&expect.accelerated),
        // A relay that ends TCP, near its user.
        Hypothesis::PrivacyRelay => ln_mix(&[(0.5, habits.ln_common(&expect.nearby)), (0.5, usual)]),
        Hypothesis::SlowClient => habits.ln_independent(&expect.slow),
        Hypothesis::Bufferbloat => habits.ln_independent(&expect.queued),
        _ => usual,
    })
}

/// How long a program's answer takes on a usual machine: mostly milliseconds; a cold start or a check of a certificate
/// takes a browser some 100 ms. What needs no thought waits only where the processor is busy.
fn ln_thought(median: f64, answer: Answer) -> f64 {
    match answer {
        Answer::Thought => ln_mix(&[
            (0.78, ln_two_sided(median, 8.0, 0.75)),
            (0.12, ln_exponential(median, 40.0)),
            (0.10, ln_exponential(median, 200.0)),
        ]),
        Answer::Unthinking => ln_mix(&[
            (0.90, ln_two_sided(median, 6.0, 0.75)),
            (0.08, ln_exponential(median, 25.0)),
            (0.02, ln_exponential(median, 150.0)),
        ]),
    }
}

/// On a slow one: anything from 20 ms to 1.5 s, all magnitudes alike. A smart card or an agent that inspects things is
/// slow only where there is something to inspect; a starved processor is slow at everything.
fn ln_slow(median: f64, answer: Answer) -> f64 {
    let slow = if (20.0..1_500.0).contains(&median) { -(median * (1_500.0f64 / 20.0).ln()).ln() } else { IMPOSSIBLE };
    match answer {
        Answer::Thought => slow,
        Answer::Unthinking => ln_mix(&[(0.7, ln_thought(median, answer)), (0.3, slow)]),
    }
}

/// When the answer comes from beyond a leg: the leg once or more often, and the thought.
fn ln_behind(median: f64, leg: f64, answer: Answer) -> f64 {
    let beyond = |passes: f64| {
        let rest = median - passes * leg;
        match answer {
            Answer::Thought => ln_mix(&[
                (0.6, ln_two_sided(rest, 12.0, 0.6)),
                (0.3, ln_exponential(rest, 50.0)),
                (0.1, ln_exponential(rest, 200.0)),
            ]),
            Answer::Unthinking => ln_mix(&[
                (0.85, ln_two_sided(rest, 12.0, 0.6)),
                (0.12, ln_exponential(rest, 30.0)),
                (0.03, ln_exponential(rest, 150.0)),
            ]),
        }
    };
    ln_mix(&[(0.55, beyond(1.0)), (0.35, beyond(2.0)), (0.10, beyond(3.0))])
}
