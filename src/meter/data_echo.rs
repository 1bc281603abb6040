//! Round trips through the data of an encrypted tunnel: two full packets of the gateway make the machine in the tunnel
//! acknowledge them at once.
//!
//! Reads: size, direction and time of the packets of a flow. Emits: one round trip for 16 bursts or more, between the
//! capture point and the machine inside the tunnel and back, whatever ends the packets underneath.
//!
//! A question is the second full packet of a burst of the gateway after a quarter of a second without any; a receiver
//! acknowledges every second full segment without waiting (RFC 9293, 3.8.6.3; RFC 9000, 13.2.1). An answer is a packet
//! of the client with the size of an acknowledgment, learned as the smallest one of the usual sizes, or over TCP, which
//! puts packets together, any that is not full. For each lag it is counted how many questions had an answer within 8 ms
//! from there; the round trip is where the first lag begins that nearly all answered questions agree on.
//!
//! Silent unless three in five questions agree (over TCP two), and four times and beyond all chance as many as the client sends of such
//! packets anyhow. Not asked at all while the client sends more than eight in a quarter of a second, or evenly: what
//! goes by a clock (a voice, a mouse, a repeated key) has lags of its own. So a call, a bulk transfer, keep-alives, typing and an idle
//! tunnel say nothing; nor does a line whose queue changes by more than some 10 ms from burst to burst.
//!
//! Bias: the lower edge of 8 ms in which most answers come, so longer than the shortest by what most wait (usually 1 to
//! 4 ms); shorter than the round trip only by chance, or where bursts of the gateway follow each other by a clock of
//! more than a quarter of a second that is still shorter than the round trip. None below 10 ms, none above 500.
//! Does not: know the tunnel, or measure the gateway's side.
//!
//! Reference: science note S01 and S05; Jiang and Dovrolis, CCR 2002 (slow start's first burst).

use crate::base::{Direction, Layer, RttKind, RttSample, Side, Timestamp};
use std::time::Duration;

/// Without full packets of the gateway for so long: those before are acknowledged, and a slow start's next round is not
/// taken for a new burst on most lines.
const QUIET: Duration = Duration::from_millis(250);
/// Nor any other packet that has to be acknowledged for so long: the header of what follows.
const HEADER: Duration = Duration::from_millis(40);
/// A full packet carries about a segment: the smallest MTU in use inside tunnels is 1,280 (IPv6), less headers.
const FULL: u32 = 1_000;
/// Lags are counted in bins of this width, in ms; a lag is looked for below half a second.
const BIN_MS: u128 = 2;
const BINS: usize = 250;
/// Answers agree within so many bins, and so many questions in five: over TCP packets wait for one another (Nagle), and two
/// full segments hold less than two full packets.
const DATAGRAMS: (usize, u16) = (4, 3);
const STREAM: (usize, u16) = (8, 2);
/// Lags below this many bins are not believed: what two machines say at once passes within it (10 ms).
const NEAREST: usize = 5;
/// Questions that may be open: they are a quarter of a second apart, and open for half of one.
const OPEN: usize = 3;
/// Questions after which an estimate is tried, again after so many more, and at most.
const ENOUGH: u8 = 16;
const AGAIN: u8 = 8;
const MOST: u8 = 64;
/// The same at the end of a flow.
const FEWEST: u8 = 6;
/// Packets of acknowledgment's size in a quarter of a second that a client sends without a clock: a voice has 10 and more
/// (RFC 3551: 20 ms), a mouse 15.
const CALM: usize = 8;
/// So many packets in a row are even if their distances differ by no more than that, and by no more than a quarter: at
/// least the beat of a repeated key (30 a second), at most what still fits into a quarter of a second.
const ROW: usize = 4;
const UNEVEN: Duration = Duration::from_millis(6);
const BEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(12)..=Duration::from_millis(250);
/// By chance one estimate in so many tries, over all lags.
const CHANCE: f64 = 1e-4;
/// An acknowledgment with a SACK block more is still one (RFC 2018: 10 bytes for one block, padded).
const SACK: u32 = 16;
/// Sizes of the client's packets remembered.
const SIZES: usize = 6;

/// A question, and the bin of its newest answer.
#[derive(Debug, Clone, Copy)]
struct Question {
    at: Timestamp,
    answered: Option<usize>,
}

