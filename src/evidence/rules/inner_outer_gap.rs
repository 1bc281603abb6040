//! S05 inner-outer-gap: how much farther away the traffic inside a worker's VPN tunnel ends than the tunnel does.
//!
//! Sees: home-proxy (T3), when the VPN runs over TCP and the home ends that TCP for somebody behind it. Needs a tap on
//! each side of the gateway, or one that sees both, or round trips through the tunnel's data. Errs: TCP inside TCP waits for the outer one's repetitions; a client
//! that decrypts slowly; both make all programs late by a few ms. A satellite's accelerator ends the outer TCP on the
//! ground and is a hypothesis. Evaded by: tunnels over UDP, whose whole way shows in absolute-excess.
//! Numbers: science note S05; the widths are design values.

use super::{Family, Observation, Rule, over};
use crate::base::{Layer, RttKind};
use crate::evidence::likelihood::{ln_exponential, ln_hidden_leg, ln_mix, ln_two_sided, ln_uniform};
use crate::evidence::{Case, Hypothesis, Question};
use crate::fingerprint::Rung;

pub(super) static RULE: Rule = Rule {
    name: "inner-outer-gap",
    signal: "S05",
    question: Question::Connection,
    family: Family::Physics,
    weak: false,
    cap: 12.0,
    observe,
    tell,
};

/// Round trips that each minimum must rest on.
const OUTER: u64 = 2;
const INNER: u64 = 3;

/// Where the tunnel ends and where the traffic inside ends, in ms, with the round trips behind both.
struct Seen {
    outer: f64,
    inner: f64,
    n: u64,
    /// Whether what is inside was seen there, and not by the lags of its data outside.
    inside: bool,
}

fn look(case: &Case<'_>) -> Option<Seen> {
    let least = |rungs: &mut dyn Iterator<Item = (f64, u64)>| {
        rungs.fold(None, |known: Option<(f64, u64)>, (ms, n)| Some(known.map_or((ms, n), |k| (k.0.min(ms), k.1 + n))))
    };
    let shortest = |rung: &Rung| Some((rung.samples.min()?.as_secs_f64() * 1e3, rung.samples.n()));
    let tcp = |(layer, rung): (Layer, &Rung)| {
        matches!(layer, Layer::TcpHandshake | Layer::TcpData).then(|| shortest(rung)).flatten()
    };
    // Round trips through a tunnel's data, and of its handshakes: closed where the tunnel ends, whatever carries it.
    let through =
        |(_, rung): (Layer, &Rung)| rung.methods().contains(&RttKind::DATA_ECHO).then(|| shortest(rung)).flatten();
    let inner = case.inner.iter().flat_map(|inner| inner.account.ladder.rungs());
    let inner = least(&mut inner.filter_map(tcp)).filter(|(_, n)| *n >= INNER);
    let data = || least(&mut case.account.ladder.rungs().filter_map(through)).filter(|(_, n)| *n >= INNER);
    let (inside, (ms, n)) = inner.map(|inner| (true, inner)).or_else(|| Some((false, data()?)))?;
    // What ends the outer TCP need not be what ends the tunnel: the lowest is compared.
    let outer = least(&mut case.account.ladder.rungs().filter_map(tcp))?;
    (outer.1 >= OUTER).then_some(Seen { outer: outer.0, inner: ms, n: outer.1 + n, inside })
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let Seen { outer, inner, n, .. } = look(case)?;
    let gap = inner - outer;
    Some(Observation {
        value: gap,
        unit: "ms",
        n,
        ln_likelihood: over(Question::Connection, |h| ln_likelihood(h, gap)),
        hidden_leg_ms: Some((Hypothesis::HomeProxy, gap)),
    })
}

fn ln_likelihood(hypothesis: Hypothesis, gap: f64) -> f64 {
    let honest = ln_mix(&[(0.9, ln_two_sided(gap, 6.0, 0.7)), (0.1, ln_exponential(gap, 40.0))]);
    match hypothesis {
        Hypothesis::HomeProxy => ln_mix(&[(0.95, ln_hidden_leg(gap)), (0.05, honest)]),
        Hypothesis::GeoSatellite => ln_mix(&[(0.5, ln_uniform(gap, 477.0, 900.0)), (0.5, honest)]),
        Hypothesis::Accelerator => ln_mix(&[(0.8, ln_exponential(gap - 10.0, 40.0)), (0.2, honest)]),
        Hypothesis::PrivacyRelay => ln_mix(&[(0.5, ln_exponential(gap, 20.0)), (0.5, honest)]),
        Hypothesis::SlowClient => ln_mix(&[(0.5, ln_exponential(gap, 80.0)), (0.5, honest)]),
        _ => honest,
    }
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let Some(Seen { outer, inner, n, inside }) = look(case) else { return (String::new(), Vec::new()) };
    let text = if seen.value < 20.0 {
        format!("The traffic inside its tunnel ends where the tunnel does ({inner:.0} and {outer:.0} ms).")
    } else if !inside {
        format!(
            "Its TCP ends {outer:.0} ms away, but what its tunnel carries is acknowledged {inner:.0} ms away ({n} round \
             trips): somebody ends the connection on the way and passes it on."
        )
    } else {
        format!(
            "Its tunnel's own connection ends {outer:.0} ms away, but the traffic inside it {inner:.0} ms ({n} round \
             trips): somebody ends the connection on the way and passes it on."
        )
    };
    let cites = case.account.quickest.iter().chain(case.inner.iter().flat_map(|inner| inner.account.quickest.first()));
    (text, cites.take(3).map(|(.., flow)| flow.community_id()).collect())
}
