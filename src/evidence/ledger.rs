//! The ledger: one account an endpoint, filled by all workers.
//!
//! Merging is commutative and associative: an account depends only on the set of what was told, so the report is the
//! same for any number of workers. Where an account is bounded, what stays is chosen by a hash of the content.
//! An endpoint is the client of a session, unless its address is the site's own. Does not: judge.

use super::facts::join_least;
use super::peers::{Gathering, Weight, Weights};
use super::tunnels::{Tunnels, by_claims};
use super::{ClaimLimits, Claims, Facts, Joined, Joins, Peers, Ranges};
use crate::base::{
    Beat, Key, Layer, Located, RttKind, RttPart, RttSample, Seldom, Side, Timestamp, TunnelSide, Volume,
};
use crate::fingerprint::{Ladder, Path, Pulse};
use crate::flow::{FiveTuple, Flow};
use crate::intel::{GeoPoint, Premises, Pseudonyms};
use crate::session::{Session, Story};
use dashmap::DashMap;
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Bounds of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Endpoints with an account; more are counted only.
    pub endpoints: usize,
    /// Accounts of the site's own addresses, kept in case they turn out to be inside a worker's tunnel.
    pub hidden: usize,
    /// Addresses with names.
    pub names: usize,
    /// Whether to note which accounts have changed, for [`Ledger::take_changed`].
    pub track_changes: bool,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self { endpoints: 1_000_000, hidden: 100_000, names: 100_000, track_changes: false }
    }
}

/// Per endpoint: paired samples, flows to cite, names.
const GAPS: usize = 64;
const CITED: usize = 4;
const NAMES: usize = 4;

/// A handshake measured at two layers at once: how much later the upper one answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Gap {
    /// A hash of all the rest: the order of preference when there are too many.
    rank: u64,
    /// When the upper loop closed.
    pub at: Timestamp,
    /// The upper layer.
    pub layer: Layer,
    /// Which program answers at the upper layer (a hash of its fingerprint): programs think for themselves.
    pub program: u64,
    /// Which program answers which question: what takes the same program equally long.
    pub habit: u64,
    /// The program has nothing to think about before it answers.
    #[serde(default)]
    pub unthinking: bool,
    /// Round trip of the TCP handshake, in microseconds.
    pub tcp_us: u32,
    /// Round trip of the upper layer, in microseconds.
    pub upper_us: u32,
    /// The flow.
    pub flow: CitedFlow,
}

/// How long a client waited between the end of the TCP handshake and its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Lag {
    /// A hash of all the rest.
    rank: u64,
    /// Which program.
    pub program: u64,
    /// Microseconds.
    pub us: u32,
    /// The flow.
    pub flow: CitedFlow,
}

/// A flow to cite, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct CitedFlow {
    orig: (IpAddr, u16),
    resp: (IpAddr, u16),
    proto: u8,
}

impl CitedFlow {
    pub(super) fn of(tuple: &FiveTuple) -> Self {
        Self { orig: (tuple.orig.ip, tuple.orig.port), resp: (tuple.resp.ip, tuple.resp.port), proto: tuple.proto.0 }
    }

    /// Its Community ID.
    #[must_use]
    pub fn community_id(&self) -> String {
        let peer = |(ip, port)| crate::flow::Peer { ip, port };
        crate::flow::community_id(&FiveTuple {
            orig: peer(self.orig),
            resp: peer(self.resp),
            proto: crate::flow::Protocol(self.proto),
        })
    }
}

#[cfg(test)]
impl CitedFlow {
    /// Any flow, for other rooms' tests.
    pub(super) fn any(port: u16) -> Self {
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        Self { orig: (ip(1), port), resp: (ip(2), 443), proto: 6 }
    }
}

#[cfg(test)]
impl Gap {
    /// Of a handshake so many seconds in, by that program, for other rooms' tests.
    pub(super) fn any(second: u16, program: u64, tcp_ms: u32, upper_ms: u32) -> Self {
        let at = Timestamp::from_nanos(i64::from(second) * 1_000_000_000);
        let (tcp_us, upper_us, flow) = (tcp_ms * 1_000, upper_ms * 1_000, CitedFlow::any(second));
        let (layer, unthinking) = (Layer::Tls, false);
        Self {
            rank: fixed_hash(&(second, program)),
            at,
            layer,
            program,
            habit: program,
            unthinking,
            tcp_us,
            upper_us,
            flow,
        }
    }
}