/// The usual small sizes of an end, by the space-saving algorithm (Metwally et al., ICDT 2005).
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    kept: [(u16, u16); SIZES],
    sum: u16,
}

impl Sizes {
    fn add(&mut self, len: u32) {
        let Ok(len) = u16::try_from(len) else { return };
        if self.sum == u16::MAX {
            self.kept.iter_mut().for_each(|(_, count)| *count /= 2);
            self.sum /= 2;
        }
        self.sum += 1;
        if let Some((_, count)) = self.kept.iter_mut().find(|(size, count)| *size == len && *count > 0) {
            *count += 1;
        } else if let Some(rarest) = self.kept.iter_mut().min_by_key(|(_, count)| *count) {
            *rarest = (len, rarest.1 + 1);
        }
    }

    /// The smallest that every twelfth packet has.
    fn acknowledgment(&self) -> Option<u32> {
        let usual = self.kept.iter().filter(|(_, count)| *count > 0 && *count >= self.sum / 12);
        usual.map(|(size, _)| u32::from(*size)).min()
    }
}

/// One tunnel's bursts and what follows them.
#[derive(Debug)]
pub struct DataEcho {
    layer: Layer,
    /// Whether packets are put together underneath.
    stream: bool,
    /// How many questions had an answer within so many bins from that lag on.
    lags: [u8; BINS],
    questions: u8,
    /// Answers seen in the quarter of a second before each of the questions.
    before: u16,
    open: [Option<Question>; OPEN],
    sizes: Sizes,
    /// When the client sent the newest packets of that size, as a ring.
    recent: [Timestamp; CALM + 1],
    newest: u8,
    /// Of the gateway: the newest full packet, the newest other that asks to be acknowledged, and the full ones of the
    /// burst at hand, two at most; `None` in a burst that is not looked at.
    full: Timestamp,
    other: Timestamp,
    burst: Option<u32>,
}

impl DataEcho {
    /// How much answers have to agree.
    const fn agreement(&self) -> (usize, u16) {
        if self.stream { STREAM } else { DATAGRAMS }
    }

    /// For a tunnel whose samples belong to that layer, over TCP or datagrams.
    #[must_use]
    pub const fn new(layer: Layer, stream: bool) -> Self {
        Self {
            layer,
            stream,
            lags: [0; BINS],
            questions: 0,
            before: 0,
            open: [None; OPEN],
            sizes: Sizes { kept: [(0, 0); SIZES], sum: 0 },
            recent: [Timestamp::MIN; CALM + 1],
            newest: 0,
            full: Timestamp::MIN,
            other: Timestamp::MIN,
            burst: None,
        }
    }

    /// A packet with `len` bytes of payload. Says whether it is time for [`DataEcho::conclude`].
    pub fn on_packet(&mut self, at: Timestamp, dir: Direction, len: u32) -> bool {
        match dir {
            Direction::Orig => {
                self.on_client(at, len);
                false
            }
            Direction::Resp if len >= FULL => self.on_full(at, len),
            Direction::Resp => {
                if self.sizes.acknowledgment().is_none_or(|ack| len > ack + SACK) {
                    self.other = at;
                }
                false
            }
        }
    }

    fn on_full(&mut self, at: Timestamp, len: u32) -> bool {
        let apart = |since: Timestamp, pause| at.since(since).is_none_or(|passed| passed >= pause);
        if apart(self.full, QUIET) {
            self.burst = apart(self.other, HEADER).then_some(0);
        }
        self.full = at;
        let Some(seen) = self.burst else { return false };
        // What a capture point sees merged (offload) is several.
        let seen = seen + (len / FULL).min(2);
        self.burst = (seen < 2).then_some(seen);
        seen >= 2 && self.ask(at)
    }

    fn ask(&mut self, at: Timestamp) -> bool {
        let recent = self.recent.iter().filter(|then| at.since(**then).is_some_and(|ago| ago < QUIET)).count();
        if recent > CALM || self.is_even() {
            return false;
        }
        let over = |q: &Question| at.since(q.at).is_none_or(|lag| bin_of(lag) >= BINS);
        let Some(place) = self.open.iter_mut().find(|q| q.as_ref().is_none_or(over)) else { return false };
        *place = Some(Question { at, answered: None });
        self.before = self.before.saturating_add(u16::try_from(recent).unwrap_or(u16::MAX));
        self.questions = self.questions.saturating_add(1);
        // The newest has no answer yet.
        self.questions > ENOUGH && (self.questions - 1 - ENOUGH).is_multiple_of(AGAIN)
    }

