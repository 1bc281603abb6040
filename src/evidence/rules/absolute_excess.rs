//! S01 absolute-excess: the shortest round trip to the endpoint against what its place allows.
//!
//! Sees: home-exit (T2), where every loop closes at the operator. Needs the place of the endpoint and of the tap.
//! Errs: an address database that is wrong, a queue that is always full, a satellite; each is a hypothesis here.
//! Evaded by: an operator near the home. Numbers: science note 0.1, 0.2, S01; the widths are design values.

use super::{Family, Observation, Rule, over};
use crate::base::Layer;
use crate::evidence::baseline::told;
use crate::evidence::likelihood::{ln_exponential, ln_gamma2, ln_hidden_leg, ln_mix, ln_normal, ln_sum, ln_uniform};
use crate::evidence::{Case, Hypothesis, Question};
use crate::fingerprint::Rung;

pub(super) static RULE: Rule = Rule {
    name: "absolute-excess",
    signal: "S01",
    question: Question::Connection,
    family: Family::Physics,
    weak: false,
    // Until a site has its own baseline: no rarer than 1 in 160,000 (design value).
    cap: 12.0,
    observe,
    tell,
};

/// Round trips that a minimum must rest on before it is looked at (science note 0.2: never score a single handshake).
const LEAST_SAMPLES: u64 = 3;
/// Queues forget themselves after about this long: samples closer together are not independent (design value, s).
const INDEPENDENT_AFTER: f64 = 5.0;

/// Mean of the way between the exit of a service and an honest user of it, who takes one nearby (design value, ms).
const DETOUR: f64 = 25.0;

struct Seen {
    /// Shortest round trip, ms.
    rtt: f64,
    /// The same less what place and access allow, ms.
    excess: f64,
    /// Median less minimum, ms.
    spread: f64,
    /// What each of some evenly spread quantiles exceeds the shortest by, ms.
    above: Vec<f64>,
    /// Samples that can be called independent, for each of those quantiles.
    weight: f64,
    /// Log likelihood of the samples for each floor below the shortest, on a line in good order and on a radio link.
    quiet: Vec<f64>,
    restless: Vec<f64>,
    /// Round trip of the distance at 4/9 c, ms.
    distance: f64,
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (layer, rung, seen) = look(case)?;
    // A proxy at home ends TCP, and nothing else: the whole way shows in datagrams, and inside a tunnel.
    let ended = matches!(layer, Layer::TcpHandshake | Layer::TcpData) && case.account.ladder.rung(layer).is_some();
    Some(Observation {
        value: seen.excess,
        unit: "ms",
        n: rung.samples.n(),
        ln_likelihood: seen.ln_learned(case, ended, seen.ln_likelihoods(ended)),
        hidden_leg_ms: Some((Hypothesis::HomeExit, seen.excess)),
    })
}

fn look<'a>(case: &Case<'a>) -> Option<(Layer, &'a Rung, Seen)> {
    let expected = case.expected?;
    // A tunnel that is set up once gives one round trip; the traffic inside it takes the same way, and more often.
    let (layer, rung) = case.path_rungs().find(|(_, rung)| rung.samples.n() >= LEAST_SAMPLES)?;
    Some((layer, rung, Seen::of(rung, expected.total_ms() + case.base_ms(), expected.distance_ms)?))
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
    let base = match case.base_ms() {
        base if base.abs() < 0.5 => String::new(),
        base => format!(", {base:+.0} as is usual here"),
    };
    let text = format!(
        "Its quickest of {n} {} round trips takes {rtt:.0} ms, {relation} its place allows ({:.0} ms{base}, give or take \
         {:.0}); half of them are within {spread:.0} ms of it.{}",
        layer.name(),
        rtt - excess,
        seen.sigma(),
        told(case.learned_excess(), excess + case.base_ms(), "far above"),
    );
    (text, cites)
}

