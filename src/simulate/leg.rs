//! One stretch of a path: propagation, a queue with jitter, a line rate, loss, and order kept.
//!
//! Reads: the time and size of what enters. Emits: when it leaves the other end, or that it was lost. Does not: know
//! what it carries. Each direction is a lane of its own; a lane is a FIFO, as routers' queues are, so jitter delays
//! but never reorders. The time through a lane is never less than its floor: every loop of a capture obeys causality.

use crate::simulate::random::Random;

/// Nanoseconds in a millisecond.
pub(super) const MS: i64 = 1_000_000;

/// Of a cellular uplink: the grid of its grants, and how much later a block is sent again (3GPP TS 36.321, FDD).
const GRANT: i64 = 10 * MS;
const REPEAT: i64 = 8 * MS;
/// Of a low orbit: how long a path is kept, and how far paths differ one way.
const SLOT: i64 = 15_000 * MS;
const SLOT_SPREAD: i64 = 6 * MS;
/// When in a minute the first path begins: captures begin with a minute unless another start is asked for, and paths
/// change 12, 27, 42 and 57 s past it (Tanveer et al., CoNEXT 2023).
const SLOT_FROM: i64 = 12_000 * MS;

/// How the queue of a lane behaves over time. All means and peaks in nanoseconds.
#[derive(Debug, Clone)]
pub(super) enum Queue {
    /// Light independent queueing: Erlang-2 with this mean.
    Light { mean: i64 },
    /// Radio contention: the light queue, and with probability `chance` a retry burst of mean `burst` on top.
    Contended { mean: i64, chance: f64, burst: i64 },
    /// A cellular uplink: sent in grants on a 10 ms grid, and one in ten transport blocks again after 8 ms, or twice.
    Granted { mean: i64 },
    /// A low orbit: the path changes each 15 s, with a spike at both ends of the slot (arXiv 2601.08439).
    Slotted { mean: i64 },
    /// A line that fills in its neighbourhood's evening: from `mean` up to `busy` four hours around `peak`.
    Daily { mean: i64, busy: i64, peak: i64 },
    /// A bloated buffer: the light queue, and episodes in which a standing queue builds up, saws and drains.
    Bloated { mean: i64, episodes: Vec<Episode> },
}

/// One spell of cross traffic filling a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Episode {
    /// When the queue begins to grow.
    pub(super) from: i64,
    /// When the cross traffic stops and the queue begins to drain.
    pub(super) until: i64,
    /// How long the full buffer takes to empty.
    pub(super) peak: i64,
}

impl Episode {
    /// The depth of the standing queue at `now`: it fills over two seconds, then saws between 70 and 100 % as a
    /// loss-driven sender does, and drains at line rate (one second of queue a second).
    fn depth(&self, now: i64) -> i64 {
        const FILL: i64 = 2_000 * MS;
        const SAW: i64 = 4_000 * MS;
        let Self { from, until, peak } = *self;
        let standing = |at: i64| {
            let age = at.saturating_sub(from);
            if age < FILL {
                return (peak as f64 * (age as f64 / FILL as f64)) as i64;
            }
            let phase = ((age - FILL) % SAW) as f64 / SAW as f64;
            (peak as f64 * (0.7 + 0.3 * phase)) as i64
        };
        if now < from {
            0
        } else if now < until {
            standing(now)
        } else {
            standing(until).saturating_sub(now.saturating_sub(until)).max(0)
        }
    }
}

/// What a lane is made of.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    /// Propagation and forwarding, nanoseconds: what an empty path takes.
    pub(super) floor: i64,
    /// Its queue.
    pub(super) queue: Queue,
    /// Line rate in bits per second; 0 for a rate too high to matter.
    pub(super) rate: u64,
    /// Probability that a packet is lost.
    pub(super) loss: f64,
}

impl Stretch {
    /// The mean of the time above the floor while no episode is on, without serialisation.
    pub(super) fn mean_queue(&self) -> i64 {
        match self.queue {
            Queue::Light { mean } | Queue::Bloated { mean, .. } | Queue::Daily { mean, .. } => mean,
            // Half a grant, and a tenth of the blocks 8 ms later.
            Queue::Granted { mean } => mean.saturating_add(GRANT / 2 + REPEAT / 10),
            Queue::Slotted { mean } => mean.saturating_add(SLOT_SPREAD / 2),
            Queue::Contended { mean, chance, burst } => mean.saturating_add((chance * burst as f64) as i64),
        }
    }
}

/// One direction of a leg.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    stretch: Stretch,
    random: Random,
    free_at: i64,
    last_out: i64,
}