    /// Whether the client's newest packets follow each other by a clock.
    fn is_even(&self) -> bool {
        let ago = |n: usize| self.recent.get((usize::from(self.newest) + self.recent.len() - n) % self.recent.len());
        let mut span = None;
        for n in 0..ROW {
            let Some(apart) = ago(n).zip(ago(n + 1)).and_then(|(later, earlier)| later.since(*earlier)) else {
                return false;
            };
            let (least, most) = span.unwrap_or((apart, apart));
            span = Some((apart.min(least), apart.max(most)));
        }
        span.is_some_and(|(least, most)| BEAT.contains(&least) && most - least <= UNEVEN.max(least / 4))
    }

    fn on_client(&mut self, at: Timestamp, len: u32) {
        if len >= FULL {
            return;
        }
        self.sizes.add(len);
        let ack = self.sizes.acknowledgment().unwrap_or(u32::MAX);
        if len < ack || (len > ack + SACK && !self.stream) {
            return;
        }
        self.newest = if usize::from(self.newest) < CALM { self.newest + 1 } else { 0 };
        if let Some(slot) = self.recent.get_mut(usize::from(self.newest)) {
            *slot = at;
        }
        let (wide, _) = self.agreement();
        for question in self.open.iter_mut().flatten() {
            let Some(bin) = at.since(question.at).map(bin_of).filter(|bin| *bin < BINS) else { continue };
            let from = (bin + 1).saturating_sub(wide).max(question.answered.map_or(0, |answered| answered + 1));
            for count in self.lags.get_mut(from..=bin).into_iter().flatten() {
                *count = count.saturating_add(1);
            }
            question.answered = Some(bin);
        }
    }

    /// The round trip to the machine inside, if the questions agree on one; begins anew then, or when there are too many.
    /// `None` too while there are few, or where it would be shorter than `floor`, that of the TCP underneath.
    pub fn conclude(&mut self, at: Timestamp, floor: Option<Duration>) -> Option<RttSample> {
        if self.questions < FEWEST {
            return None;
        }
        let agreed = self.agreed();
        let found = agreed.filter(|rtt| floor.is_none_or(|floor| *rtt >= floor));
        if agreed.is_some() || self.questions >= MOST {
            self.lags = [0; BINS];
            (self.questions, self.before) = (0, 0);
            self.open = [None; OPEN];
        }
        let (side, layer, rtt) = (Side::Client, self.layer, found?);
        Some(RttSample { at, side, rtt, layer, method: RttKind::DATA_ECHO, ambiguous: false })
    }

    /// The first lag that stands out.
    fn agreed(&self) -> Option<Duration> {
        let (wide, share) = self.agreement();
        let count = |bin: usize| self.lags.get(bin).copied().unwrap_or(0);
        let most = (NEAREST..BINS).map(count).max()?;
        if u16::from(most) * 5 < u16::from(self.questions) * share {
            return None;
        }
        // The same answers are there again after a second round of slow start: the first lag counts.
        let first = (NEAREST..BINS).find(|bin| u16::from(count(*bin)) * 5 >= u16::from(most) * 4)?;
        let best = (first..=first + wide).map(count).max()?;
        // Where answers set in little by little, a queue is of another length for each of them.
        if first.checked_sub(wide).is_some_and(|earlier| count(earlier) > best / 2) {
            return None;
        }
        if f64::from(best) < 4.0 * self.by_chance(first) * f64::from(self.questions)
            || tail(self.questions, best, self.by_chance(first)) > CHANCE * wide as f64 / BINS as f64
        {
            return None;
        }
        let edge = (first..=first + wide).rfind(|bin| u16::from(count(*bin)) * 10 >= u16::from(best) * 9)?;
        Some(Duration::from_millis(2 * u64::try_from(edge).ok()? + 1))
    }

