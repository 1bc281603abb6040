//! The way to whoever looks at a remote screen, through any relay and any encryption: bursts of the screen provoke
//! acknowledgments or update requests of the viewer.
//!
//! Reads: size, direction and time of the packets of a flow. Emits: one round trip for some hundred bursts, between the
//! capture point and the viewer and back, by the lag at which packets of the viewer most often follow a burst: the
//! maximum of the cross-correlation with a Laplace kernel of 5 ms, over lags to 1 s.
//!
//! Which end is controlled: the one that sends at least twice as much, since a screen weighs more than a mouse. While
//! neither does, nothing is measured.
//!
//! Bias: from the first packet of a burst, so it is longer by the burst itself where the viewer waits for all of it, by
//! what the viewer thinks, and by a relay that holds small packets back until the last one was acknowledged (Nagle).
//! It is a place on a curve: it errs by the path's jitter both ways. What a person types does not follow bursts
//! at a fixed lag; what a relay's TCP does follows at the lag of TCP's own round trip, so no shorter lag is believed.
//! Where the person's strokes follow each other by a clock, the lag of a stroke may outweigh the viewer's.
//! Does not: say where the viewer is, or look inside anything.
//!
//! Reference: science note S14; Yung, RAID 2002 (the ratio of echo and acknowledgment delays); Xue et al., NDSS 2025.

use crate::base::{Direction, Ends, Layer, RttSample, Side, Timestamp};
use std::time::Duration;

/// A burst begins after so long a silence of the screen (science note S14).
const GAP: Duration = Duration::from_millis(20);
/// Lags are counted in bins of this width, in ms.
const BIN_MS: u128 = 2;
/// Bins: lags up to a second.
const BINS: usize = 500;
/// Bursts that may still be answered. There can be 49 in a second.
const OPEN: usize = 48;
/// Bursts from which an estimate is tried at the end of a flow.
const LEAST_BURSTS: u16 = 100;
/// Bursts after which it is made (science note S14: at least 200).
const BURSTS: u16 = 250;
/// Packets after which it is looked who sends more.
const WARM: u32 = 64;
/// The kernel's scale, in bins (5 ms).
const SCALE: f64 = 2.5;
/// Half the stretch of lags that tells how often a packet follows a burst by chance, in bins (150 ms).
const AROUND: usize = 75;
/// Standard deviations by which a lag must stand out from what is around it. There are about a hundred lags that can do
/// so by chance; a hundred windows without any relation gave none that did (`chance_makes_no_round_trip`).
const STANDS_OUT: f64 = 5.0;

/// One flow's bursts and what follows them.
#[derive(Debug)]
pub struct RemoteEcho {
    /// How often a packet of the viewer passed so long after a burst.
    lags: [u8; BINS],
    /// When the newest bursts began, as a ring.
    open: [Timestamp; OPEN],
    newest: u8,
    bursts: u16,
    controlled: Option<Direction>,
    bytes: Ends<u64>,
    packets: u32,
    last: Timestamp,
}

impl Default for RemoteEcho {
    fn default() -> Self {
        Self {
            lags: [0; BINS],
            open: [Timestamp::MIN; OPEN],
            newest: 0,
            bursts: 0,
            controlled: None,
            bytes: Ends::default(),
            packets: 0,
            last: Timestamp::MIN,
        }
    }
}

impl RemoteEcho {
    /// A packet with `len` bytes of payload. Says whether there are enough bursts for [`RemoteEcho::conclude`].
    pub fn on_packet(&mut self, at: Timestamp, dir: Direction, len: u32) -> bool {
        *self.bytes.of_mut(dir) += u64::from(len);
        self.packets += 1;
        if self.packets >= WARM {
            self.choose();
        }
        let Some(controlled) = self.controlled else { return false };
        if dir == controlled {
            self.on_screen(at);
            return self.bursts >= BURSTS;
        }
        self.on_viewer(at)
    }

    /// Looks anew who sends more; an end that has changed its part begins again.
    fn choose(&mut self) {
        let Ends { orig, resp } = std::mem::take(&mut self.bytes);
        self.packets = 0;
        let controlled = match (orig >= 2 * resp, resp >= 2 * orig) {
            (true, false) => Some(Direction::Orig),
            (false, true) => Some(Direction::Resp),
            // Neither by much: a quiet moment of a session that was clear before.
            _ => self.controlled,
        };
        if controlled != self.controlled {
            self.forget();
            self.controlled = controlled;
        }
    }