impl Gap {
    /// Upper round trip less TCP's, in milliseconds; negative when the TCP handshake met the longer queue.
    #[must_use]
    pub fn ms(&self) -> f64 {
        (f64::from(self.upper_us) - f64::from(self.tcp_us)) / 1e3
    }

    /// 5th percentile of the upper round trips less 5th percentile of TCP's, in ms: think time and queues fall away.
    #[must_use]
    pub fn between<'a>(gaps: impl Iterator<Item = &'a Self> + Clone) -> Option<f64> {
        let p05 = |pick: fn(&Self) -> u32| {
            let mut sorted: Vec<u32> = gaps.clone().map(pick).collect();
            sorted.sort_unstable();
            sorted.get(sorted.len().div_ceil(20).saturating_sub(1)).copied().map(|us| f64::from(us) / 1e3)
        };
        Some(p05(|g| g.upper_us)? - p05(|g| g.tcp_us)?)
    }
}

/// What is known of one endpoint.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Account {
    /// Earliest packet of its sessions, those that go on included.
    pub first_seen: Option<Timestamp>,
    /// Latest packet.
    pub last_seen: Option<Timestamp>,
    /// Sessions that have ended.
    pub sessions: u64,
    /// Bytes of their IP packets, both directions.
    pub bytes: u64,
    /// Round trips to it.
    pub ladder: Ladder,
    /// How the way's length changed from moment to moment, in this run.
    #[serde(skip)]
    pub pulse: Pulse,
    /// The shortest round trip from each of the company's sites, if there are several.
    pub ranges: Seldom<Ranges>,
    /// Its path.
    pub path: Path,
    /// What its sessions tell beside.
    pub facts: Facts,
    /// Handshakes measured at two layers; at most 64, chosen by hash.
    pub gaps: Seldom<BTreeSet<Gap>>,
    /// All such handshakes, also those not kept.
    pub gap_count: u64,
    /// How long its programs waited before they spoke; at most 64, chosen by hash.
    pub lags: Seldom<BTreeSet<Lag>>,
    /// Flows with the shortest round trips of its lowest layer, then of the next: layer, microseconds, flow.
    pub quickest: Vec<(Layer, u32, CitedFlow)>,
}

/// What was dropped because it was too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Stays of somebody at an address.
    pub claims: u64,
    /// Names of addresses.
    pub names: u64,
    /// Endpoints, with all that was measured.
    pub endpoints: u64,
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, other: Self) {
        self.claims += other.claims;
        self.names += other.names;
        self.endpoints += other.endpoints;
    }
}

/// What is known of an address inside a worker's tunnel.
#[derive(Debug, Clone)]
pub struct Inner {
    /// The address.
    pub address: IpAddr,
    /// Its account.
    pub account: Account,
    /// How it was joined.
    pub joined: Joined,
}

/// Accounts and names.
#[derive(Debug)]
pub struct Ledger {
    /// Boxed: a hash table keeps up to half its places free, and an account is large.
    accounts: DashMap<IpAddr, Box<Account>, foldhash::fast::RandomState>,
    /// When each name was first and last heard.
    names: DashMap<IpAddr, BTreeMap<String, (Timestamp, Timestamp)>, foldhash::fast::RandomState>,
    claims: Claims,
    /// Of the site's own addresses that may be inside a tunnel; seen only once they are joined to one.
    hidden: DashMap<IpAddr, Box<Account>, foldhash::fast::RandomState>,
    tunnels: Tunnels,
    joins: RwLock<Arc<Joins>>,
    peers: RwLock<Arc<Peers>>,
    premises: Premises,
    limits: LedgerLimits,
    turned_away: AtomicU64,
    changed: Mutex<BTreeSet<IpAddr>>,
}

