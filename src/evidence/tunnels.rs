//! Which address inside a tunnel belongs to which worker outside.
//!
//! Reads: claims (RADIUS names both addresses), else what passed when at both (science note S05). Emits: [`Joins`].
//! An address is joined to the tunnel whose bytes its own explain, each packet with a constant tax, and only where no
//! other tunnel and no other address does nearly as well; where one is not enough, several addresses are tried together.
//! What can't be told apart stays unjoined. Bounded: [`MAX_OUTER`], [`MAX_INNER`]; what is over is counted.
//! Does not: judge.

use super::Claims;
use super::covariation::{Curves, Fit, Inside, MARGIN, MOST_TAX, Steps, Stretch, fit, left_over, take_out};
use super::series::{COARSE, COARSE_IN_BLOCK, Entry, Series};
use crate::base::{Timestamp, TunnelSide, Volume};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tunnels, by the worker's address outside.
const MAX_OUTER: usize = 20_000;
/// Addresses that may be inside one.
const MAX_INNER: usize = 50_000;

/// An address inside is the same traffic as a tunnel from this correlation on (science note S05).
const SAME: f64 = 0.98;
/// Clocks that differ by half a quarter second cost no more than this.
const SAME_BUT_FOR_CLOCKS: f64 = 0.92;
/// What is not explained by the runner-up must be so many times what is not explained by the best (design value).
const DISTINCT: f64 = 4.0;
/// A share of the variance that the best never does without: padding, packets cut by one capture.
const NEVER_EXPLAINED: f64 = 0.01;
/// Less than this is no ground to tell workers by (design values; docs/tunnels.md has what they cost).
const LEAST_AMOUNTS: f64 = 8.0;
const LEAST_SECONDS: u32 = 30;
const LEAST_BYTES: f64 = 16_000.0;
/// The share of an address's bytes that must lie within the tunnel's time: the rest may be another worker's.
const LEAST_COVERED: f64 = 0.9;
/// How the first look compares: shares of the busiest five minutes that may have passed earlier or later.
const LOOK_ASKEW: f32 = 0.12;
/// The least correlation at first look.
const LOOK_LIKE: f32 = 0.5;
/// Tunnels compared in full with an address, those that look most like it.
const SECOND_LOOKS: usize = 16;
/// Who sends so much of its traffic through a tunnel of its own is outside, not inside another's.
const MOSTLY_TUNNEL: f64 = 0.5;
/// Tunnels that are tried with several addresses, addresses tried for each, and joined to it.
const SHARED_TUNNELS: usize = 32;
const SHARED_TRIED: usize = 64;
const SHARED_MOST: usize = 8;
/// Bytes that encapsulation adds to a packet where that can't be fitted yet: WireGuard, OpenVPN and ESP add 50 to 80.
const USUAL_TAX: f64 = 64.0;

/// What passed when, on both sides.
#[derive(Debug)]
pub(super) struct Tunnels {
    outer: DashMap<IpAddr, Series, RandomState>,
    inner: DashMap<IpAddr, Series, RandomState>,
    turned_away: AtomicU64,
}

/// How an address inside a tunnel was joined to the one outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joined {
    /// The worker's address outside.
    pub outer: IpAddr,
    /// `volume`, or who claims it (`radius-accounting`).
    pub by: &'static str,
    /// Of the bytes inside and outside; of several addresses of one tunnel, of their sum.
    pub correlation: Option<f64>,
    /// Seconds compared.
    pub overlap_s: Option<u32>,
}

/// All addresses joined.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Joins {
    by_inner: BTreeMap<IpAddr, Joined>,
    by_outer: BTreeMap<IpAddr, Vec<IpAddr>>,
}

impl Joins {
    /// How an address inside was joined, if it was.
    #[must_use]
    pub fn of_inner(&self, address: IpAddr) -> Option<&Joined> {
        self.by_inner.get(&address)
    }

    /// The addresses inside the tunnel of an address outside, ascending.
    #[must_use]
    pub fn of_outer(&self, address: IpAddr) -> &[IpAddr] {
        self.by_outer.get(&address).map_or(&[], Vec::as_slice)
    }

