//! S01 absolute-excess: the shortest round trip to the endpoint against what its place allows.
//!
//! Sees: home-exit (T2), where every loop closes at the operator. Needs the place of the endpoint and of the tap.
//! Errs: an address database that is wrong, a queue that is always full, a satellite; each is a hypothesis here.
//! Evaded by: an operator near the home. Numbers: science note 0.1, 0.2, S01; the widths are design values.

use super::{Observation, Rule};
use crate::base::Layer;
use crate::evidence::likelihood::{
    ln_exponential, ln_hidden_leg, ln_least_of_gamma2, ln_mix, ln_normal, ln_two_sided, ln_uniform,
};
use crate::evidence::{Case, Hypothesis};
use crate::fingerprint::Rung;

pub(super) static RULE: Rule = Rule {
    name: "absolute-excess",
    signal: "S01",
    // Until a site has its own baseline: no rarer than 1 in 160,000 (design value).
    cap: 12.0,
    observe,
    tell,
};

/// Round trips that a minimum must rest on before it is looked at (science note 0.2: never score a single handshake).
const LEAST_SAMPLES: u64 = 3;
/// Queues forget themselves after about this long: samples closer together are not independent (design value, s).
const INDEPENDENT_AFTER: f64 = 5.0;

struct Seen {
    /// Shortest round trip, ms.
    rtt: f64,
    /// The same less what place and access allow, ms.
    excess: f64,
    /// Median less minimum, ms.
    spread: f64,
    /// Samples that can be called independent.
    independent: f64,
    /// Round trip of the distance at 4/9 c, ms.
    distance: f64,
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (_, rung, seen) = look(case)?;
    Some(Observation {
        value: seen.excess,
        unit: "ms",
        n: rung.samples.n(),
        ln_likelihood: Hypothesis::ALL.map(|h| seen.ln_likelihood(h)),
        hidden_leg_ms: Some((Hypothesis::HomeExit, seen.excess)),
    })
}

fn look<'a>(case: &Case<'a>) -> Option<(Layer, &'a Rung, Seen)> {
    let expected = case.expected?;
    let (layer, rung) = case.account.ladder.lowest()?;
    if rung.samples.n() < LEAST_SAMPLES {
        return None;
    }
    Some((layer, rung, Seen::of(rung, expected.total_ms(), expected.distance_ms)?))
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let mut cites: Vec<String> = Vec::new();
    for (.., flow) in &case.account.quickest {
        let id = flow.community_id();
        if cites.len() < 3 && !cites.contains(&id) {
            cites.push(id);
        }
    }
    let Some((layer, rung, seen)) = look(case) else { return (String::new(), cites) };
    let (rtt, excess, spread, n) = (seen.rtt, seen.excess, seen.spread, rung.samples.n());
    let relation = if excess.abs() < 10.0 {
        "about as long as"
    } else if excess > 0.0 {
        "longer than"
    } else {
        "less than"
    };
    let text = format!(
        "Its quickest of {n} {} round trips takes {rtt:.0} ms, {relation} its place allows ({:.0} ms, give or take \
         {:.0}); half of them are within {spread:.0} ms of it.",
        layer.name(),
        rtt - excess,
        seen.sigma(),
    );
    (text, cites)
}

impl Seen {
    fn of(rung: &Rung, expected: f64, distance: f64) -> Option<Self> {
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        let rtt = ms(rung.samples.min()?);
        let spread = ms(rung.samples.quantile(0.5)?) - rtt;
        #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
        let n = rung.samples.n() as f64;
        let independent = n.min(1.0 + rung.span().as_secs_f64() / INDEPENDENT_AFTER);
        Some(Self { rtt, excess: rtt - expected, spread, independent, distance })
    }

    /// How well distance and access predict an honest minimum, ms: better for near places (design value).
    fn sigma(&self) -> f64 {
        10.0 + 0.15 * self.distance
    }

    fn ln_likelihood(&self, hypothesis: Hypothesis) -> f64 {
        self.ln_minimum(hypothesis) + self.ln_spread(hypothesis)
    }

    fn ln_minimum(&self, hypothesis: Hypothesis) -> f64 {
        let x = self.excess;
        let honest = self.ln_honest(x);
        match hypothesis {
            Hypothesis::HomeExit => ln_hidden_leg(x),
            Hypothesis::Bufferbloat => ln_least_of_gamma2(x + 15.0, 60.0, self.independent),
            // Twice up and down at 35,786 km is 477 ms, gateway and scheduler make it about 560.
            Hypothesis::GeoSatellite => ln_normal(self.rtt, 560.0 + self.distance, 60.0),
            Hypothesis::LeoSatellite => ln_normal(x, 30.0, 20.0),
            Hypothesis::Mobile => ln_mix(&[(0.98, ln_normal(x, 25.0, 25.0)), (0.02, ln_exponential(x, 50.0))]),
            Hypothesis::Misplaced => ln_uniform(x, -100.0, 400.0),
            // TCP ends near the tap: whatever is below the expectation.
            Hypothesis::Accelerator => ln_mix(&[(0.5, honest), (0.5, ln_uniform(x, -150.0, 0.0))]),
            _ => honest,
        }
    }

    /// A home where it says it is: near the expectation, now and then with a worse path. The whole country is 66 ms
    /// across (science note 0.1), so a detour that adds 60 ms again and again is rare already.
    fn ln_honest(&self, x: f64) -> f64 {
        let tail = 12.0 + 0.1 * self.distance;
        ln_mix(&[(0.99, ln_normal(x, 0.0, self.sigma())), (0.01, ln_exponential(x, tail))])
    }

    /// A full queue breathes; a long path does not.
    fn ln_spread(&self, hypothesis: Hypothesis) -> f64 {
        if self.independent < 3.0 {
            return 0.0;
        }
        let quiet = ln_exponential(self.spread, 8.0);
        let restless = ln_exponential(self.spread, 70.0);
        match hypothesis {
            Hypothesis::Bufferbloat => restless,
            Hypothesis::Mobile | Hypothesis::LeoSatellite | Hypothesis::GeoSatellite => {
                ln_mix(&[(0.5, quiet), (0.5, ln_two_sided(self.spread, 30.0, 1.0))])
            }
            _ => ln_mix(&[(0.85, quiet), (0.15, restless)]),
        }
    }
}