impl Ledger {
    /// An empty ledger. The site's own addresses get no account.
    #[must_use]
    pub fn new(premises: impl Into<Premises>, limits: LedgerLimits) -> Self {
        Self {
            accounts: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            names: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            claims: Claims::new(ClaimLimits::default()),
            hidden: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            tunnels: Tunnels::new(),
            joins: RwLock::default(),
            peers: RwLock::default(),
            premises: premises.into(),
            limits,
            turned_away: AtomicU64::new(0),
            changed: Mutex::default(),
        }
    }

    /// The same; who is where is kept under pseudonyms.
    #[must_use]
    pub fn with_pseudonyms(mut self, pseudonyms: Option<Pseudonyms>) -> Self {
        self.claims = Claims::under(ClaimLimits::default(), pseudonyms);
        self
    }

    /// New samples of a session that goes on.
    pub fn on_samples(&self, flow: &Flow, story: &Story, fresh: &[RttSample], lag: Option<Duration>) {
        let tuple = &flow.tuple;
        if lag.is_none() && !fresh.iter().any(counts) {
            return;
        }
        let site = self.premises.site_of(tuple.resp.ip);
        let said = Said { tuple, attributes: &story.attributes, samples: &story.samples, site };
        self.with(tuple.orig.ip, |account| {
            account.on_time(flow.first, flow.last);
            account.on_news(&said, fresh, lag);
        });
        self.note_change(tuple.orig.ip, true);
    }

    /// What a flow brought in one window.
    pub fn on_part(&self, flow: &Flow, part: &RttPart<'_>) {
        if !is_clients(&part.kind) {
            return;
        }
        let address = flow.tuple.orig.ip;
        let site = self.premises.site_of(flow.tuple.resp.ip);
        self.with(address, |account| {
            account.on_time(flow.first, flow.last);
            account.on_part(&flow.tuple, part, site);
        });
        self.note_change(address, true);
    }

    fn note_change(&self, address: IpAddr, changed: bool) {
        if self.limits.track_changes
            && changed
            && self.is_shown(address)
            && let Ok(mut changed) = self.changed.lock()
        {
            changed.insert(address);
        }
    }

    /// A session has ended, and what of it has not been told as news.
    pub fn on_session(&self, session: &Session, fresh: &[RttSample], lag: Option<Duration>) {
        let site = self.premises.site_of(session.tuple.resp.ip);
        let said = Said { tuple: &session.tuple, attributes: &session.attributes, samples: &session.samples, site };
        self.with(session.tuple.orig.ip, |account| {
            account.on_session(session);
            account.on_news(&said, fresh, lag);
        });
        self.note_change(session.tuple.orig.ip, lag.is_some() || fresh.iter().any(counts));
        self.on_inbound(session);
    }

    /// Somebody outside opened a session to a worker's machine, and works it. Only where the site says which addresses
    /// its workers' machines have: a server that people work at from home looks the same.
    fn on_inbound(&self, session: &Session) {
        let (from, to) = (session.tuple.orig.ip, session.tuple.resp.ip);
        let concerned = self.premises.is_of_pool(to) && !self.premises.is_own(from) && !self.premises.is_of_pool(from);
        if concerned && Facts::default().on_inbound(session) {
            self.with(to, |account| {
                account.on_time(session.start, session.end);
                account.facts.on_inbound(session);
            });
            self.note_change(to, true);
        }
    }

