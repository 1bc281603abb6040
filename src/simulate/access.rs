//! The access lines of homes: fixed delay, rate and queue by the kind of line.
//!
//! Reads: a plan. Emits: the leg between the home's router and the provider. Does not: know who is at home.

use crate::simulate::leg::{Episode, Leg, MS, Queue, Stretch};
use crate::simulate::options::{Access, Plan};
use crate::simulate::random::Random;

/// The character of the home's access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Quiet,
    Bloated,
    Radio,
    Cellular,
    LowOrbit,
}

/// The access line of a scenario, unless another is asked for.
pub(super) fn last_mile(line: Line, plan: &Plan, owner: &str) -> Leg {
    let (line, rate) = match plan.access {
        None => (line, 20_000_000),
        Some(Access::Fibre) => (Line::Quiet, 500_000_000),
        Some(Access::Cable) => (Line::Quiet, 40_000_000),
        Some(Access::Dsl) => (Line::Quiet, 10_000_000),
        Some(Access::Wifi) => (Line::Radio, 30_000_000),
        Some(Access::Bloated) => (Line::Bloated, 10_000_000),
        Some(Access::Lte) => (Line::Cellular, 30_000_000),
        Some(Access::Leo) => (Line::LowOrbit, 20_000_000),
    };
    let (floor, mean) = (plan.last_mile, plan.last_mile_jitter);
    let stretch = |queue: Queue, rate: u64| Stretch { floor, queue, rate, loss: plan.loss };
    let leg = |up: &Stretch| Leg::with("home_lastmile", up, |way| plan.today(&format!("{owner}/{way}")));
    match line {
        Line::Quiet => leg(&stretch(Queue::Light { mean }, rate)),
        Line::Radio => leg(&stretch(Queue::Contended { mean, chance: 0.12, burst: 22 * MS }, 30_000_000)),
        Line::LowOrbit => leg(&stretch(Queue::Slotted { mean }, 20_000_000)),
        Line::Cellular => {
            // Only the way up waits for grants; the way down is scheduled each millisecond.
            let mut both = leg(&stretch(Queue::Granted { mean }, 30_000_000));
            both.backward = leg(&stretch(Queue::Light { mean }, 100_000_000)).backward;
            both
        }
        Line::Bloated => {
            let up = episodes(plan.duration, &mut plan.today("episodes"));
            // The way down is faster and its buffer smaller.
            let down = up.iter().map(|episode| Episode { peak: episode.peak / 4, ..*episode }).collect();
            let mut both = leg(&stretch(Queue::Bloated { mean, episodes: up }, 10_000_000));
            both.backward = leg(&stretch(Queue::Bloated { mean, episodes: down }, 100_000_000)).backward;
            both
        }
    }
}

/// Uploads that fill the buffer for 20 s to 2 min, with quiet between; peaks of 120 to 450 ms.
fn episodes(duration: i64, chance: &mut Random) -> Vec<Episode> {
    let mut episodes = Vec::new();
    let mut at = chance.between(5_000 * MS, 60_000 * MS);
    while at < duration {
        let until = at.saturating_add(chance.between(20_000 * MS, 120_000 * MS));
        episodes.push(Episode { from: at, until, peak: chance.between(120 * MS, 450 * MS) });
        at = until.saturating_add(chance.between(30_000 * MS, 180_000 * MS));
    }
    episodes
}
