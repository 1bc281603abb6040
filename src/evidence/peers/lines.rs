//! Whether endpoints at different addresses share one access line: its queue is full for all of them at once, and when it
//! is down all of them are.
//!
//! Reads: beats, VPN sessions. Emits: of each endpoint with whom it seems to share a line, and how much likelier that
//! makes what was seen. Method: what is left of each five seconds above the endpoint's own ten minutes' median, less the
//! median of all endpoints in the same five seconds, by rank; correlated, and compared with the correlation at wrong
//! times (Rubenstein et al., IEEE/ACM ToN 2002; RFC 8382, section 3, for what congestion leaves). Interruptions count by
//! how many other endpoints had one then. That each endpoint is compared with all others is paid for: the likelihood is
//! the mean over all of them.
//! Bounded: [`MOST`] endpoints, [`MOST_PAIRS`] pairs looked at closely. Does not: judge.

use crate::base::{Beat, Timestamp};
use crate::evidence::Account;
use crate::evidence::likelihood::{ln_mix, ln_sum};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Endpoints compared: those with most beats.
pub(super) const MOST: usize = 1_000;
/// Pairs whose busiest moments look most alike, looked at closely.
const MOST_PAIRS: usize = 4_000;
/// Fewer endpoints don't show what is common to all.
const LEAST: usize = 8;
/// Beats that both must have at the same time: half an hour (science note S27).
const OVERLAP: usize = 360;
/// Ten minutes in beats: slower changes are the neighbourhood's.
const BLOCK: u32 = 120;
/// Beats that a median of ten minutes must rest on.
const IN_BLOCK: usize = 12;
/// A line whose queue in one beat of twenty is below this, in tenths of a millisecond, has none that others could share.
const RESTLESS: i32 = 50;
/// The least share of a variance that a line in common explains would be the square of this (design value).
const ALIKE: f64 = 0.2;
/// A line is not in common to more than this: that is a provider's (design value).
const MOST_SHARING: usize = 8;
/// Two are interrupted at once, and an interruption is noticed within this.
const AT_ONCE: i64 = 5_000_000_000;
/// A session that begins so soon after the last one has ended takes it up again.
const TAKEN_UP: i64 = 600_000_000_000;
/// From which likelihood ratio on, as a logarithm, a pair is told; and from which on it makes a group with its others.
const TOLD: f64 = 3.0;
const LINKED: f64 = 1.0;
/// No pair is likelier than this to share a line by what is seen once (design value).
const MOST_SAID: f64 = 12.0;

/// What is compared of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Line {
    address: IpAddr,
    beats: Vec<Beat>,
    /// When a VPN session began again, in nanoseconds, ascending.
    resumed: Vec<i64>,
    /// From its first packet to its last, in nanoseconds.
    span: (i64, i64),
}

/// Another endpoint that seems to be on the same line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineTie {
    /// It.
    pub other: IpAddr,
    /// Five seconds that both were measured in; 0 if they were not compared by their queues.
    pub beats: usize,
    /// The correlation of their queues.
    pub correlation: f64,
    /// By how many standard deviations it exceeds that at wrong times.
    pub deviations: f64,
    /// Interruptions at the same time, and all that either had.
    pub interruptions: (usize, usize),
    /// How much likelier all that is on one line, as a logarithm.
    pub ln_ratio: f64,
}

/// The endpoints on one endpoint's line.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedLine {
    /// The likeliest first; none if no pair is likely enough to be told.
    pub with: Vec<LineTie>,
    /// How much likelier what was seen is if it shares a line with one of the others, as a logarithm.
    pub ln_bayes: f64,
    /// Endpoints that it was compared with.
    pub compared: usize,
}

/// How much there is to compare: beats and VPN sessions, if there is enough of either.
pub(super) fn weight(account: &Account) -> Option<(usize, usize)> {
    let weight = (account.pulse.beats().len(), account.facts.tunnels.len());
    (weight.0 >= OVERLAP || weight.1 >= 2).then_some(weight)
}