    /// How likely an answer passes within 8 ms where none is due: before the lag, or before the question.
    fn by_chance(&self, first: usize) -> f64 {
        let (wide, _) = self.agreement();
        let questions = f64::from(self.questions.max(1));
        let below = self.lags.get(..first.saturating_sub(wide)).unwrap_or_default();
        let sum: u32 = below.iter().map(|count| u32::from(*count)).sum();
        // Windows overlap: only every fourth tells something new. One is added for what was not seen yet.
        let independent = (below.len() / wide) as f64;
        let seen = if independent < 1.0 {
            0.0
        } else {
            (f64::from(sum) / wide as f64 + 1.0) / (questions * independent + 1.0)
        };
        let rate = (f64::from(self.before) + 1.0) / (questions * QUIET.as_secs_f64());
        let width = wide as f64 * 0.002;
        seen.min(1.0).max(1.0 - (-rate * width).exp())
    }
}

fn bin_of(lag: Duration) -> usize {
    usize::try_from(lag.as_millis() / BIN_MS).unwrap_or(usize::MAX)
}

/// How likely that many of `n` or more happen, each with probability `p`.
fn tail(n: u8, least: u8, p: f64) -> f64 {
    if p >= 1.0 {
        return 1.0;
    }
    let mut term = (1.0 - p).powi(i32::from(n));
    let mut sum = 0.0;
    for i in 0..=n {
        if i >= least {
            sum += term;
        }
        term *= f64::from(n - i) / f64::from(i + 1) * p / (1.0 - p);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Dice;
    use Direction::{Orig, Resp};
    use proptest::prelude::*;

    /// What passes, in microseconds.
    type Packets = Vec<(u64, Direction, u32)>;

    const ACK: u32 = 96;
    const TYPED: u32 = 128;
    const WHOLE: u32 = 1_452;

    /// So many pages of 2 to 40 segments, each asked for, and acknowledged by pairs a round trip and up to `jitter` later; more than 20 ms of
    /// that are a queue, which all acknowledgments of a page wait in.
    fn pages(dice: &mut Dice, count: u64, rtt_ms: u64, jitter_ms: u64) -> Packets {
        let mut packets = Vec::new();
        let mut t = 1_000_000;
        for _ in 0..count {
            t += 600_000 + dice.below(6_000_000);
            packets.push((t, Orig, 400));
            let (segments, mut answered) = (2 + dice.below(39), t + 1_000 + dice.below(80_000));
            let queue = if jitter_ms > 20 { dice.below(jitter_ms * 1_000) } else { 0 };
            for pair in 0..segments / 2 {
                let sent = answered + pair * 600;
                packets.extend([(sent, Resp, WHOLE), (sent + 20, Resp, WHOLE)]);
                packets.push((sent + rtt_ms * 1_000 + queue + dice.below(jitter_ms.min(20) * 1_000 + 1), Orig, ACK));
            }
            answered += 600 * segments / 2;
            t = answered + rtt_ms * 1_000;
        }
        sorted(packets)
    }

    fn sorted(mut packets: Packets) -> Packets {
        packets.sort_by_key(|packet| packet.0);
        packets
    }

    /// Somebody types in bursts, each stroke answered at once and acknowledged with a delay.
    fn typed(dice: &mut Dice, until: u64, rtt_ms: u64) -> Packets {
        let mut packets = Vec::new();
        let mut t = 500_000;
        while t < until {
            t += 80_000 + dice.below(200_000) + if dice.below(20) == 0 { 4_000_000 } else { 0 };
            let back = t + 400 + rtt_ms * 1_000 + 40_000;
            packets.extend([(t, Orig, TYPED), (t + 400, Resp, TYPED), (back, Orig, ACK)]);
        }
        packets
    }

    fn measured(packets: &Packets, stream: bool, floor: Option<Duration>) -> Vec<u64> {
        let (mut meter, mut samples) = (DataEcho::new(Layer::WireGuard, stream), Vec::new());
        let time = |us: u64| Timestamp::from_nanos(i64::try_from(us).unwrap() * 1_000);
        for (us, dir, len) in packets {
            if meter.on_packet(time(*us), *dir, *len) {
                samples.extend(meter.conclude(time(*us), floor));
            }
        }
        samples.extend(meter.conclude(time(packets.last().map_or(0, |p| p.0)), floor));
        samples.iter().map(|s| u64::try_from(s.rtt.as_millis()).unwrap()).collect()
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<DataEcho>() <= 512, "{}", size_of::<DataEcho>());
    }

    #[test]
    fn acknowledgments_of_pages_tell_the_round_trip() {
        for (seed, rtt) in [12, 20, 41, 90, 160, 254, 390, 470].into_iter().enumerate() {
            for jitter in [0, 3, 6] {
                let mut dice = Dice(0x9e37_79b9 + seed as u64);
                let mut packets = pages(&mut dice, 200, rtt, jitter);
                let told = measured(&packets, false, None);
                assert!(told.len() >= 8, "{rtt} {jitter}: {told:?}");
                assert!(told.iter().all(|ms| (rtt - 2..=rtt + jitter + 3).contains(ms)), "{rtt} {jitter}: {told:?}");
                // The same while somebody types.
                let until = packets.last().unwrap().0;
                packets.extend(typed(&mut dice, until, rtt));
                let told = measured(&sorted(packets), false, None);
                assert!(told.len() >= 4, "{rtt} {jitter}: {told:?}");
                assert!(told.iter().all(|ms| (rtt - 2..=rtt + jitter + 3).contains(ms)), "{rtt} {jitter}: {told:?}");
            }
        }
    }

    #[test]
    fn a_lost_acknowledgment_in_ten_changes_nothing() {
        let mut dice = Dice(77);
        let mut packets = pages(&mut dice, 200, 254, 4);
        packets.retain(|_| dice.below(10) > 0);
        let told = measured(&packets, false, None);
        assert!(told.len() >= 6 && told.iter().all(|ms| (252..=262).contains(ms)), "{told:?}");
    }

    #[test]
    fn what_the_capture_point_sees_merged_is_a_pair() {
        let packets: Packets = pages(&mut Dice(5), 120, 80, 2)
            .into_iter()
            .filter(|(us, dir, _)| *dir == Orig || us % 2 == 0)
            .map(|(us, dir, len)| (us, dir, if dir == Resp { len * 2 } else { len }))
            .collect();
        assert!(measured(&packets, false, None).iter().all(|ms| (78..=85).contains(ms)));
    }

    /// Over TCP the client's packets are put together, so an answer has any size.
    #[test]
    fn over_tcp_any_packet_that_is_not_full_answers() {
        let packets: Packets = pages(&mut Dice(6), 200, 254, 4)
            .into_iter()
            .map(|(us, dir, len)| {
                (us, dir, if dir == Orig && len == ACK { 78 * (1 + u32::try_from(us % 3).unwrap()) } else { len })
            })
            .collect();
        let told = measured(&packets, true, Some(Duration::from_millis(44)));
        assert!(told.len() >= 6 && told.iter().all(|ms| (252..=262).contains(ms)), "{told:?}");
        // What is shorter than TCP's own round trip is no answer.
        assert_eq!(measured(&packets, true, Some(Duration::from_millis(300))), Vec::<u64>::new());
    }

    #[test]
    fn keep_alives_and_an_idle_tunnel_say_nothing() {
        let alive: Packets =
            (1..720).flat_map(|i| [(i * 10_000_000, Resp, 40), (i * 10_000_000 + 93_000, Orig, 40)]).collect();
        assert_eq!(measured(&alive, false, None), Vec::<u64>::new());
        let asleep: Packets = (1..300).map(|i| (i * 25_000_000, Orig, 32)).collect();
        assert_eq!(measured(&asleep, false, None), Vec::<u64>::new());
        assert_eq!(measured(&typed(&mut Dice(3), 900_000_000, 250), false, None), Vec::<u64>::new());
    }

    /// A stream one way: one burst, which is acknowledged all the while.
    #[test]
    fn bulk_says_nothing() {
        for full in [Orig, Resp] {
            let bulk = (0..100_000u64).flat_map(|i| {
                let ack = (i % 2 == 0).then_some((i * 400 + 250_000, full.flip(), ACK));
                [Some((i * 400, full, WHOLE)), ack].into_iter().flatten()
            });
            assert_eq!(measured(&sorted(bulk.collect()), false, None), Vec::<u64>::new(), "{full:?}");
        }
    }

    /// A call, in which the other end shows a screen once a second: a voice goes by a clock that the screen shares.
    #[test]
    fn a_voice_beside_bursts_by_the_same_clock_says_nothing() {
        for (every, phase) in
            [(20, 7), (20, 15), (30, 13), (40, 22), (50, 31), (60, 40), (100, 77), (125, 90), (200, 111)]
        {
            let mut dice = Dice(every * 7 + phase);
            let mut packets: Packets = (0..600_000 / every)
                .map(|i| (i * every * 1_000 + phase * 1_000 + dice.below(2_000), Orig, 180))
                .collect();
            let screens = (1..300u64).flat_map(|i| (0..12u64).map(move |k| (i * 2_000_000 + k * 300, Resp, 1_180)));
            packets.extend(screens);
            assert_eq!(measured(&sorted(packets), false, None), Vec::<u64>::new(), "{every} {phase}");
        }
    }

    /// A mouse, and a repeated key, whose packets bring about what the screen shows.
    #[test]
    fn what_the_clients_clock_brings_about_is_no_round_trip() {
        for beat in [16_u64, 33, 50, 80] {
            let (mut dice, mut packets) = (Dice(beat), Vec::new());
            let mut t = 1_000_000;
            for _ in 0..300 {
                t += 1_500_000 + dice.below(3_000_000);
                let strokes = 10 + dice.below(30);
                packets.extend((0..strokes).map(|i| (t + i * beat * 1_000 + dice.below(1_000), Orig, ACK)));
                let shown = t + (4 + dice.below(strokes - 4)) * beat * 1_000 + 3_000;
                packets.extend([(shown, Resp, WHOLE), (shown + 30, Resp, WHOLE)]);
                t += strokes * beat * 1_000;
            }
            assert_eq!(measured(&sorted(packets), false, None), Vec::<u64>::new(), "{beat}");
        }
    }

    /// A queue that is hundreds of milliseconds long and never the same.
    #[test]
    fn a_restless_line_says_nothing() {
        for (queue, most) in [(60, 12), (120, 0), (250, 0)] {
            let told = (1..40).flat_map(|seed| measured(&pages(&mut Dice(seed), 100, 60, queue), false, None));
            let told: Vec<_> = told.collect();
            assert!(told.len() <= most && told.iter().all(|ms| *ms >= 60), "{queue}: {told:?}");
        }
    }

    /// A thousand hours in which a client's small packets have nothing to do with the gateway's bursts.
    #[test]
    fn chance_makes_no_round_trip() {
        let mut false_ones = 0;
        for seed in 1..=1_000 {
            let mut dice = Dice(seed * 0x51_7cc1);
            let rate = [50_000, 120_000, 400_000, 2_000_000][usize::try_from(seed % 4).unwrap()];
            let (mut packets, mut t) = (Vec::new(), 1_000_000);
            while t < 3_600_000_000 {
                t += dice.below(2 * rate);
                packets.push((t, Orig, if dice.below(3) > 0 { ACK } else { TYPED }));
            }
            t = 0;
            while t < 3_600_000_000 {
                t += 300_000 + dice.below(20_000_000);
                packets.extend([(t, Resp, WHOLE), (t + 100, Resp, WHOLE)]);
            }
            false_ones += measured(&sorted(packets), false, None).len();
        }
        assert!(false_ones <= 10, "{false_ones}");
    }

    proptest! {
        /// Whatever passes, in whatever order.
        #[test]
        fn anything_is_survived(packets in proptest::collection::vec((0u64..20_000_000, any::<bool>(), 0u32..70_000), 0..400)) {
            let packets = packets.into_iter().map(|(us, orig, len)| (us, if orig { Orig } else { Resp }, len)).collect();
            let told = measured(&packets, packets.len() % 2 == 0, None);
            prop_assert!(told.iter().all(|ms| (10..510).contains(ms)));
        }

        /// However long the way, what is told is not shorter.
        #[test]
        fn never_shorter_than_the_way(seed in 1u64..1_000_000, rtt in 15u64..480, jitter in 0u64..8) {
            let mut dice = Dice(seed);
            let mut packets = pages(&mut dice, 60, rtt, jitter);
            let until = packets.last().unwrap().0;
            packets.extend(typed(&mut dice, until, rtt));
            let told = measured(&sorted(packets), false, None);
            prop_assert!(told.iter().all(|ms| *ms + 2 >= rtt && *ms <= rtt + jitter + 4), "{told:?}");
        }
    }
}
