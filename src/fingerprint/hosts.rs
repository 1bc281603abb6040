//! How many machines share one address: what their TCP timestamps prove.
//!
//! A machine's timestamps lie on a line over time. Two lines that run beside each other are two machines.
//! Reads: the timestamp of each SYN, its time, the server it went to. Emits: a number of machines that there are at
//! least. Does not: give a number that there are at most, nor tell machines again.
//!
//! Linux adds an offset of its own for each pair of addresses (`secure_tcp_ts_off`, since 4.10), XNU, Windows and FreeBSD
//! (`tcp_new_ts_offset`) for each connection. So only connections to the same server are compared, and a line counts from
//! its second connection on: what is random for each connection makes no lines, and counts for nothing.
//! References: Bellovin, *A technique for counting NATted hosts*, IMW 2002 (the idea, with IP IDs); Kohno, Broido, Claffy,
//! *Remote physical device fingerprinting*, 2005 (timestamp lines); RFC 7323.

use crate::base::Timestamp;

/// Machines that share one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosts {
    /// There are so many at least.
    pub at_least: usize,
    /// What proves it.
    pub method: &'static str,
    /// Timestamp lines beside each other.
    pub lines: usize,
    /// Families of systems.
    pub families: usize,
    /// SYNs with timestamps that were compared.
    pub compared: usize,
}

impl Hosts {
    /// From the number of lines and of families; `None` where there is neither. Of the two the larger one: a line and a
    /// family may be the same machine.
    #[must_use]
    pub fn of(lines: usize, families: usize, compared: usize) -> Option<Self> {
        let at_least = lines.max(families);
        let method = if lines >= families { "timestamp-lines" } else { "stack-families" };
        (at_least > 0).then_some(Self { at_least, method, lines, families, compared })
    }
}

/// SYNs kept of one endpoint; those to the servers with the lowest hash, so that they can be compared.
const KEPT: usize = 64;
/// Timestamp clocks in use, in Hz: Linux since 4.13 and XNU 1,000; Linux before by its `HZ`, 250 or 100 (or 1,000).
const CLOCKS: [u32; 3] = [1_000, 250, 100];
/// How far a SYN may lie off its line, in ms: queues, retransmitted SYNs. Wide: lines that are this near count as one.
const NEAR_MS: i64 = 500;
/// How fast two good clocks part: 200 ppm, twice what quartz is made to.
const DRIFT: i64 = 5_000;
/// Connections nearer in time than this lie on a line of any clock, in ms.
const APART_MS: i64 = 2_000;

/// The timestamp in one SYN. Ordered by what it is kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Tick {
    /// A hash of the server's address.
    server: u32,
    /// A hash of all the rest.
    rank: u32,
    ms: i64,
    value: u32,
}

/// The timestamps of an endpoint's SYNs.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Ticks(Vec<Tick>);

/// A line and when it was seen, in ms.
#[derive(Debug, Clone, Copy)]
struct Line {
    from: i64,
    to: i64,
    members: u32,
}

impl Ticks {
    /// Takes in the timestamp of a SYN to a server (`server` is a hash of its address, the same in every run).
    pub(super) fn add(&mut self, at: Timestamp, value: u32, server: u32) {
        let ms = at.nanos().div_euclid(1_000_000);
        #[expect(clippy::cast_sign_loss, reason = "mixes bits")]
        let rank = ((ms as u64 ^ (u64::from(value) << 20)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32;
        self.insert(Tick { server, rank, ms, value });
    }

    /// Takes in what another has: the same as if it had all been told to this one.
    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|tick| self.insert(tick));
    }

    fn insert(&mut self, tick: Tick) {
        let Err(place) = self.0.binary_search(&tick) else { return };
        if place < KEPT {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, tick);
            self.0.truncate(KEPT);
        }
    }

    /// How many SYNs are kept.
    pub(super) fn n(&self) -> usize {
        self.0.len()
    }

    /// The most lines to one server that were alive at the same time; 0 if there is no line.
    pub(super) fn lines(&self) -> usize {
        self.0.chunk_by(|a, b| a.server == b.server).map(lines).max().unwrap_or(0)
    }
}

/// Of one server's SYNs: the most lines at the same time. A line that begins where another ends may be the same machine
/// after a restart. The longest line is taken first: where two machines' lines cross, a third that is made of pieces of
/// both is shorter than either.
fn lines(ticks: &[Tick]) -> usize {
    if ticks.len() < 2 {
        return 0;
    }
    let mut left: Vec<Tick> = ticks.to_vec();
    left.sort_unstable_by_key(|tick| (tick.ms, tick.value));
    let mut found: Vec<Line> = Vec::new();
    while let Some((line, first, hz)) = longest(&left) {
        found.push(line);
        left.retain(|tick| !is_on_line(&first, tick, hz));
    }
    found
        .iter()
        .map(|line| found.iter().filter(|other| other.from <= line.from && line.from <= other.to).count())
        .max()
        .unwrap_or(0)
}