    /// An address has a name.
    pub fn on_name(&self, at: Timestamp, address: IpAddr, name: String) {
        if self.names.len() >= self.limits.names && !self.names.contains_key(&address) {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut names = self.names.entry(address).or_default();
        let (first, last) = names.entry(name).or_insert((at, at));
        *last = (*last).max(at);
        *first = (*first).min(at);
        if names.len() > NAMES {
            // The latest to be heard goes; of equals the one last in the alphabet.
            let last =
                names.iter().max_by_key(|(name, (first, _))| (*first, (*name).clone())).map(|(name, _)| name.clone());
            last.and_then(|name| names.remove(&name));
        }
    }

    /// Drops what was last heard of before that time, and says how much it was.
    pub fn forget_before(&self, before: Timestamp) -> Forgotten {
        let mut forgotten = Forgotten { claims: self.claims.forget_before(before), ..Forgotten::default() };
        self.names.retain(|_, names| {
            let kept = names.len();
            names.retain(|_, (_, last)| *last >= before);
            forgotten.names += u64::try_from(kept - names.len()).unwrap_or(u64::MAX);
            !names.is_empty()
        });
        self.accounts.retain(|_, account| {
            let keep = account.last_seen.is_none_or(|last| last >= before);
            forgotten.endpoints += u64::from(!keep);
            keep
        });
        self.hidden.retain(|_, account| account.last_seen.is_none_or(|last| last >= before));
        self.tunnels.forget_before(before);
        forgotten
    }

    /// Somebody is said to be at an address.
    pub fn on_claim(&self, located: Located) {
        self.claims.add(located);
    }

    /// Who is said to have been where.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The name an address was first asked for, if any.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let names = self.names.get(&address)?;
        names.iter().min_by_key(|(name, (first, _))| (*first, (*name).clone())).map(|(name, _)| name.clone())
    }

    /// What passed when, outside or inside a tunnel.
    pub fn on_volumes(&self, side: TunnelSide, address: IpAddr, volumes: &[Volume]) {
        self.tunnels.add(side, address, volumes);
    }

    /// Finds out which address inside belongs to which tunnel outside. What was found before stays while it holds.
    pub fn join_tunnels(&self) {
        let mut joins = Joins::default();
        let inside = if self.claims.tell_of_tunnels() { self.inside() } else { Vec::new() };
        for inner in inside {
            let seen = self.look(inner, |account| [account.first_seen, account.last_seen]).unwrap_or_default();
            if let Some(joined) = by_claims(&self.claims, inner, seen).filter(|j| self.accounts.contains_key(&j.outer))
            {
                joins.add(inner, joined);
            }
        }
        let before = self.joins();
        let held = before.iter().filter(|(inner, joined)| self.tunnels.still_holds(*inner, joined));
        held.for_each(|(inner, joined)| joins.add(inner, *joined));
        self.tunnels.join_by_volume(&mut joins);
        *self.joins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(joins);
    }