impl Line {
    /// What of an account is compared, if there is enough.
    pub(super) fn of(address: IpAddr, account: &Account) -> Option<Self> {
        let mut tunnels: Vec<(Timestamp, Timestamp)> =
            account.facts.tunnels.iter().map(|tunnel| (tunnel.from, tunnel.to)).collect();
        tunnels.sort_unstable();
        let again = tunnels.iter().zip(tunnels.iter().skip(1)).filter_map(|((_, ended), (begun, _))| {
            let between = begun.nanos() - ended.nanos();
            (0..TAKEN_UP).contains(&between).then(|| begun.nanos())
        });
        let resumed: Vec<i64> = again.collect();
        let beats = account.pulse.beats();
        let span = (account.first_seen?.nanos(), account.last_seen?.nanos());
        let enough = beats.len() >= OVERLAP || !resumed.is_empty();
        enough.then(|| Self { address, beats: beats.to_vec(), resumed, span })
    }

    /// What is left of each beat above the median of its ten minutes, in tenths of a millisecond.
    fn above(&self) -> Vec<(u32, i32)> {
        let mut above = Vec::with_capacity(self.beats.len());
        for block in self.beats.chunk_by(|a, b| a.number / BLOCK == b.number / BLOCK).filter(|b| b.len() >= IN_BLOCK) {
            let mut sorted: Vec<u16> = block.iter().map(|beat| beat.tenths).collect();
            sorted.sort_unstable();
            let median = sorted.get(sorted.len() / 2).map_or(0, |median| i32::from(*median));
            above.extend(block.iter().map(|beat| (beat.number, i32::from(beat.tenths) - median)));
        }
        above
    }
}

/// Queues of one endpoint, by rank: from -1 to 1 in the mean 0, ascending by beat.
struct Queue {
    ranks: Vec<(u32, f32)>,
    /// Beats in which it was among its fullest tenth.
    fullest: Vec<u32>,
}

impl Queue {
    /// `None` if there is nothing in it.
    fn of(left: &[(u32, i32)]) -> Option<Self> {
        let mut order: Vec<i32> = left.iter().map(|(_, left)| *left).collect();
        order.sort_unstable();
        let at = |share: usize| order.get(order.len() * share / 100).copied().unwrap_or_default();
        if left.len() < OVERLAP || at(95) < RESTLESS {
            return None;
        }
        let full = at(90).max(1);
        let n = count(order.len());
        let rank = |left: i32| {
            let (below, with) = (order.partition_point(|o| *o < left), order.partition_point(|o| *o <= left));
            #[expect(clippy::cast_possible_truncation, reason = "between -1 and 1")]
            let rank = ((count(below) + count(with)) / n - 1.0) as f32;
            rank
        };
        Some(Self {
            ranks: left.iter().map(|(number, left)| (*number, rank(*left))).collect(),
            fullest: left.iter().filter(|(_, left)| *left > full).map(|(number, _)| *number).collect(),
        })
    }

    /// Correlation with another that is `lag` beats later, and over how many beats.
    fn correlation(&self, other: &Self, lag: i64) -> (f64, usize) {
        let mut sums = Sums::default();
        let mut others = other.ranks.iter().peekable();
        for (number, own) in &self.ranks {
            let wanted = i64::from(*number) + lag;
            while others.next_if(|(number, _)| i64::from(*number) < wanted).is_some() {}
            if let Some((_, theirs)) = others.next_if(|(number, _)| i64::from(*number) == wanted) {
                sums.add(f64::from(*own), f64::from(*theirs));
            }
        }
        (sums.correlation(), sums.n)
    }
}