/// The line with the most SYNs on it, and by which of them and which clock it goes; of equals the earliest.
fn longest(ticks: &[Tick]) -> Option<(Line, Tick, u32)> {
    let mut best: Option<(Line, Tick, u32)> = None;
    for hz in CLOCKS {
        for first in ticks {
            let mut on = ticks.iter().filter(|tick| is_on_line(first, tick, hz));
            let (from, mut to, mut members) = (on.next().map_or(first.ms, |tick| tick.ms), first.ms, 1u32);
            for tick in on {
                (to, members) = (to.max(tick.ms), members + 1);
            }
            let longer = best.as_ref().is_none_or(|(known, ..)| members > known.members);
            if members >= 2 && to - from >= APART_MS && longer {
                best = Some((Line { from, to, members }, *first, hz));
            }
        }
    }
    best
}

fn is_on_line(first: &Tick, tick: &Tick, hz: u32) -> bool {
    let ms = tick.ms - first.ms;
    let ticks = i64::from(tick.value.wrapping_sub(first.value).cast_signed());
    // The value wraps: after 24 days at 1,000 Hz it is negative.
    let wrap = 1_i64 << 32;
    let expected = ms * i64::from(hz) / 1_000;
    let turns = (expected - ticks + wrap / 2).div_euclid(wrap);
    let off_ms = (ticks + turns * wrap - expected).abs() * 1_000 / i64::from(hz);
    off_ms <= NEAR_MS + ms / DRIFT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    /// SYNs of a machine every `every` ms from `from` on.
    fn machine(ticks: &mut Ticks, hz: u32, offset: u32, from: i64, every: i64, n: i64, server: u32) {
        for i in 0..n {
            let ms = from + i * every;
            let value = offset.wrapping_add(u32::try_from(ms * i64::from(hz) / 1_000).unwrap());
            ticks.add(at(ms + (i * 7) % 40), value, server);
        }
    }

    #[test]
    fn machines_beside_each_other_are_counted() {
        let mut ticks = Ticks::default();
        machine(&mut ticks, 1_000, 5, 0, 10_000, 6, 1);
        assert_eq!(ticks.lines(), 1);
        machine(&mut ticks, 1_000, u32::MAX - 20_000, 5_000, 10_000, 6, 1);
        assert_eq!(ticks.lines(), 2);
        machine(&mut ticks, 250, 900_000_000, 3_000, 10_000, 6, 1);
        assert_eq!(ticks.lines(), 3);
        // To another server Linux says another offset: not compared.
        machine(&mut ticks, 1_000, 77_777_777, 3_000, 10_000, 6, 2);
        assert_eq!(ticks.lines(), 3);
    }

    #[test]
    fn one_machine_restarted_is_one_machine() {
        let mut ticks = Ticks::default();
        machine(&mut ticks, 1_000, 5, 0, 10_000, 6, 1);
        machine(&mut ticks, 1_000, 3_000_000_000, 200_000, 10_000, 6, 1);
        assert_eq!(ticks.lines(), 1);
    }

    #[test]
    fn offsets_that_are_random_for_each_connection_count_for_nothing() {
        let mut ticks = Ticks::default();
        let mut value = 1u32;
        for i in 0..60 {
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ticks.add(at(i * 5_000), value, 1);
        }
        assert_eq!(ticks.lines(), 0);
    }

    #[test]
    fn connections_of_one_moment_are_no_line() {
        let mut ticks = Ticks::default();
        machine(&mut ticks, 1_000, 5, 0, 100, 8, 1);
        assert_eq!(ticks.lines(), 0);
    }

    proptest! {
        /// A count depends on the SYNs only, is bounded, and never exceeds the machines that there were.
        #[test]
        fn never_more_than_there_are(
            machines in prop::collection::vec((0u32..3, any::<u32>(), 0i64..100_000, 2_000i64..60_000, 1i64..20), 1..5),
            turn in 0usize..64,
        ) {
            let mut ticks = Ticks::default();
            for (clock, offset, from, every, n) in &machines {
                machine(&mut ticks, CLOCKS[*clock as usize], *offset, *from, *every, *n, 1);
            }
            prop_assert!(ticks.lines() <= machines.len());
            prop_assert!(ticks.n() <= KEPT);
            let mut turned = ticks.0.clone();
            let len = turned.len();
            turned.rotate_left(turn % len);
            let mut again = Ticks::default();
            turned.iter().for_each(|tick| again.add(at(tick.ms), tick.value, tick.server));
            prop_assert_eq!(again, ticks);
        }
    }
}