    fn forget(&mut self) {
        self.lags = [0; BINS];
        self.open = [Timestamp::MIN; OPEN];
        self.bursts = 0;
    }

    fn on_screen(&mut self, at: Timestamp) {
        if at.since(self.last).is_none_or(|pause| pause >= GAP) {
            self.newest = if usize::from(self.newest) + 1 < OPEN { self.newest + 1 } else { 0 };
            if let Some(slot) = self.open.get_mut(usize::from(self.newest)) {
                *slot = at;
            }
            self.bursts = self.bursts.saturating_add(1);
        }
        self.last = at;
    }

    fn on_viewer(&mut self, at: Timestamp) -> bool {
        let mut full = false;
        for lag in self.open.iter().filter_map(|burst| at.since(*burst)) {
            let bin = usize::try_from(lag.as_millis() / BIN_MS).unwrap_or(usize::MAX);
            if let Some(count) = self.lags.get_mut(bin) {
                *count = count.saturating_add(1);
                full |= *count == u8::MAX;
            }
        }
        full
    }

    /// The side of the viewer, once the controlled end is known.
    #[must_use]
    pub fn viewer(&self) -> Option<Side> {
        self.controlled.map(|controlled| match controlled {
            Direction::Orig => Side::Server,
            Direction::Resp => Side::Client,
        })
    }

    /// The round trip to the viewer, if one stands out and is not shorter than `floor`, TCP's own to that end; begins
    /// a new window. `None` too while there are few bursts.
    pub fn conclude(&mut self, at: Timestamp, floor: Option<Duration>) -> Option<RttSample> {
        let side = self.viewer().filter(|_| self.bursts >= LEAST_BURSTS)?;
        let least = floor.map_or(0, |floor| usize::try_from(floor.as_millis() / BIN_MS).unwrap_or(BINS));
        let lag = outstanding(&self.lags, least);
        self.lags = [0; BINS];
        self.bursts = 0;
        let (rtt, layer) = (lag?, Layer::RemoteEcho);
        Some(RttSample { at, side, rtt, layer, method: "ack-echo", ambiguous: false })
    }
}

/// The lag that stands out most from those around it, not below `least` bins.
fn outstanding(lags: &[u8; BINS], least: usize) -> Option<Duration> {
    let scores = smoothed(lags);
    let (gain, noise) = kernel();
    let mut best: Option<(f64, usize)> = None;
    for (bin, score) in scores.iter().enumerate().skip(least) {
        let around = lags.get(bin.saturating_sub(AROUND)..(bin + AROUND).min(BINS)).unwrap_or_default();
        let counts: u32 = around.iter().map(|count| u32::from(*count)).sum();
        let chance = f64::from(counts) / f64::from(u32::try_from(around.len()).unwrap_or(1).max(1));
        // Counts are scattered as Poisson's, so their weighted sum by the square of the weights. One is added so that
        // two packets in an empty place do not stand out.
        let stands_out = (score - chance * gain) / (chance * noise + 1.0).sqrt();
        if stands_out >= STANDS_OUT && best.is_none_or(|(highest, _)| score - chance * gain > highest) {
            best = Some((score - chance * gain, bin));
        }
    }
    let (_, bin) = best?;
    // The middle of the bin.
    let bin = u64::try_from(bin).ok()?;
    Some(Duration::from_millis(2 * bin + 1))
}

/// The counts under a Laplace kernel, by a filter that runs up and one that runs down.
fn smoothed(lags: &[u8; BINS]) -> [f64; BINS] {
    let decay = (-1.0 / SCALE).exp();
    let mut scores = [0.0; BINS];
    let mut sum = 0.0;
    for (score, count) in scores.iter_mut().zip(lags) {
        sum = sum * decay + f64::from(*count);
        *score = sum;
    }
    sum = 0.0;
    for (score, count) in scores.iter_mut().zip(lags).rev() {
        sum *= decay;
        *score += sum;
        sum += f64::from(*count);
    }
    scores
}