    /// All of them, by the address inside.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Joined)> {
        self.by_inner.iter().map(|(inner, joined)| (*inner, joined))
    }

    /// Joins an address; the first stays.
    pub(super) fn add(&mut self, inner: IpAddr, joined: Joined) {
        // What is inside one tunnel may be the outside of another; a circle is neither.
        let circle = self.by_inner.get(&joined.outer).is_some_and(|outside| outside.outer == inner);
        if inner != joined.outer && !circle && !self.by_inner.contains_key(&inner) {
            self.by_inner.insert(inner, joined);
            let all = self.by_outer.entry(joined.outer).or_default();
            let place = all.partition_point(|known| *known < inner);
            all.insert(place, inner);
        }
    }
}

/// The address outside that `claims` name for an address inside, if they name one only while it was seen.
pub(super) fn by_claims(claims: &Claims, inner: IpAddr, seen: [Option<Timestamp>; 2]) -> Option<Joined> {
    let mut named = seen.into_iter().flatten().filter_map(|at| claims.tunnel_of(inner, at));
    let (outer, by) = named.next_back()?;
    named.all(|(other, _)| other == outer).then_some(Joined { outer, by, correlation: None, overlap_s: None })
}

/// An address with what is asked of it again and again.
struct Known {
    address: IpAddr,
    series: Series,
    total: f64,
    /// The five minutes with the most bytes, and how they were spread.
    busiest: i64,
    spread: Spread,
}

/// Bytes in each five seconds of five minutes, from the worker and to it.
type Spread = [Vec<f32>; 2];

/// A tunnel in five minutes.
struct Around {
    tunnel: usize,
    bytes: f64,
    packets: f64,
    spread: Spread,
    shares: [Option<Vec<f32>>; 2],
}

/// A tunnel or an address and how well it fits.
type Ranked = (usize, Fit);