impl Seen {
    fn of(rung: &Rung, expected: f64, distance: f64) -> Option<Self> {
        const QUANTILES: u8 = 12;
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        let rtt = ms(rung.samples.min()?);
        let spread = ms(rung.samples.quantile(0.5)?) - rtt;
        // Acknowledgments that waited for a timer tell nothing of queues: then the shortest alone counts, as one.
        let told = if rung.samples.is_prompt() { rung.samples.n() } else { 1 };
        #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
        let n = told as f64;
        let kept = u8::try_from(told).unwrap_or(QUANTILES).min(QUANTILES);
        let above: Vec<f64> = (0..kept)
            .filter_map(|i| {
                if told == 1 {
                    rung.samples.min()
                } else {
                    rung.samples.quantile((f64::from(i) + 0.5) / f64::from(kept))
                }
            })
            .map(|d| (ms(d) - rtt).max(0.0))
            .collect();
        let independent = n.min(1.0 + rung.span().as_secs_f64() / INDEPENDENT_AFTER);
        let weight = independent / f64::from(kept);
        let over = |ln_queue: fn(f64) -> f64| -> Vec<f64> {
            floors().map(|below| weight * above.iter().map(|a| ln_queue(a + below)).sum::<f64>()).collect()
        };
        let (quiet, restless) = (over(ln_quiet), over(ln_restless));
        Some(Self { rtt, excess: rtt - expected, spread, above, weight, quiet, restless, distance })
    }

    /// How well distance and access predict an honest minimum, ms: better for near places (design value).
    fn sigma(&self) -> f64 {
        10.0 + 0.15 * self.distance
    }

    fn ln_likelihoods(&self, ended: bool) -> [f64; Hypothesis::ALL.len()] {
        let honest = self.ln_floor(&self.quiet, |x| self.ln_honest(x));
        over(Question::Connection, |h| match h {
            // Few proxies carry datagrams (design value: one in ten).
            Hypothesis::HomeProxy if !ended => self.ln_likelihood(Hypothesis::HomeExit, honest) - 10f64.ln(),
            // A satellite's provider that ends TCP on the ground leaves only datagrams to show the way up and down.
            Hypothesis::GeoSatellite if ended => {
                ln_mix(&[(0.5, honest), (0.5, self.ln_likelihood(Hypothesis::GeoSatellite, honest))])
            }
            h => self.ln_likelihood(h, honest),
        })
    }

    fn ln_likelihood(&self, hypothesis: Hypothesis, honest: f64) -> f64 {
        let floor = |x| self.ln_density(hypothesis, x);
        match hypothesis {
            Hypothesis::Bufferbloat => self.ln_full_queue(),
            Hypothesis::GeoSatellite | Hypothesis::LeoSatellite | Hypothesis::Mobile => {
                self.ln_floor(&self.restless, floor)
            }
            Hypothesis::PrivacyRelay
            | Hypothesis::HomeExit
            | Hypothesis::CommercialVpn
            | Hypothesis::Misplaced
            | Hypothesis::Accelerator => self.ln_floor(&self.quiet, floor),
            _ => honest,
        }
    }

    /// Log density of the floor's excess.
    fn ln_density(&self, hypothesis: Hypothesis, x: f64) -> f64 {
        match hypothesis {
            Hypothesis::PrivacyRelay => ln_mix(&[(0.4, self.ln_honest(x)), (0.6, ln_exponential(x, DETOUR))]),
            Hypothesis::HomeExit | Hypothesis::CommercialVpn => ln_hidden_leg(x),
            // The shortest of a queue's draws.
            Hypothesis::Bufferbloat => ln_mix(&[(0.5, ln_gamma2(x + 15.0, 60.0)), (0.5, ln_gamma2(x + 15.0, 150.0))]),
            // Twice up and down at 35,786 km is 477 ms, gateway and scheduler make it about 560.
            Hypothesis::GeoSatellite => ln_normal(x + self.rtt - self.excess - self.distance, 560.0, 60.0),
            Hypothesis::LeoSatellite => ln_normal(x, 30.0, 20.0),
            Hypothesis::Mobile => ln_mix(&[(0.98, ln_normal(x, 25.0, 25.0)), (0.02, ln_exponential(x, 50.0))]),
            Hypothesis::Misplaced => ln_uniform(x, -100.0, 400.0),
            // TCP ends near the tap: whatever is below the expectation.
            Hypothesis::Accelerator => ln_mix(&[(0.5, self.ln_honest(x)), (0.5, ln_uniform(x, -150.0, 0.0))]),
            _ => self.ln_honest(x),
        }
    }