/// The sum of the kernel's weights, and of their squares.
fn kernel() -> (f64, f64) {
    let decay = (-1.0 / SCALE).exp();
    let both = |q: f64| (1.0 + q) / (1.0 - q);
    (both(decay), both(decay * decay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Dice;
    use Direction::{Orig, Resp};

    /// A session of so many bursts: each acknowledged after `rtt` and up to `jitter` ms, if it is at all; a person
    /// types and moves the mouse meanwhile. In ms, in order.
    fn session(seed: u64, bursts: u64, rtt: Option<u64>, jitter: u64) -> Vec<(u64, Direction, u32)> {
        let mut dice = Dice(seed);
        let mut packets = Vec::new();
        let mut t = 1_000;
        for _ in 0..bursts {
            t += 40 + dice.below(400);
            packets.extend((0..3).map(|i| (t + i, Resp, 1_200)));
            if let Some(rtt) = rtt {
                packets.push((t + rtt + dice.below(jitter + 1), Orig, 36));
            }
        }
        let mut typed = 1_000;
        while typed < t {
            typed += 60 + dice.below(250);
            packets.push((typed, Orig, 44));
        }
        packets.sort_by_key(|packet| packet.0);
        packets
    }

    fn measured(packets: &[(u64, Direction, u32)], floor: Option<u64>) -> Vec<RttSample> {
        let (mut meter, mut samples) = (RemoteEcho::default(), Vec::new());
        let floor = floor.map(Duration::from_millis);
        let time = |ms: u64| Timestamp::from_nanos(i64::try_from(ms).unwrap() * 1_000_000);
        for (ms, dir, len) in packets {
            if meter.on_packet(time(*ms), *dir, *len) {
                samples.extend(meter.conclude(time(*ms), floor));
            }
        }
        samples.extend(meter.conclude(time(packets.last().map_or(0, |p| p.0)), floor));
        samples
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<RemoteEcho>() <= 1_024, "{}", size_of::<RemoteEcho>());
    }

    #[test]
    fn the_viewers_answers_stand_out() {
        for (i, rtt) in [12_u64, 35, 80, 167, 250, 420, 900].into_iter().enumerate() {
            for jitter in [0, 4, 10] {
                let samples = measured(&session(0x9e37_79b9 + i as u64, 600, Some(rtt), jitter), None);
                assert!(!samples.is_empty(), "{rtt} {jitter}");
                for sample in samples {
                    let ms = u64::try_from(sample.rtt.as_millis()).unwrap();
                    assert!((rtt.saturating_sub(2)..=rtt + jitter + 2).contains(&ms), "{rtt} {jitter}: {ms}");
                    assert_eq!((sample.side, sample.layer), (Side::Client, Layer::RemoteEcho));
                }
            }
        }
    }

    #[test]
    fn chance_makes_no_round_trip() {
        for seed in 1..=100 {
            assert_eq!(measured(&session(seed * 0x51_7cc1, 240, None, 0), None), [], "{seed}");
        }
    }

    #[test]
    fn the_controlled_end_is_the_one_that_sends_more() {
        let turned: Vec<_> =
            session(77, 600, Some(90), 4).into_iter().map(|(ms, dir, len)| (ms, dir.flip(), len)).collect();
        assert!(measured(&turned, None).iter().all(|sample| sample.side == Side::Server));
        assert!(!measured(&turned, None).is_empty());
        let even: Vec<_> =
            turned.iter().map(|(ms, dir, _)| (*ms, *dir, if *dir == Orig { 100 } else { 150 })).collect();
        assert_eq!(measured(&even, None), []);
    }

    /// Packets that a relay's TCP lets go when the last one has been acknowledged follow a burst at TCP's round trip.
    #[test]
    fn no_lag_below_tcps_own_is_believed() {
        let mut packets = session(5, 600, Some(160), 6);
        let released: Vec<_> =
            packets.iter().filter(|p| p.1 == Resp).step_by(3).map(|p| (p.0 + 23, Orig, 44)).collect();
        packets.extend(released);
        packets.sort_by_key(|packet| packet.0);
        let shortest = |floor| measured(&packets, floor).iter().map(|s| s.rtt.as_millis()).min().unwrap();
        assert!(shortest(None) < 30);
        assert!((158..=168).contains(&shortest(Some(34))));
    }

    #[test]
    fn few_bursts_make_no_estimate() {
        assert_eq!(measured(&session(3, 90, Some(90), 0), None), []);
    }
}