impl Tunnels {
    pub(super) fn new() -> Self {
        Self {
            outer: DashMap::with_hasher(RandomState::default()),
            inner: DashMap::with_hasher(RandomState::default()),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Takes in what passed at an address.
    pub(super) fn add(&self, side: TunnelSide, address: IpAddr, volumes: &[Volume]) {
        let (all, most) = match side {
            TunnelSide::Outer => (&self.outer, MAX_OUTER),
            TunnelSide::Inner => (&self.inner, MAX_INNER),
        };
        if let Some(mut series) = all.get_mut(&address) {
            series.add(volumes);
        } else if all.len() < most {
            all.entry(address).or_default().add(volumes);
        } else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops the addresses at which nothing has passed since.
    pub(super) fn forget_before(&self, before: Timestamp) {
        for all in [&self.outer, &self.inner] {
            all.retain(|_, series| series.span().is_some_and(|(_, last)| last >= Volume::tick_of(before)));
        }
    }

    /// Whether what was joined by volume before still holds: the address may since have been given to another.
    pub(super) fn still_holds(&self, inner: IpAddr, joined: &Joined) -> bool {
        let Some(tunnel) = self.outer.get(&joined.outer).map(|series| series.clone()) else { return false };
        joined.by == VOLUME && self.inner.get(&inner).is_some_and(|series| is_covered(&series, &tunnel))
    }

    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Joins by volume what is not joined yet.
    pub(super) fn join_by_volume(&self, joins: &mut Joins) {
        if self.outer.is_empty() || self.inner.is_empty() {
            return;
        }
        let tunnels = known(&self.outer, |_| true);
        let mut inside = known(&self.inner, |address| joins.of_inner(address).is_none());
        let own: HashMap<IpAddr, f64> = tunnels.iter().map(|tunnel| (tunnel.address, tunnel.total)).collect();
        inside.retain(|inner| own.get(&inner.address).is_none_or(|bytes| *bytes < MOSTLY_TUNNEL * inner.total));
        let taken: Vec<bool> = tunnels.iter().map(|tunnel| !joins.of_outer(tunnel.address).is_empty()).collect();
        for (inner, tunnel, fit) in singles(&tunnels, &inside, &taken) {
            if let (Some(inner), Some(tunnel)) = (inside.get(inner), tunnels.get(tunnel)) {
                joins.add(inner.address, Joined::by(&fit, tunnel.address));
            }
        }
        self.join_sums(&tunnels, &inside, joins);
    }

    /// Tunnels whose traffic is that of several addresses.
    fn join_sums(&self, tunnels: &[Known], inside: &[Known], joins: &mut Joins) {
        let mut shared: Vec<&Known> = tunnels.iter().filter(|t| t.total >= LEAST_BYTES).collect();
        shared.retain(|tunnel| {
            // What one address explains needs no other.
            joins.of_outer(tunnel.address).iter().all(|inner| joins.of_inner(*inner).is_none_or(|j| j.by != VOLUME))
        });
        shared.sort_by(|a, b| b.total.total_cmp(&a.total).then(a.address.cmp(&b.address)));
        for tunnel in shared.into_iter().take(SHARED_TUNNELS) {
            let claimed: Vec<Series> = joins
                .of_outer(tunnel.address)
                .iter()
                .filter_map(|inner| self.inner.get(inner).map(|series| series.clone()))
                .collect();
            let free = inside.iter().filter(|inner| joins.of_inner(inner.address).is_none());
            let found = Sum::of(tunnel, &claimed, free.filter(|inner| inner.address != tunnel.address));
            if let Some((members, fit)) = found {
                members.into_iter().for_each(|inner| joins.add(inner, Joined::by(&fit, tunnel.address)));
            }
        }
    }
}

/// The word for what was joined without a claim.
const VOLUME: &str = "volume";

impl Joined {
    fn by(fit: &Fit, outer: IpAddr) -> Self {
        Self { outer, by: VOLUME, correlation: Some(fit.correlation), overlap_s: Some(fit.overlap_s) }
    }
}

/// Copies, so that nothing is locked while they are compared, in order of address.
fn known(all: &DashMap<IpAddr, Series, RandomState>, wanted: impl Fn(IpAddr) -> bool) -> Vec<Known> {
    let mut known: Vec<Known> = all
        .iter()
        .filter(|entry| wanted(*entry.key()))
        .filter_map(|entry| Known::of(*entry.key(), entry.value().clone()))
        .collect();
    known.sort_by_key(|known| known.address);
    known
}

impl Known {
    fn of(address: IpAddr, series: Series) -> Option<Self> {
        let bytes = |spread: &Spread| spread.iter().flatten().sum::<f32>();
        let blocks = series.blocks().map(|(number, block)| (number, block.coarse()));
        let (busiest, spread) = blocks.max_by(|(_, a), (_, b)| bytes(a).total_cmp(&bytes(b)))?;
        let total = series.bytes_between(i64::MIN, i64::MAX);
        Some(Self { address, series, total, busiest, spread })
    }
}

/// Pairs of one address and one tunnel that fit each other and nothing else.
fn singles(tunnels: &[Known], inside: &[Known], taken: &[bool]) -> Vec<(usize, usize, Fit)> {
    let around = by_block(tunnels, inside, taken);
    let mut of_inner: Vec<Vec<Ranked>> = Vec::with_capacity(inside.len());
    let mut of_tunnel: HashMap<usize, Vec<Ranked>> = HashMap::new();
    for (i, inner) in inside.iter().enumerate() {
        let mut ranked = Vec::new();
        let mut looks = Looks::default();
        for tunnel in may_hold(around.get(&inner.busiest).map_or(&[], Vec::as_slice), inner) {
            let Some(known) = tunnels.get(tunnel).filter(|known| known.address != inner.address) else { continue };
            if let Some(fit) = looks.compare(inner, known) {
                ranked.push((tunnel, fit));
                of_tunnel.entry(tunnel).or_default().push((i, fit));
            }
            // Two that fit are as bad as sixteen.
            if ranked.iter().filter(|(_, fit)| fit.peak >= SAME).count() > 1 {
                break;
            }
        }
        ranked.sort_by(|a, b| b.1.peak.total_cmp(&a.1.peak).then(a.0.cmp(&b.0)));
        ranked.truncate(2);
        of_inner.push(ranked);
    }
    let accepted = inside.iter().zip(&of_inner).enumerate().filter_map(|(i, (inner, ranked))| {
        let (tunnel, fit) = *ranked.first()?;
        let rivals = of_tunnel.get(&tunnel).into_iter().flatten().filter(|(rival, _)| *rival != i);
        let runner_up = ranked.get(1).into_iter().chain(rivals).map(|(_, fit)| fit.peak).fold(0.0, f64::max);
        let covered = is_covered(&inner.series, &tunnels.get(tunnel)?.series);
        (covered && fit.is_enough() && fit.is_same() && fit.is_distinct_from(runner_up)).then_some((i, tunnel, fit))
    });
    accepted.collect()
}

/// Whether an address's traffic is the tunnel's for as long as it is known: else another worker had it, too. Of what the
/// tunnel has forgotten nothing can be said.
fn is_covered(inner: &Series, tunnel: &Series) -> bool {
    let (Some(began), Some((_, last))) = (tunnel.first(), tunnel.span()) else { return false };
    let slack = MARGIN + COARSE;
    let within = inner.bytes_between(began - slack, last + slack);
    let before = inner.first().is_some_and(|first| first < began - slack);
    within >= LEAST_COVERED * inner.bytes_between(i64::MIN, i64::MAX) && !(before && inner.forgotten_before().is_some())
}

/// What passed at tunnels in the blocks that are some address's busiest.
fn by_block(tunnels: &[Known], inside: &[Known], taken: &[bool]) -> HashMap<i64, Vec<Around>> {
    let mut blocks: HashMap<i64, Vec<Around>> = inside.iter().map(|inner| (inner.busiest, Vec::new())).collect();
    let free = tunnels.iter().enumerate().zip(taken).filter(|(_, taken)| !**taken);
    for ((tunnel, known), _) in free {
        for (number, block) in known.series.blocks() {
            let Some(places) = blocks.get_mut(&number) else { continue };
            let sum = |of: fn(&Entry) -> [u32; 2]| block.entries.iter().flat_map(of).map(f64::from).sum::<f64>();
            let (bytes, packets) = (sum(|entry| entry.bytes), sum(|entry| entry.packets));
            let spread = block.coarse();
            let shares = shares(&spread);
            places.push(Around { tunnel, bytes, packets, spread, shares });
        }
    }
    blocks
}

/// A first look: the tunnels through which the busiest five minutes of an address could have gone, having carried no
/// more; those most like it first, and no more of them than are worth a second look.
fn may_hold(places: &[Around], inner: &Known) -> Vec<usize> {
    if inner.total < LEAST_BYTES || repeats(&inner.spread) {
        return Vec::new();
    }
    let own = &inner.spread;
    let passed = shares(own);
    let inside = f64::from(own.iter().flatten().sum::<f32>());
    // Half may lie outside of the tunnel's time; nothing outside of it may be more than tax and some of its own.
    let fits = |place: &&Around| {
        place.bytes >= 0.5 * inside && place.bytes <= 1.2 * inside + MOST_TAX * place.packets + 20_000.0
    };
    let looked = places.iter().filter(fits).filter_map(|place| {
        let askew = askew(&passed, &place.shares)?;
        (likeness(own, &place.spread) >= LOOK_LIKE).then_some((askew, place.tunnel))
    });
    let mut like: Vec<(f32, usize)> = looked.collect();
    like.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    like.into_iter().take(SECOND_LOOKS).map(|(_, tunnel)| tunnel).collect()
}

/// Which share of a direction has passed by each time, where it is enough to tell.
fn shares(spread: &Spread) -> [Option<Vec<f32>>; 2] {
    spread.each_ref().map(|steps| {
        let all = steps.iter().sum::<f32>();
        let mut passed = 0.0;
        let share = |bytes: &f32| {
            passed += bytes / all;
            passed
        };
        (all >= 2_000.0).then(|| steps.iter().map(share).collect())
    })
}

/// The greatest difference between the shares that have passed by some time, if it is no more than may be. That is asked
/// of every address and tunnel, and most differ soon.
fn askew(a: &[Option<Vec<f32>>; 2], b: &[Option<Vec<f32>>; 2]) -> Option<f32> {
    let mut most = 0.0f32;
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            most = most.max((a - b).abs());
            if most > LOOK_ASKEW {
                return None;
            }
        }
    }
    Some(most)
}

/// Whether the same passes again and again: at another time it would fit as well.
fn repeats(spread: &Spread) -> bool {
    let mut later = spread.clone();
    (1..=COARSE_IN_BLOCK / 2).any(|by| {
        for steps in later.iter_mut().filter(|steps| !steps.is_empty()) {
            steps.rotate_left(1);
        }
        by > 1 && f64::from(likeness(spread, &later)) >= SAME
    })
}

/// The correlation of what passed in ten seconds each, tax and all.
fn likeness(a: &Spread, b: &Spread) -> f32 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let pairs = || a.windows(2).map(|w| w.iter().sum::<f32>()).zip(b.windows(2).map(|w| w.iter().sum::<f32>()));
        let n = pairs().fold(0.0, |n, _| n + 1.0f32).max(1.0);
        let (sum_a, sum_b) = pairs().fold((0.0, 0.0), |(sum_a, sum_b), (a, b)| (sum_a + a, sum_b + b));
        for (a, b) in pairs() {
            let (a, b) = (a - sum_a / n, b - sum_b / n);
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
    }
    if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

/// What an address looks like at single ticks and at five seconds: to most tunnels it is compared with the same.
#[derive(Default)]
struct Looks([Option<(Stretch, Inside)>; 2]);

impl Looks {
    /// At single ticks if they are enough to tell by, else at five seconds.
    fn compare(&mut self, inner: &Known, tunnel: &Known) -> Option<Fit> {
        match self.at(inner, tunnel, false) {
            Some(fine) if fine.is_enough() => Some(fine),
            fine => self.at(inner, tunnel, true).filter(Fit::is_enough).or(fine),
        }
    }