    /// The same beside what was learned of honest lines like this one. They are of all innocent sorts together, so all
    /// innocent answers become likelier or less by the same; so does a proxy whose home ends what was measured.
    fn ln_learned(
        &self,
        case: &Case<'_>,
        ended: bool,
        mut ln: [f64; Hypothesis::ALL.len()],
    ) -> [f64; Hypothesis::ALL.len()] {
        let Some((_, learned)) = case.learned_excess() else { return ln };
        let innocent = |h: &Hypothesis| !h.is_malicious() && h.question() == Question::Connection;
        let weighed = Hypothesis::ALL.into_iter().filter(innocent).map(|h| {
            let prior = h.prior(case.kind(), case.is_distant());
            prior.ln() + self.ln_density(h, self.excess)
        });
        let correction = learned.correction(self.excess + case.base_ms(), ln_sum(weighed));
        for (h, ln) in Hypothesis::ALL.iter().zip(&mut ln) {
            let ends_at_home = innocent(h) || ended && *h == Hypothesis::HomeProxy;
            *ln += if ends_at_home { correction } else { 0.0 };
        }
        ln
    }

    /// A path with a floor and queues that come and go: the floor's density, times that of every sample above it.
    /// The floor lies at the minimum or a little below.
    fn ln_floor(&self, ln_queues: &[f64], ln_floor: impl Fn(f64) -> f64) -> f64 {
        let terms: Vec<f64> = floors()
            .zip(ln_queues)
            .map(|(below, queues)| ln_floor(self.excess - below) + queues + f64::from(FLOOR_STEP).ln())
            .collect();
        ln_sum(terms.iter().copied())
    }

    /// An honest path under a queue that is never empty: every sample is a draw of the queue (science note 0.2: bursts
    /// are gamma(2, 60 ms); a deep buffer behind a slow uplink is several times that).
    fn ln_full_queue(&self) -> f64 {
        let draws = |scale: f64| -> f64 {
            let queues: f64 = self.above.iter().map(|above| ln_gamma2(self.excess + 15.0 + above, scale)).sum();
            self.weight * queues
        };
        ln_mix(&[(0.5, draws(60.0)), (0.5, draws(150.0))])
    }

    /// A home where it says it is: near the expectation, now and then with a worse path. The whole country is 66 ms
    /// across (science note 0.1), so a detour that adds 60 ms again and again is rare already.
    fn ln_honest(&self, x: f64) -> f64 {
        let tail = 12.0 + 0.1 * self.distance;
        ln_mix(&[(0.99, ln_normal(x, 0.0, self.sigma())), (0.01, ln_exponential(x, tail))])
    }
}

/// How far below the shortest round trip its floor may lie, in steps, ms.
fn floors() -> impl Iterator<Item = f64> {
    const DEEPEST: u8 = 40;
    (0..DEEPEST).step_by(usize::from(FLOOR_STEP)).map(f64::from)
}

const FLOOR_STEP: u8 = 2;

/// Queueing above the floor of a line in good order, now and then filled by somebody's upload.
fn ln_quiet(above: f64) -> f64 {
    ln_mix(&[(0.8, ln_exponential(above, 8.0)), (0.2, ln_exponential(above, 60.0))])
}

/// Queueing above the floor of a radio link.
fn ln_restless(above: f64) -> f64 {
    ln_mix(&[(0.5, ln_exponential(above, 8.0)), (0.5, ln_exponential(above, 40.0))])
}