#[derive(Default)]
struct Sums {
    n: usize,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.yy += y * y;
        self.xy += x * y;
    }

    fn correlation(&self) -> f64 {
        let n = count(self.n.max(1));
        let (xx, yy) = (self.xx - self.x * self.x / n, self.yy - self.y * self.y / n);
        let both = (xx * yy).sqrt();
        if both > 0.0 { (self.xy - self.x * self.y / n) / both } else { 0.0 }
    }
}

/// Of each endpoint that could be compared with others, whether it shares a line with one of them; only those of which
/// that is likelier than not seeing anything would make it.
pub(super) fn shared(mut lines: Vec<Line>, stranger: &impl Fn(IpAddr, IpAddr) -> bool) -> Vec<(IpAddr, SharedLine)> {
    lines.sort_by_key(|line| line.address);
    if lines.len() < LEAST {
        return Vec::new();
    }
    let queues = queues(&lines);
    let interruptions = Interruptions::of(&lines);
    let mut pairs = alike(&queues);
    pairs.extend(interruptions.pairs());
    pairs.sort_unstable();
    pairs.dedup();
    let mut ties: Vec<Vec<LineTie>> = vec![Vec::new(); lines.len()];
    let mut groups = Groups::of(lines.len());
    for (one, other) in pairs {
        let (Some(a), Some(b)) = (lines.get(one), lines.get(other)) else { continue };
        if !stranger(a.address, b.address) {
            continue;
        }
        let queue = |number: usize| queues.get(number).and_then(Option::as_ref);
        let tie = tie(queue(one).zip(queue(other)), interruptions.ratio(one, other));
        if tie.ln_ratio >= LINKED {
            groups.join(one, other);
        }
        for (number, of) in [(one, b.address), (other, a.address)] {
            ties.get_mut(number).into_iter().for_each(|all| all.push(LineTie { other: of, ..tie }));
        }
    }
    let compared = lines.len() - 1;
    let small = groups.small();
    let kept = lines.iter().zip(ties).zip(small).filter(|(_, small)| *small);
    kept.filter_map(|((line, ties), _)| Some((line.address, sum_up(ties, compared)?))).collect()
}

/// Endpoints that seem to share lines, one with the other.
struct Groups(Vec<usize>);

impl Groups {
    fn of(n: usize) -> Self {
        Self((0..n).collect())
    }

    fn group(&self, number: usize) -> usize {
        self.0.get(number).copied().unwrap_or(number)
    }

    fn join(&mut self, one: usize, other: usize) {
        let (a, b) = (self.group(one), self.group(other));
        self.0.iter_mut().filter(|group| **group == a.max(b)).for_each(|group| *group = a.min(b));
    }

    /// Of each endpoint whether its group is small enough for a home's line.
    fn small(&self) -> Vec<bool> {
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        self.0.iter().for_each(|group| *sizes.entry(*group).or_default() += 1);
        self.0.iter().map(|group| sizes.get(group).is_some_and(|size| *size <= MOST_SHARING)).collect()
    }
}

/// The mean likelihood ratio over all others; of those that were not looked at closely it is 1, as it is in the mean of
/// those that share nothing.
fn sum_up(mut ties: Vec<LineTie>, compared: usize) -> Option<SharedLine> {
    let rest = count(compared.saturating_sub(ties.len())).max(1e-9).ln();
    let terms: Vec<f64> = ties.iter().map(|tie| tie.ln_ratio).chain([rest]).collect();
    let ln_bayes = ln_sum(terms.iter().copied()) - count(compared).ln();
    ties.retain(|tie| tie.ln_ratio >= TOLD);
    ties.sort_by(|a, b| b.ln_ratio.total_cmp(&a.ln_ratio).then(a.other.cmp(&b.other)));
    (!ties.is_empty() && ln_bayes > 0.0).then_some(SharedLine { with: ties, ln_bayes, compared })
}