    fn at(&mut self, inner: &Known, tunnel: &Known, coarse: bool) -> Option<Fit> {
        let stretch = Stretch::of(&inner.series, &tunnel.series, coarse)?;
        let [fine_look, coarse_look] = &mut self.0;
        let look = if coarse { coarse_look } else { fine_look };
        let known = look.take_if(|(known, _)| *known == stretch);
        let (stretch, inside) = look.insert(known.unwrap_or_else(|| {
            let inside = Inside::of(stretch.steps_of(&inner.series));
            (stretch, inside)
        }));
        fit(stretch, inside, &stretch.steps_of(&tunnel.series))
    }
}

impl Fit {
    /// Whether there was enough to compare.
    fn is_enough(&self) -> bool {
        self.amounts >= LEAST_AMOUNTS && self.overlap_s >= LEAST_SECONDS && self.bytes >= LEAST_BYTES
    }

    fn is_same(&self) -> bool {
        self.peak >= SAME && self.correlation >= SAME_BUT_FOR_CLOCKS && self.is_distinct_from(self.elsewhere)
    }

    /// Whether it explains much more than a fit of this correlation.
    fn is_distinct_from(&self, runner_up: f64) -> bool {
        let unexplained = |correlation: f64| 1.0 - correlation.powi(2);
        unexplained(runner_up) >= DISTINCT * unexplained(self.peak).max(NEVER_EXPLAINED)
    }
}

/// Several addresses of one tunnel, found one after the other.
struct Sum<'a> {
    stretch: Stretch,
    outer: Steps,
    /// Of those that claims name.
    claimed: Steps,
    /// What these leave of the tunnel.
    whole: Curves,
    tried: Vec<Tried<'a>>,
    members: Vec<usize>,
    lag: i64,
}