    /// What [`Self::join_tunnels`] found.
    #[must_use]
    pub fn joins(&self) -> Arc<Joins> {
        Arc::clone(&self.joins.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds out what endpoints have in common with each other.
    pub fn compare_endpoints(&self) {
        let joins = self.joins();
        // What is inside a tunnel is its outer endpoint's.
        let outside = self.accounts.iter().filter(|entry| joins.of_inner(*entry.key()).is_none());
        let weights = Weights::of(outside.map(|entry| (*entry.key(), Weight::of(entry.value()))));
        let gathering = Gathering::of(weights, |address, take| self.look(address, take).unwrap_or_default());
        let people = |address: IpAddr| {
            let seen = self.look(address, |account| account.first_seen.zip(account.last_seen)).flatten();
            seen.map_or_else(Vec::new, |(from, to)| self.claims.between(address, from, to))
        };
        let found = gathering.compare(|one, other| people(one).iter().any(|who| people(other).contains(who)));
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
    }

    /// What [`Self::compare_endpoints`] found.
    #[must_use]
    pub fn peers(&self) -> Arc<Peers> {
        Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the traffic inside the tunnel of an endpoint, by address.
    #[must_use]
    pub fn inner_of(&self, outer: IpAddr) -> Vec<Inner> {
        let joins = self.joins();
        let inner = joins.of_outer(outer).iter().filter_map(|address| {
            let account = self.look(*address, Account::clone).unwrap_or_default();
            Some(Inner { address: *address, account, joined: *joins.of_inner(*address)? })
        });
        inner.collect()
    }

    /// Addresses with an account that may be inside a tunnel, in no order.
    fn inside(&self) -> Vec<IpAddr> {
        let all = self.accounts.iter().chain(self.hidden.iter()).map(|entry| *entry.key());
        all.filter(|address| self.premises.may_be_inner(*address)).collect()
    }

    /// All endpoints in the order they were first seen; of equal times, by address.
    #[must_use]
    pub fn in_order(&self) -> Vec<(Option<Timestamp>, IpAddr)> {
        let mut all: Vec<_> = self.accounts.iter().map(|e| (e.value().first_seen, *e.key())).collect();
        all.extend(self.shown().into_iter().map(|(address, account)| (account.first_seen, address)));
        all.sort_unstable();
        all
    }

    /// Looks at every account, in no order.
    pub fn for_each(&self, mut f: impl FnMut(IpAddr, &Account)) {
        for entry in &self.accounts {
            f(*entry.key(), entry.value());
        }
        self.shown().iter().for_each(|(address, account)| f(*address, account));
    }

    /// All accounts, sorted by address.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.accounts.iter().map(|e| *e.key()).collect();
        all.extend(self.shown().into_iter().map(|(address, _)| address));
        all.sort_unstable();
        all
    }

    /// Looks at one account.
    pub fn look<R>(&self, address: IpAddr, f: impl FnOnce(&Account) -> R) -> Option<R> {
        let account = self.accounts.get(&address).or_else(|| self.hidden.get(&address));
        account.map(|account| f(&account))
    }

    /// The hidden accounts that are joined to a tunnel.
    fn shown(&self) -> Vec<(IpAddr, Account)> {
        let joins = self.joins();
        let hidden = joins.iter().filter_map(|(inner, _)| Some((inner, self.hidden.get(&inner)?.as_ref().clone())));
        hidden.collect()
    }

    /// Whether an endpoint is told of.
    fn is_shown(&self, address: IpAddr) -> bool {
        !self.premises.is_own(address) || self.joins().of_inner(address).is_some()
    }

    /// Endpoints with an account.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The endpoints with new round trips since the last call, sorted. Empty unless changes are tracked.
    #[must_use]
    pub fn take_changed(&self) -> BTreeSet<IpAddr> {
        self.changed.lock().map(|mut changed| std::mem::take(&mut *changed)).unwrap_or_default()
    }

    /// Observations not taken in because a bound was hit.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Addresses whose traffic was not compared with tunnels because a bound was hit, each time it was told.
    #[must_use]
    pub fn volumes_turned_away(&self) -> u64 {
        self.tunnels.turned_away()
    }

    fn with(&self, address: IpAddr, f: impl FnOnce(&mut Account)) {
        let hidden = self.premises.is_own(address);
        if hidden && !self.premises.may_be_inner(address) {
            return;
        }
        let (accounts, most) =
            if hidden { (&self.hidden, self.limits.hidden) } else { (&self.accounts, self.limits.endpoints) };
        if let Some(mut account) = accounts.get_mut(&address) {
            f(&mut account);
        } else if accounts.len() < most {
            f(&mut accounts.entry(address).or_default());
        } else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is known of a session beside the news.
struct Said<'a> {
    tuple: &'a FiveTuple,
    attributes: &'a [(Key, String)],
    samples: &'a [RttSample],
    /// Where it was captured, if that is not the same for all.
    site: Option<GeoPoint>,
}

/// Whether a sample tells something about the client for sure.
fn counts(sample: &RttSample) -> bool {
    is_clients(&sample.kind())
}

fn is_clients(kind: &RttKind) -> bool {
    kind.side == Side::Client && !kind.ambiguous
}

impl Account {
    /// Takes in another of the same endpoint: what comes of it is what one would hold that had seen all, so that neither
    /// order nor grouping matters. The bounds are the same.
    pub fn merge(&mut self, other: Self) {
        let Self {
            first_seen,
            last_seen,
            sessions,
            bytes,
            ladder,
            pulse,
            ranges,
            path,
            facts,
            gaps,
            gap_count,
            lags,
            quickest,
        } = other;
        self.first_seen = self.first_seen.into_iter().chain(first_seen).min();
        self.last_seen = self.last_seen.max(last_seen);
        self.sessions = self.sessions.saturating_add(sessions);
        self.bytes = self.bytes.saturating_add(bytes);
        self.ladder.merge(ladder);
        self.pulse.merge(&pulse);
        self.ranges.join(ranges, Ranges::merge);
        self.path.merge(path);
        self.facts.merge(facts);
        join_least(&mut self.gaps, gaps, GAPS);
        self.gap_count = self.gap_count.saturating_add(gap_count);
        join_least(&mut self.lags, lags, GAPS);
        self.quickest.extend(quickest);
        self.quickest.sort_unstable();
        self.quickest.truncate(CITED);
    }

    /// Whether anything in it can be judged: a scan leaves accounts that hold a path at most.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.ladder.lowest().is_some() || !self.facts.tools.is_empty() || !self.facts.tunnels.is_empty()
    }

    /// Also of sessions that go on: a finding's identifier holds the day of the first packet.
    fn on_time(&mut self, first: Timestamp, last: Timestamp) {
        self.first_seen = Some(self.first_seen.map_or(first, |t| t.min(first)));
        self.last_seen = Some(self.last_seen.map_or(last, |t| t.max(last)));
    }

    fn on_news(&mut self, said: &Said<'_>, fresh: &[RttSample], lag: Option<Duration>) {
        for sample in fresh.iter().filter(|s| counts(s)) {
            self.on_sample(said, sample);
        }
        if let Some(lag) = lag {
            self.on_lag(said, lag);
        }
    }

    fn on_sample(&mut self, said: &Said<'_>, sample: &RttSample) {
        let tuple = said.tuple;
        self.ladder.add(sample);
        if Beat::counts(&sample.kind()) {
            self.pulse.add(Beat::of(sample.at, sample.rtt));
        }
        self.cite(tuple, sample.layer, sample.rtt);
        self.on_range(tuple, said.site, sample.layer, (1, sample.rtt));
        // How fast a person's screen is acknowledged says nothing of where a connection ends: viewers take their time.
        if matches!(sample.layer, Layer::TcpHandshake | Layer::TcpData | Layer::RemoteEcho) {
            return;
        }
        if let Some(tcp) = said.samples.iter().find(|s| s.layer == Layer::TcpHandshake && counts(s)) {
            self.on_gap(said, sample, tcp);
        }
    }

    fn on_part(&mut self, tuple: &FiveTuple, part: &RttPart<'_>, site: Option<GeoPoint>) {
        self.ladder.take_in(part);
        part.beats.iter().for_each(|beat| self.pulse.add(*beat));
        if let Some(least) = part.digest.min() {
            self.cite(tuple, part.kind.layer, least);
            self.on_range(tuple, site, part.kind.layer, (part.digest.n(), least));
        }
    }

    fn on_range(&mut self, tuple: &FiveTuple, site: Option<GeoPoint>, layer: Layer, (n, least): (u64, Duration)) {
        if let Some(site) = site.filter(|_| is_path(layer)) {
            let us = u32::try_from(least.as_micros()).unwrap_or(u32::MAX);
            self.ranges.make().add(site, n, (us, CitedFlow::of(tuple)));
        }
    }

    /// Remembers the flow if it has one of the shortest round trips.
    fn cite(&mut self, tuple: &FiveTuple, layer: Layer, rtt: Duration) {
        let entry = (layer, u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX), CitedFlow::of(tuple));
        let place = self.quickest.partition_point(|known| *known < entry);
        if place < CITED {
            if self.quickest.is_empty() {
                self.quickest.reserve_exact(1);
            }
            self.quickest.insert(place, entry);
            self.quickest.truncate(CITED);
        }
    }

    fn on_gap(&mut self, said: &Said<'_>, upper: &RttSample, tcp: &RttSample) {
        let micros = |s: &RttSample| u32::try_from(s.rtt.as_micros()).unwrap_or(u32::MAX);
        let flow = CitedFlow::of(said.tuple);
        let program = program(said.attributes);
        let mut gap = Gap {
            rank: 0,
            at: upper.at,
            layer: upper.layer,
            program,
            habit: fixed_hash(&(program, upper.method)),
            unthinking: upper.kind().is_unthinking(),
            tcp_us: micros(tcp),
            upper_us: micros(upper),
            flow,
        };
        gap.rank = fixed_hash(&(gap.at, gap.habit, gap.tcp_us, gap.upper_us, flow.orig, flow.resp));
        self.gap_count += 1;
        let gaps = self.gaps.make();
        gaps.insert(gap);
        if gaps.len() > GAPS {
            gaps.pop_last();
        }
    }

    /// Only of programs that are known: others may wait for a person.
    fn on_lag(&mut self, said: &Said<'_>, lag: Duration) {
        let program = program(said.attributes);
        if program == 0 {
            return;
        }
        let flow = CitedFlow::of(said.tuple);
        let us = u32::try_from(lag.as_micros()).unwrap_or(u32::MAX);
        let rank = fixed_hash(&(program, us, flow.orig, flow.resp));
        let lags = self.lags.make();
        lags.insert(Lag { rank, program, us, flow });
        if lags.len() > GAPS {
            lags.pop_last();
        }
    }

    fn on_session(&mut self, session: &Session) {
        self.on_time(session.start, session.end);
        self.sessions += 1;
        self.bytes += session.ends.orig.bytes + session.ends.resp.bytes;
        self.facts.on_session(session, program(&session.attributes));
        self.path.add(session);
    }
}

/// Whether a layer's loops are closed where the network path ends; those of programs are not.
pub(super) const fn is_path(layer: Layer) -> bool {
    matches!(
        layer,
        Layer::TcpHandshake
            | Layer::TcpData
            | Layer::WireGuard
            | Layer::OpenVpn
            | Layer::Ike
            | Layer::L2tp
            | Layer::Pptp
            | Layer::Overlay
            | Layer::Quic
    )
}

/// A hash of what tells one answering program from another, 0 if nothing does.
fn program(attributes: &[(Key, String)]) -> u64 {
    const FINGERPRINTS: [&str; 3] = ["tls.ja4", "ssh.hassh", "ssh.client_banner"];
    FINGERPRINTS
        .iter()
        .find_map(|key| attributes.iter().find(|(k, _)| k == key))
        .map_or(0, |(_, value)| program_hash(value))
}

/// A hash of a program's fingerprint, the same in every run.
#[must_use]
pub fn program_hash(fingerprint: &String) -> u64 {
    fixed_hash(fingerprint)
}

/// A hash that is the same in every run: it decides what a report holds.
pub(super) fn fixed_hash(value: &impl Hash) -> u64 {
    FixedState::with_seed(0x6661_726d).hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Claim, IdentityKind, Whereabouts};