/// The queues of all endpoints, less what is common to all.
fn queues(lines: &[Line]) -> Vec<Option<Queue>> {
    let above: Vec<Vec<(u32, i32)>> = lines.iter().map(Line::above).collect();
    let mut moments: Vec<(u32, i32)> = above.iter().flatten().copied().collect();
    moments.sort_unstable();
    let common: BTreeMap<u32, i32> = moments
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|moment| moment.len() >= LEAST)
        .filter_map(|moment| moment.get(moment.len() / 2).copied())
        .collect();
    let left = |above: Vec<(u32, i32)>| {
        // Who is not behind a queue that half of all are behind shall not look empty together with others like him.
        let above =
            above.into_iter().filter_map(|(number, above)| Some((number, above - common.get(&number)?.max(&0))));
        let left: Vec<(u32, i32)> = above.map(|(number, left)| (number, left.max(0))).collect();
        Queue::of(&left)
    };
    above.into_iter().map(left).collect()
}

/// A first look: pairs that are among their own fullest tenth at the same time twice as often as chance would have it.
fn alike(queues: &[Option<Queue>]) -> Vec<(usize, usize)> {
    /// Fewer moments are chance.
    const FEWEST: u16 = 6;
    let n = queues.len();
    let mut full: Vec<(u32, usize)> = Vec::new();
    for (number, queue) in queues.iter().enumerate() {
        full.extend(queue.iter().flat_map(|queue| &queue.fullest).map(|beat| (*beat, number)));
    }
    full.sort_unstable();
    let mut together = vec![0u16; n * n];
    for moment in full.chunk_by(|a, b| a.0 == b.0) {
        for (i, (_, one)) in moment.iter().enumerate() {
            for (_, other) in moment.iter().skip(i + 1) {
                together.get_mut(one * n + other).into_iter().for_each(|times| *times = times.saturating_add(1));
            }
        }
    }
    let fullest = |number: usize| queues.get(number).and_then(Option::as_ref).map_or(0, |queue| queue.fullest.len());
    let mut pairs: Vec<(u16, usize, usize)> = Vec::new();
    for (place, times) in together.into_iter().enumerate().filter(|(_, times)| *times >= FEWEST) {
        let (one, other) = (place / n, place % n);
        if usize::from(times) * 5 >= fullest(one).min(fullest(other)) {
            pairs.push((times, one, other));
        }
    }
    pairs.sort_by_key(|(times, one, other)| (std::cmp::Reverse(*times), *one, *other));
    pairs.into_iter().take(MOST_PAIRS).map(|(_, one, other)| (one, other)).collect()
}

fn tie(queues: Option<(&Queue, &Queue)>, interruptions: (usize, usize, f64)) -> LineTie {
    let (correlation, deviations, beats) = queues.and_then(|(a, b)| together(a, b)).unwrap_or_default();
    let (at_once, all, ln_interruptions) = interruptions;
    let ln_queues = if beats > 0 { ln_alike(deviations) } else { 0.0 };
    LineTie {
        // Who it is stands with each of the two.
        other: IpAddr::from([0, 0, 0, 0]),
        beats,
        correlation,
        deviations,
        interruptions: (at_once, all),
        ln_ratio: (ln_queues + ln_interruptions).min(MOST_SAID),
    }
}

/// Correlation at the same time, by how many deviations it exceeds that at wrong times, and over how many beats; nothing
/// where it is too small to matter.
fn together(a: &Queue, b: &Queue) -> Option<(f64, f64, usize)> {
    let (right, n) = a.correlation(b, 0);
    if n < OVERLAP || right < ALIKE {
        return None;
    }
    // From a minute on, up to twenty: a queue that lasts for minutes is alike at the nearest of them, too.
    let lags = (0i64..60).map(|turn| (12 + 4 * turn) * if turn % 2 == 0 { 1 } else { -1 });
    let wrong: Vec<f64> =
        lags.map(|lag| a.correlation(b, lag)).filter(|(_, n)| *n >= OVERLAP / 2).map(|(r, _)| r).collect();
    if wrong.len() < 20 {
        return None;
    }
    let mean = wrong.iter().sum::<f64>() / count(wrong.len());
    let variance = wrong.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count(wrong.len() - 1);
    let deviation = variance.sqrt().max(1.0 / count(n).sqrt());
    Some((right, (right - mean) / deviation, n))
}