impl Lane {
    /// An idle lane.
    pub(super) const fn new(stretch: Stretch, random: Random) -> Self {
        Self { stretch, random, free_at: i64::MIN, last_out: i64::MIN }
    }

    /// When a packet of `size` bytes that enters at `now` comes out; `None` when it is lost.
    pub(super) fn carry(&mut self, now: i64, size: usize) -> Option<i64> {
        if self.stretch.loss > 0.0 && self.random.chance(self.stretch.loss) {
            return None;
        }
        Some(self.carry_surely(now, size))
    }

    /// The same for a link that repairs its own losses.
    pub(super) fn carry_surely(&mut self, now: i64, size: usize) -> i64 {
        let bits = (size as u64).saturating_mul(8_000_000_000);
        let on_the_line = bits.checked_div(self.stretch.rate).map_or(0, |ns| i64::try_from(ns).unwrap_or(i64::MAX));
        self.free_at = self.free_at.max(now).saturating_add(on_the_line);
        let out = self.free_at.saturating_add(self.stretch.floor).saturating_add(self.wait(now)).max(self.last_out);
        self.last_out = out;
        out
    }

    fn wait(&mut self, now: i64) -> i64 {
        let light = |random: &mut Random, mean: i64| random.erlang(mean);
        match &self.stretch.queue {
            Queue::Light { mean } => light(&mut self.random, *mean),
            Queue::Contended { mean, chance, burst } => {
                let base = light(&mut self.random, *mean);
                if self.random.chance(*chance) { base.saturating_add(self.random.erlang(*burst)) } else { base }
            }
            Queue::Granted { mean } => {
                let ready = now.saturating_add(light(&mut self.random, *mean));
                let grant = GRANT - 1 - (ready - 1).rem_euclid(GRANT);
                let again = [0.1, 0.1].into_iter().take_while(|p| self.random.chance(*p)).count() as i64;
                ready.saturating_sub(now).saturating_add(grant).saturating_add(again * REPEAT)
            }
            Queue::Slotted { mean } => {
                let slotted = now.saturating_sub(SLOT_FROM);
                let (slot, age) = (slotted.div_euclid(SLOT), slotted.rem_euclid(SLOT));
                // The satellites' heights and the ground station differ from slot to slot: a fixed mix of its number.
                let path = (slot.wrapping_mul(0x9e37_79b9).rem_euclid(1 << 16) * SLOT_SPREAD) >> 16;
                let edge = |width: i64, most: i64, from: i64| ((width - from).max(0) * most) / width;
                let spikes = edge(300 * MS, 100 * MS, age) + edge(200 * MS, 50 * MS, SLOT - age);
                light(&mut self.random, *mean).saturating_add(path).saturating_add(spikes)
            }
            Queue::Daily { mean, busy, peak } => {
                const DAY: i64 = 86_400_000 * MS;
                const WIDTH: i64 = 4 * 3_600_000 * MS;
                let off = now.saturating_sub(*peak).rem_euclid(DAY);
                let near = (WIDTH - off.min(DAY - off)).max(0) as f64 / WIDTH as f64;
                light(&mut self.random, mean.saturating_add((busy.saturating_sub(*mean) as f64 * near) as i64))
            }
            Queue::Bloated { mean, episodes } => {
                let standing: i64 = episodes.iter().map(|episode| episode.depth(now)).max().unwrap_or(0);
                light(&mut self.random, *mean).saturating_add(standing)
            }
        }
    }
}

/// Both directions of one stretch; `forward` leads towards the company.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    /// Its name in `truth.json`.
    pub(super) name: &'static str,
    /// Towards the company.
    pub(super) forward: Lane,
    /// Away from it.
    pub(super) backward: Lane,
}

impl Leg {
    /// A leg whose directions are alike in all but chance; `stream` gives each its own, by name.
    pub(super) fn with(name: &'static str, stretch: &Stretch, stream: impl Fn(&str) -> Random) -> Self {
        let lane = |way: &str| Lane::new(stretch.clone(), stream(&format!("{name}/{way}")));
        Self { name, forward: lane("forward"), backward: lane("backward") }
    }

    /// What an empty leg takes there and back, nanoseconds.
    pub(super) const fn floor_rtt(&self) -> i64 {
        self.forward.stretch.floor.saturating_add(self.backward.stretch.floor)
    }

    /// The floor there and back with the mean of both quiet queues.
    pub(super) fn mean_rtt(&self) -> i64 {
        let (there, back) = (&self.forward.stretch, &self.backward.stretch);
        self.floor_rtt().saturating_add(there.mean_queue()).saturating_add(back.mean_queue())
    }