    /// Such hashes stand in stores (`state`): where a library gives others, its rows need another form.
    #[test]
    fn hashes_that_are_stored_stay_as_they_are() {
        assert_eq!([fixed_hash(&"a"), fixed_hash(&(7u64, "b"))], [10_230_071_956_743_924_908, 924_079_083_665_461_844]);
    }

    #[test]
    fn what_was_not_heard_of_for_long_is_forgotten_and_counted() {
        let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
        let t = |seconds: i64| Timestamp::from_parts(seconds, 0);
        for (at, last) in [(100, 1u8), (5_000, 2)] {
            let address = IpAddr::from([198, 51, 100, last]);
            ledger.with(address, |account| account.on_time(t(at), t(at + 10)));
            ledger.on_name(t(at), address, "a.example".to_owned());
            let claim = Claim::new("dhcp", Whereabouts::Address(address), IdentityKind::Host, "a");
            ledger.on_claim(Located { at: t(at), address, claim });
        }
        // A name that is heard again is not old.
        ledger.on_name(t(9_000), [198, 51, 100, 1].into(), "a.example".to_owned());
        assert_eq!(ledger.forget_before(t(1_000)), Forgotten { claims: 1, names: 0, endpoints: 1 });
        assert_eq!((ledger.len(), ledger.claims().len()), (1, 1));
        assert_eq!(ledger.name_of([198, 51, 100, 1].into()).as_deref(), Some("a.example"));
        assert_eq!(ledger.forget_before(t(10_000)), Forgotten { claims: 1, names: 2, endpoints: 1 });
        assert!(ledger.is_empty());
    }
}