/// How much likelier so many deviations are on one line: any number from 3 to 20 there, about none elsewhere. Wrong times
/// are few and overlap, so chance strays half as far again as they say.
fn ln_alike(deviations: f64) -> f64 {
    const STRAY: f64 = 1.5;
    let seen = deviations / STRAY;
    let each: Vec<(f64, f64)> =
        (3..=20).map(|mean| (1.0 / 18.0, f64::from(mean) * seen - 0.5 * f64::from(mean * mean))).collect();
    // Two that share a line need not show it: one may be busy while the other is not.
    ln_mix(&[(0.7, ln_mix(&each)), (0.3, 0.0)])
}

/// Interruptions of all endpoints.
struct Interruptions {
    /// When and whose, ascending.
    all: Vec<(i64, usize)>,
    /// Of each endpoint.
    of: Vec<Vec<i64>>,
    spans: Vec<(i64, i64)>,
}

impl Interruptions {
    fn of(lines: &[Line]) -> Self {
        let of: Vec<Vec<i64>> = lines.iter().map(|line| line.resumed.clone()).collect();
        let mut all: Vec<(i64, usize)> =
            of.iter().enumerate().flat_map(|(number, times)| times.iter().map(move |at| (*at, number))).collect();
        all.sort_unstable();
        Self { all, of, spans: lines.iter().map(|line| line.span).collect() }
    }

    /// Endpoints that were interrupted at about that time.
    fn near(&self, at: i64) -> &[(i64, usize)] {
        let from = self.all.partition_point(|(time, _)| *time < at - AT_ONCE);
        let to = self.all.partition_point(|(time, _)| *time <= at + AT_ONCE);
        self.all.get(from..to).unwrap_or_default()
    }

    /// Pairs that were interrupted at the same time, but for those of moments in which a crowd was.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for (at, number) in &self.all {
            let near = self.near(*at);
            if near.len() <= MOST_SHARING {
                pairs.extend(near.iter().filter(|(_, other)| other > number).map(|(_, other)| (*number, *other)));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs.truncate(MOST_PAIRS);
        pairs
    }