struct Tried<'a> {
    known: &'a Known,
    steps: Steps,
    curves: Curves,
}

impl<'a> Sum<'a> {
    fn of(tunnel: &Known, claimed: &[Series], free: impl Iterator<Item = &'a Known>) -> Option<(Vec<IpAddr>, Fit)> {
        let stretch = Stretch::around(&tunnel.series)?;
        let outer = stretch.steps_of(&tunnel.series);
        let most = 1.02 * outer.total();
        let mut sum = stretch.nothing();
        claimed.iter().for_each(|series| sum.add(&stretch.steps_of(series)));
        let mut whole = stretch.taxed(&outer, 0.0);
        take_out(&mut whole, &stretch.taxed(&sum, USUAL_TAX), 0);
        let (from, to) = stretch.bounds();
        // What is too much or too little in all needs no look at when it passed.
        let may_fit = LEAST_BYTES / 4.0..=most / LEAST_COVERED;
        let mut sized: Vec<(f64, &Known)> = free
            .filter(|inner| may_fit.contains(&inner.total) && stretch.holds(&inner.series))
            .map(|inner| (inner.series.bytes_between(from, to), inner))
            .filter(|(bytes, inner)| {
                (LEAST_BYTES / 4.0..=most).contains(bytes) && *bytes >= LEAST_COVERED * inner.total
            })
            .collect();
        sized.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.address.cmp(&b.1.address)));
        let tried = sized.into_iter().take(SHARED_TRIED).map(|(_, known)| {
            let steps = stretch.steps_of(&known.series);
            let curves = stretch.taxed(&steps, USUAL_TAX);
            Tried { known, steps, curves }
        });
        let tried = tried.collect();
        let mut search = Sum { stretch, outer, claimed: sum, whole, tried, members: Vec::new(), lag: 0 };
        search.gather();
        search.told()
    }

    /// Takes in what explains the most of what is left, while that is much.
    fn gather(&mut self) {
        let mut rest = self.whole.clone();
        let mut left = left_over(&rest, &[], 0).0;
        while self.members.len() < SHARED_MOST {
            let lags = if self.members.is_empty() { Stretch::lags() } else { self.lag..=self.lag };
            let tries = lags.flat_map(|lag| self.tried.iter().enumerate().map(move |(i, tried)| (lag, i, tried)));
            let tries = tries.filter(|(_, i, _)| !self.members.contains(i));
            let best = tries
                .map(|(lag, i, tried)| (left_over(&rest, &[&tried.curves], lag).0, lag, i))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((now, lag, i)) = best.filter(|(now, ..)| *now < 0.8 * left) else { break };
            (left, self.lag) = (now, lag);
            self.members.push(i);
            if let Some(tried) = self.tried.get(i) {
                take_out(&mut rest, &tried.curves, lag);
            }
        }
    }

    /// The members, if together they are the tunnel's traffic and none of them can be left out or exchanged.
    fn told(&self) -> Option<(Vec<IpAddr>, Fit)> {
        let members: Vec<&Tried<'_>> = self.members.iter().filter_map(|i| self.tried.get(*i)).collect();
        let mut sum = self.claimed.clone();
        members.iter().for_each(|member| sum.add(&member.steps));
        let fit = fit(&self.stretch, &Inside::of(sum), &self.outer).filter(|fit| fit.is_enough() && fit.is_same())?;
        (!members.is_empty() && self.is_needed(fit.lag))
            .then(|| (members.iter().map(|member| member.known.address).collect(), fit))
    }

    /// Whether none of the members can be left out, or exchanged for another.
    fn is_needed(&self, lag: i64) -> bool {
        let curves = |members: &[usize]| -> Vec<&Curves> {
            members.iter().filter_map(|i| self.tried.get(*i)).map(|tried| &tried.curves).collect()
        };
        let (left, all) = left_over(&self.whole, &curves(&self.members), lag);
        let enough = DISTINCT * left.max(NEVER_EXPLAINED * all);
        self.members.iter().all(|member| {
            let others: Vec<usize> = self.members.iter().copied().filter(|other| other != member).collect();
            let mut rest = self.whole.clone();
            curves(&others).into_iter().for_each(|part| take_out(&mut rest, part, lag));
            let strangers = (0..self.tried.len()).filter(|i| !self.members.contains(i));
            left_over(&rest, &[], lag).0 >= enough
                && strangers
                    .filter_map(|i| self.tried.get(i))
                    .all(|stranger| left_over(&rest, &[&stranger.curves], lag).0 >= enough)
        })
    }
}
