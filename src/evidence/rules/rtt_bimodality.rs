//! S09 rtt-bimodality: programs behind one address whose shortest round trips lie far apart.
//!
//! Sees: home-exit (T2) where only some machines go through the tunnel: one home line cannot be two lengths at once.
//! Errs: a home with two lines behind one address hardly exists, but a line that falls back to a mobile network does;
//! many homes behind one address (CGNAT) differ by their radio. Evaded by: putting every machine behind the tunnel.
//! Numbers: science note S09 (60 ms); shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Program, Question};
use crate::intel::Kind;

pub(super) static RULE: Rule = Rule {
    name: "rtt-bimodality",
    signal: "S09",
    question: Question::Connection,
    family: Family::Physics,
    weak: false,
    cap: 5.0,
    observe,
    tell,
};

/// Handshakes of a program that its shortest must rest on (science note 0.2: never a single one).
const LEAST_HANDSHAKES: u64 = 3;
/// One machine's line and another's differ by less, in ms.
const APART: f64 = 60.0;

fn ends<'a>(case: &Case<'a>) -> Option<(&'a Program, &'a Program)> {
    let known = case.account.facts.programs.iter().map(|(_, program)| program).filter(|p| p.n >= LEAST_HANDSHAKES);
    let near = known.clone().min_by_key(|program| (program.least_us, program.flow))?;
    let far = known.max_by_key(|program| (program.least_us, program.flow))?;
    (near.flow != far.flow).then_some((near, far))
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (near, far) = ends(case)?;
    let apart = (f64::from(far.least_us) - f64::from(near.least_us)) / 1e3;
    let two = apart > APART;
    let shaky = matches!(case.kind(), Kind::Mobile | Kind::Satellite | Kind::SatelliteGeo | Kind::Unknown);
    Some(Observation {
        value: apart,
        unit: "ms",
        n: near.n + far.n,
        ln_likelihood: over(Question::Connection, |h| {
            let share: f64 = match h {
                Hypothesis::HomeExit => 0.2,
                // A queue makes a minimum of few handshakes long, a radio as well.
                Hypothesis::Bufferbloat => 0.1,
                Hypothesis::Mobile | Hypothesis::GeoSatellite | Hypothesis::LeoSatellite if shaky => 0.1,
                _ => 5e-3,
            };
            if two { share.ln() } else { (1.0 - share).ln() }
        }),
        hidden_leg_ms: two.then_some((Hypothesis::HomeExit, apart)),
    })
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let Some((near, far)) = ends(case) else { return (String::new(), Vec::new()) };
    let ms = |program: &Program| f64::from(program.least_us) / 1e3;
    let text = if seen.value > APART {
        format!(
            "Of the programs behind this address one is {:.0} ms away and another {:.0} ms ({} handshakes): one line \
             cannot be both, unless a queue or a radio was in the way each time.",
            ms(near),
            ms(far),
            seen.n
        )
    } else {
        format!("All programs behind this address are about equally far away ({:.0} to {:.0} ms).", ms(near), ms(far))
    };
    (text, vec![near.flow.community_id(), far.flow.community_id()])
}