    /// How many interruptions of two were at the same time, how many there were, and how much likelier that is on one
    /// line: there half of them are common to both; elsewhere as many as other endpoints have then, or as chance brings.
    fn ratio(&self, one: usize, other: usize) -> (usize, usize, f64) {
        const COMMON: f64 = 0.5;
        let (Some(own), Some(theirs)) = (self.of.get(one), self.of.get(other)) else { return (0, 0, 0.0) };
        let (Some(a), Some(b)) = (self.spans.get(one), self.spans.get(other)) else { return (0, 0, 0.0) };
        let both = (a.0.max(b.0), a.1.min(b.1));
        let within =
            |times: &Vec<i64>| times.iter().filter(|at| (both.0..=both.1).contains(at)).copied().collect::<Vec<_>>();
        let (own, theirs) = (within(own), within(theirs));
        // Seconds suffice for a rate.
        let lasted = seconds(both.1 - both.0).max(60.0);
        let others = count(self.of.len().saturating_sub(1).max(1));
        let (mut at_once, mut ln_ratio) = (0, 0.0);
        for at in &own {
            let met = theirs.iter().any(|other| (other - at).abs() <= AT_ONCE);
            let then: std::collections::BTreeSet<usize> = self.near(*at).iter().map(|(_, number)| *number).collect();
            let crowd = count(then.len().saturating_sub(1)) / others;
            let chance = (crowd.max(2.0 * seconds(AT_ONCE) * count(theirs.len()) / lasted)).clamp(1e-6, 0.99);
            at_once += usize::from(met);
            ln_ratio +=
                if met { (COMMON.max(chance) / chance).ln() } else { ((1.0 - COMMON) / (1.0 - chance)).ln().max(-1.0) };
        }
        (at_once, own.len() + theirs.len(), if theirs.is_empty() { 0.0 } else { ln_ratio })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in nanoseconds, told in seconds")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
const fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xorshift (Marsaglia 2003).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, most: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % most
        }
    }

    const FROM: u32 = 354_492_000;
    /// Beats of an hour and a half.
    const LONG: u32 = 1_080;

    fn address(number: usize) -> IpAddr {
        IpAddr::from([20, 0, u8::try_from(number).unwrap(), 9])
    }

    /// A line of its own: spells of 5 to 100 s in which its queue is 10 to 300 ms long, in tenths by beat.
    fn spells(chance: &mut Chance) -> Vec<u16> {
        let mut queue = vec![0; LONG as usize];
        let mut at = chance.below(40);
        while at < u64::from(LONG) {
            let (until, depth) = (at + 1 + chance.below(20), 100 + chance.below(3_000));
            for slot in queue.iter_mut().take(until as usize).skip(at as usize) {
                *slot = u16::try_from(depth * (70 + chance.below(30)) / 100).unwrap();
            }
            at = until + 5 + chance.below(50);
        }
        queue
    }

    /// An endpoint behind a queue, with noise of its own, busy in so many of a hundred beats.
    fn line(number: usize, queue: &[u16], busy: u64, chance: &mut Chance) -> Line {
        let beats = (FROM..).zip(queue).filter_map(|(number, queue)| {
            let tenths = 300 + queue + u16::try_from(chance.below(40)).unwrap();
            (chance.below(100) < busy).then_some(Beat { number, tenths, n: 3 })
        });
        let nanos = |beat: u32| i64::from(beat) * Beat::NANOS;
        Line {
            address: address(number),
            beats: beats.collect(),
            resumed: Vec::new(),
            span: (nanos(FROM), nanos(FROM + LONG)),
        }
    }

    /// So many endpoints, each on its own line.
    fn fleet(n: usize, seed: u64) -> (Vec<Line>, Chance) {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let lines = (0..n).map(|number| {
            let queue = spells(&mut chance);
            line(number, &queue, 90, &mut chance)
        });
        (lines.collect(), chance)
    }

    fn found(lines: Vec<Line>) -> Vec<(IpAddr, SharedLine)> {
        shared(lines, &|a, b| a != b)
    }

    #[test]
    fn two_on_one_line_are_found_and_no_others() {
        for seed in 1..6 {
            let (mut lines, mut chance) = fleet(24, seed);
            let queue = spells(&mut chance);
            for number in [3, 17] {
                lines[number] = line(number, &queue, 70, &mut chance);
            }
            let ties = found(lines.clone());
            let who: Vec<(IpAddr, IpAddr)> =
                ties.iter().map(|(address, line)| (*address, line.with[0].other)).collect();
            assert_eq!(who, [(address(3), address(17)), (address(17), address(3))], "seed {seed}: {ties:?}");
            let tie = &ties[0].1;
            assert!(tie.ln_bayes > 3.0 && tie.with[0].correlation > 0.4 && tie.compared == 23, "{tie:?}");
            assert_eq!(shared(lines, &|_, _| false), [], "no strangers");
        }
    }

    #[test]
    fn lines_of_their_own_are_not_taken_for_one() {
        let mut pairs = 0;
        for seed in 1..9 {
            let ties = found(fleet(40, 100 + seed).0);
            pairs += ties.iter().map(|(_, line)| line.with.len()).sum::<usize>();
            assert!(ties.iter().all(|(_, line)| line.ln_bayes < 1.0), "seed {seed}: {ties:?}");
        }
        println!("{pairs} ties among {} endpoints", 8 * 40);
        assert!(pairs <= 2, "{pairs}");
    }

    #[test]
    fn what_is_common_to_all_and_what_changes_slowly_is_no_line() {
        let (mut lines, mut chance) = fleet(24, 7);
        let gateway = spells(&mut chance);
        for line in &mut lines {
            for beat in &mut line.beats {
                beat.tenths += gateway[(beat.number - FROM) as usize];
            }
        }
        let ties = found(lines);
        assert!(ties.iter().all(|(_, line)| line.ln_bayes < 1.0), "the gateway's queue: {ties:?}");
        // Two neighbours whose street is fuller and fuller towards the evening.
        let (mut lines, _) = fleet(24, 8);
        for line in lines.iter_mut().take(2) {
            line.beats.iter_mut().for_each(|beat| beat.tenths += u16::try_from((beat.number - FROM) * 2).unwrap());
        }
        assert_eq!(found(lines), [], "the evening");
    }

    #[test]
    fn quiet_lines_few_endpoints_and_little_overlap_say_nothing() {
        let (mut lines, mut chance) = fleet(24, 9);
        let queue = spells(&mut chance);
        for number in [3, 17] {
            lines[number] = line(number, &queue, 90, &mut chance);
        }
        assert_eq!(found([&lines[..3], &lines[17..18]].concat()), [], "few");
        let mut apart = lines.clone();
        apart[3].beats.truncate(500);
        apart[17].beats.drain(..480);
        assert_eq!(found(apart), [], "one after the other");
        let mut quiet = lines;
        for number in [3, 17] {
            quiet[number] = line(number, &[0; LONG as usize], 90, &mut chance);
        }
        assert_eq!(found(quiet), [], "quiet");
    }

    #[test]
    fn a_provider_s_full_segment_is_not_a_home() {
        let (mut lines, mut chance) = fleet(40, 10);
        let queue = spells(&mut chance);
        for (number, slot) in lines.iter_mut().enumerate().take(15) {
            *slot = line(number, &queue, 90, &mut chance);
        }
        let ties = found(lines);
        assert_eq!(ties, []);
    }

    #[test]
    fn interruptions_at_the_same_time_tell_unless_a_crowd_has_them() {
        const SECOND: i64 = 1_000_000_000;
        let from = i64::from(FROM) * Beat::NANOS;
        let (mut lines, mut chance) = fleet(100, 11);
        let mut own = |_| from + i64::try_from(chance.below(5_000)).unwrap() * SECOND;
        for line in &mut lines {
            line.beats.clear();
            line.resumed = (0..3).map(&mut own).collect();
            line.resumed.sort_unstable();
        }
        let chance_only = found(lines.clone());
        assert!(chance_only.iter().all(|(_, line)| line.ln_bayes < 1.5), "{chance_only:?}");
        let times: Vec<i64> = [700, 2_000, 3_100, 4_600].map(|second| from + second * SECOND).to_vec();
        lines[5].resumed.clone_from(&times);
        lines[60].resumed = times.iter().map(|at| at + 2 * SECOND).collect();
        let ties = found(lines.clone());
        let (_, tie) = ties.iter().find(|(own, _)| *own == address(5)).unwrap();
        assert!(
            tie.with[0].other == address(60) && tie.ln_bayes > 4.0 && tie.with[0].interruptions == (4, 8),
            "{tie:?}"
        );
        // The gateway was restarted four times.
        for line in &mut lines {
            line.resumed = times.iter().map(|at| at + i64::try_from(chance.below(4)).unwrap() * SECOND).collect();
        }
        assert_eq!(found(lines), []);
    }

    #[test]
    fn the_order_does_not_matter() {
        let (mut lines, mut chance) = fleet(16, 12);
        let queue = spells(&mut chance);
        lines[2] = line(2, &queue, 80, &mut chance);
        lines[9] = line(9, &queue, 80, &mut chance);
        let whole = found(lines.clone());
        assert!(!whole.is_empty());
        lines.reverse();
        lines.rotate_left(5);
        assert_eq!(found(lines), whole);
    }
}