    /// One-way floor in milliseconds, for the truth.
    pub(super) fn one_way_ms(&self) -> f64 {
        self.forward.stretch.floor as f64 / MS as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(queue: Queue, rate: u64, loss: f64) -> Lane {
        Lane::new(Stretch { floor: 10 * MS, queue, rate, loss }, Random::stream(1, "lane"))
    }

    #[test]
    fn a_lane_keeps_order_and_never_beats_its_floor() {
        let mut lane = lane(Queue::Contended { mean: MS, chance: 0.2, burst: 30 * MS }, 0, 0.0);
        let mut last = i64::MIN;
        for packet in 0..20_000_i64 {
            let entered = packet * MS / 2;
            let out = lane.carry(entered, 100).unwrap();
            assert!(out >= entered + 10 * MS && out >= last);
            last = out;
        }
    }

    #[test]
    fn jitter_has_the_mean_it_was_given() {
        let mut lane = lane(Queue::Light { mean: 2 * MS }, 0, 0.0);
        let n = 20_000_i64;
        // A second apart: no packet waits for the one before it.
        let sum: i64 = (0..n).map(|i| lane.carry(i * 1_000 * MS, 100).unwrap() - i * 1_000 * MS - 10 * MS).sum();
        assert!((sum / n - 2 * MS).abs() < MS / 20, "{}", sum / n);
    }

    #[test]
    fn queues_with_a_clock_have_their_mean_and_their_texture() {
        let mean_of = |queue: &Queue, step: i64, n: i64| {
            let mut lane = lane(queue.clone(), 0, 0.0);
            let sum: i64 = (0..n).map(|i| lane.carry(i * step, 100).unwrap() - i * step - 10 * MS).sum();
            (sum / n, lane.stretch.mean_queue())
        };
        for queue in [Queue::Granted { mean: MS }, Queue::Slotted { mean: MS }] {
            let (seen, told) = mean_of(&queue, 97 * MS + 13, 50_000);
            assert!((seen - told).abs() < 2 * MS, "{queue:?}: {seen} {told}");
        }
        let mut lane = lane(Queue::Granted { mean: MS }, 0, 0.0);
        assert!((0..100).all(|i| lane.wait(i * 37 * MS + 11).saturating_add(i * 37 * MS + 11) % (2 * MS) == 0));
        let daily = Queue::Daily { mean: MS, busy: 21 * MS, peak: 20 * 3_600_000 * MS };
        let mut lane = Lane::new(Stretch { floor: 0, queue: daily, rate: 0, loss: 0.0 }, Random::stream(1, "day"));
        let mut hour = |h: i64| (0..2_000).map(|i| lane.wait((h * 3_600_000 + i) * MS)).sum::<i64>() / 2_000;
        assert!(
            (hour(8) - MS).abs() < MS / 5 && (hour(20) - 21 * MS).abs() < 2 * MS && (hour(18) - 11 * MS).abs() < MS
        );
    }

    #[test]
    fn the_line_rate_spaces_packets_out() {
        let mut lane = lane(Queue::Light { mean: 0 }, 12_000_000, 0.0);
        // 1500 bytes at 12 Mbit/s take one millisecond.
        assert_eq!(lane.carry(0, 1500), Some(11 * MS));
        assert_eq!(lane.carry(0, 1500), Some(12 * MS));
        assert_eq!(lane.carry(5 * MS, 1500), Some(16 * MS));
    }

    #[test]
    fn losses_come_as_often_as_asked_and_not_on_a_link_that_repairs() {
        let mut lane = lane(Queue::Light { mean: 0 }, 0, 0.1);
        let lost = (0..10_000).filter(|i| lane.carry(i * MS, 60).is_none()).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert_eq!(lane.carry_surely(20_000 * MS, 60), 20_010 * MS);
    }

    #[test]
    fn a_bloated_queue_grows_saws_and_drains_no_faster_than_the_line() {
        let episode = Episode { from: 1_000 * MS, until: 21_000 * MS, peak: 300 * MS };
        assert_eq!(episode.depth(0), 0);
        assert_eq!(episode.depth(2_000 * MS), 150 * MS);
        for t in 3_000..21_000 {
            assert!((210 * MS..=300 * MS).contains(&episode.depth(t * MS)));
        }
        assert_eq!(episode.depth(22_000 * MS), 0);
        let (a, b) = (episode.depth(21_000 * MS), episode.depth(21_100 * MS));
        assert_eq!(a - b, 100 * MS);
    }
}
