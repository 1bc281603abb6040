//! Who is said to have been where, and when.
//!
//! Reads: claims, from the wire and from the user's files. Emits: the identities of an address at a time, and the
//! address outside a tunnel of an address inside. What is kept depends on the set of claims only, not on their order.
//! Bounded: [`ClaimLimits`]; what is over is counted. Does not: believe; each stay keeps who said it and what it is
//! worth.

use super::facts::at_once;
use crate::base::{Identity, IdentityKind, Located, Stay, Sureness, Timestamp};
use crate::intel::Pseudonyms;
use dashmap::DashMap;
use foldhash::fast::{FixedState, RandomState};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Bounds of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Stays over all addresses.
    pub stays: usize,
    /// Stays of one address: a machine that many use in turn, a gateway behind which many are.
    pub stays_of_address: usize,
}

impl Default for ClaimLimits {
    fn default() -> Self {
        Self { stays: 1_000_000, stays_of_address: 512 }
    }
}

/// A claim without a name for the stay stands for its day: the same machine, the same person, another day is another
/// stay.
const DAY: i64 = 86_400 * 1_000_000_000;
/// A stay whose end nobody told is taken to go on for so long after it was last heard of.
const UNHEARD: Duration = Duration::from_secs(12 * 3_600);

/// Addresses that are kept of one identity, to see whether it travels.
const ADDRESSES: usize = 32;

/// What tells one stay from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    identity: Arc<Identity>,
    source: &'static str,
    /// A hash of the sayer's name for the stay, or the day.
    session: u64,
    inner: Option<IpAddr>,
}

/// One stay of an identity at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
    /// Its end was told.
    ended: bool,
    /// Its beginning was told.
    begun: bool,
    sureness: Sureness,
    claims: u32,
    /// The most that was counted: counts only grow.
    octets: [u64; 2],
}

impl Span {
    fn covers(&self, at: Timestamp) -> bool {
        covers(self.from, self.to, self.ended, at)
    }
}

fn covers(from: Timestamp, to: Timestamp, ended: bool, at: Timestamp) -> bool {
    let until = if ended { to } else { to.plus(UNHEARD) };
    from <= at && at <= until
}

/// A stay, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StayOf {
    /// Where.
    pub address: IpAddr,
    /// The address inside the tunnel, if it is a tunnel's outside.
    pub inner: Option<IpAddr>,
    /// Who or what.
    pub identity: Arc<Identity>,
    /// Earliest claim.
    pub from: Timestamp,
    /// Latest claim.
    pub to: Timestamp,
    /// Whether beginning and end were told as such.
    pub complete: (bool, bool),
    /// Who says so.
    pub source: &'static str,
    /// What the best claim of it is worth.
    pub sureness: Sureness,
    /// Claims.
    pub claims: u32,
    /// Octets carried, from whoever is there and to him; 0 where nobody counts them.
    pub octets: [u64; 2],
}

/// One end of a tunnel, seen from the other: when which address was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leg {
    /// Earliest claim.
    pub from: Timestamp,
    /// Latest claim.
    pub to: Timestamp,
    /// The address at the other end.
    pub address: IpAddr,
    /// Whether its end was told; else it is taken to go on for some hours after `to`.
    pub ended: bool,
}

impl Leg {
    /// Whether it was there at that time.
    #[must_use]
    pub fn covers(&self, at: Timestamp) -> bool {
        covers(self.from, self.to, self.ended, at)
    }
}

/// All stays, by address.
#[derive(Debug)]
pub struct Claims {
    stays: DashMap<IpAddr, BTreeMap<Name, Span>, RandomState>,
    /// By the address inside a tunnel: those outside, each with the number of its stays that say so.
    tunnels: DashMap<IpAddr, BTreeMap<IpAddr, u32>, RandomState>,
    /// Where each has been, so far as is kept.
    names: DashMap<Arc<Identity>, BTreeSet<IpAddr>, RandomState>,
    kept: AtomicUsize,
    turned_away: AtomicU64,
    limits: ClaimLimits,
    pseudonyms: Option<Pseudonyms>,
}

impl Claims {
    /// Nobody anywhere.
    #[must_use]
    pub fn new(limits: ClaimLimits) -> Self {
        Self::under(limits, None)
    }

    /// The same; names are kept as pseudonyms only, if there is a key for them.
    #[must_use]
    pub fn under(limits: ClaimLimits, pseudonyms: Option<Pseudonyms>) -> Self {
        Self {
            pseudonyms,
            stays: DashMap::with_hasher(RandomState::default()),
            tunnels: DashMap::with_hasher(RandomState::default()),
            names: DashMap::with_hasher(RandomState::default()),
            kept: AtomicUsize::new(0),
            turned_away: AtomicU64::new(0),
            limits,
        }
    }

    /// Takes a claim in.
    pub fn add(&self, located: Located) {
        let Located { at, address, claim } = located;
        let session = match &claim.session {
            Some(name) => FixedState::with_seed(1).hash_one(name),
            None => at.nanos().div_euclid(DAY).unsigned_abs(),
        };
        let inner = claim.inner.map(|inner| inner.to_canonical());
        let new = Span {
            from: at,
            to: at,
            ended: claim.stay == Stay::Ends,
            begun: claim.stay == Stay::Begins,
            sureness: claim.sureness,
            claims: 1,
            octets: claim.octets.unwrap_or_default(),
        };
        let name = Name { identity: self.shared(claim.identity, address), source: claim.source, session, inner };
        let mut stays = self.stays.entry(address).or_default();
        if let Some(known) = stays.get_mut(&name) {
            known.merge(new);
            return;
        }
        if self.kept.load(Ordering::Relaxed) >= self.limits.stays {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return;
        }
        stays.insert(name, new);
        self.kept.fetch_add(1, Ordering::Relaxed);
        // Which one goes must not depend on the order in which they came.
        let over = if stays.len() > self.limits.stays_of_address { stays.pop_last() } else { None };
        drop(stays);
        if let Some(inner) = inner {
            *self.tunnels.entry(inner).or_default().entry(address).or_default() += 1;
        }
        if let Some((over, _)) = over {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            self.gone(address, over.inner);
        }
    }

    /// A stay at `address` is kept no longer.
    fn gone(&self, address: IpAddr, inner: Option<IpAddr>) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
        let Some(inner) = inner else { return };
        if let Some(mut outside) = self.tunnels.get_mut(&inner)
            && let Some(stays) = outside.get_mut(&address)
        {
            *stays -= 1;
            if *stays == 0 {
                outside.remove(&address);
            }
        }
        self.tunnels.remove_if(&inner, |_, outside| outside.is_empty());
    }

    /// Drops the stays last heard of before that time, and says how many.
    pub fn forget_before(&self, before: Timestamp) -> u64 {
        let mut old = Vec::new();
        self.stays.retain(|address, stays| {
            stays.retain(|name, span| {
                let keep = span.to >= before;
                if !keep {
                    old.push((*address, name.inner));
                }
                keep
            });
            !stays.is_empty()
        });
        for (address, inner) in &old {
            self.gone(*address, *inner);
        }
        self.names.retain(|identity, _| Arc::strong_count(identity) > 1);
        u64::try_from(old.len()).unwrap_or(u64::MAX)
    }

    /// One copy of each name, whoever says it; notes where it has been.
    fn shared(&self, mut identity: Identity, address: IpAddr) -> Arc<Identity> {
        if let Some(pseudonyms) = &self.pseudonyms {
            identity.name = pseudonyms.of(&identity.name);
        }
        let known = self.names.get(&identity).map(|known| (Arc::clone(known.key()), known.contains(&address)));
        let shared = match known {
            Some((shared, true)) => return shared,
            Some((shared, false)) => shared,
            None => Arc::new(identity),
        };
        let mut entry = self.names.entry(shared).or_default();
        entry.insert(address);
        if entry.len() > ADDRESSES {
            entry.pop_last();
        }
        Arc::clone(entry.key())
    }

    /// Who is said to be at `address` at that time, most worth first; of equals in alphabetical order.
    #[must_use]
    pub fn at(&self, address: IpAddr, at: Timestamp) -> Vec<Arc<Identity>> {
        self.of(address, |span| span.covers(at))
    }

    /// Who is said to have been at `address` at any time between.
    #[must_use]
    pub fn between(&self, address: IpAddr, from: Timestamp, to: Timestamp) -> Vec<Arc<Identity>> {
        self.of(address, |span| span.from <= to && span.covers(span.from.max(from)))
    }

    /// The same, but those only whom a server has accepted: what anybody can say of himself moves nobody's home.
    #[must_use]
    pub fn accepted_between(&self, address: IpAddr, from: Timestamp, to: Timestamp) -> Vec<Arc<Identity>> {
        self.of(address, |span| {
            span.sureness == Sureness::Accepted && span.from <= to && span.covers(span.from.max(from))
        })
    }

    /// Where and when servers have accepted somebody: address, first and last time, in order.
    #[must_use]
    pub fn accepted_stays(&self, who: &Arc<Identity>) -> Vec<(IpAddr, Timestamp, Timestamp)> {
        let addresses: Vec<IpAddr> =
            self.names.get(who).map(|known| known.iter().copied().collect()).unwrap_or_default();
        let mut found = Vec::new();
        for address in addresses {
            let Some(stays) = self.stays.get(&address) else { continue };
            let own = stays.iter().filter(|(name, span)| name.identity == *who && span.sureness == Sureness::Accepted);
            found.extend(own.map(|(_, span)| (address, span.from, span.to)));
        }
        found.sort_unstable_by_key(|(address, from, to)| (*from, *to, *address));
        found
    }

    /// The most people that are said to have been at `address` at one moment between; a person said to be there in
    /// several ways counts once. None if no claim of a person tells of a stay's beginning or end.
    #[must_use]
    pub fn people_at_once(&self, address: IpAddr, from: Timestamp, to: Timestamp) -> Option<usize> {
        let mut stays: Vec<(Arc<Identity>, Timestamp, Timestamp)> = Vec::new();
        for place in [Some(address), prefix_of(address)].into_iter().flatten() {
            let Some(spans) = self.stays.get(&place) else { continue };
            let told = spans.iter().filter(|(name, span)| {
                name.identity.kind == IdentityKind::User
                    && (span.begun || span.ended)
                    && span.from <= to
                    && span.to >= from
            });
            stays.extend(told.map(|(name, span)| (Arc::clone(&name.identity), span.from, span.to)));
        }
        stays.sort();
        // One person's stays that meet are one.
        let mut merged: Vec<(Arc<Identity>, Timestamp, Timestamp)> = Vec::new();
        for (who, begin, end) in stays {
            match merged.last_mut() {
                Some((known, _, until)) if *known == who && begin <= *until => *until = (*until).max(end),
                _ => merged.push((who, begin, end)),
            }
        }
        (!merged.is_empty()).then(|| at_once(merged.into_iter().map(|(_, from, to)| (from, to))))
    }

    fn of(&self, address: IpAddr, wanted: impl Fn(&Span) -> bool) -> Vec<Arc<Identity>> {
        let mut found: Vec<(std::cmp::Reverse<Sureness>, Arc<Identity>)> = Vec::new();
        for place in [Some(address), prefix_of(address)].into_iter().flatten() {
            let Some(stays) = self.stays.get(&place) else { continue };
            let there = stays.iter().filter(|(_, span)| wanted(span));
            found.extend(there.map(|(name, span)| (std::cmp::Reverse(span.sureness), Arc::clone(&name.identity))));
        }
        found.sort();
        let mut identities: Vec<Arc<Identity>> = Vec::new();
        for (_, identity) in found {
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        identities
    }

    /// The address outside of whose tunnel `inner` is the address inside at that time; of several, the one whose stay
    /// began last.
    #[must_use]
    pub fn outside_of(&self, inner: IpAddr, at: Timestamp) -> Option<IpAddr> {
        let covering = self.outsides_of(inner).into_iter().filter(|leg| leg.covers(at));
        covering.max_by_key(|leg| (leg.from, leg.address)).map(|leg| leg.address)
    }

    /// The addresses outside whose tunnels had this address inside, with the times, in order of their beginning.
    #[must_use]
    pub fn outsides_of(&self, inner: IpAddr) -> Vec<Leg> {
        let inner = inner.to_canonical();
        let mut outside: Vec<IpAddr> = Vec::new();
        for place in [Some(inner), prefix_of(inner)].into_iter().flatten() {
            // Copied out: a second map must not be asked while this one is held.
            outside.extend(self.tunnels.get(&place).iter().flat_map(|outside| outside.keys().copied()));
        }
        let mut legs: Vec<Leg> = Vec::new();
        for address in outside {
            let within = |leg: &Leg| leg.address == inner || prefix_of(inner) == Some(leg.address);
            legs.extend(self.insides_of(address).into_iter().filter(within).map(|leg| Leg { address, ..leg }));
        }
        legs.sort_unstable();
        legs.dedup();
        legs
    }

    /// The addresses inside the tunnels of an address outside, with the times, in order of their beginning. Several
    /// sayers of one tunnel are one leg, from the first word to the last.
    #[must_use]
    pub fn insides_of(&self, outer: IpAddr) -> Vec<Leg> {
        let Some(stays) = self.stays.get(&outer) else { return Vec::new() };
        let mut legs: BTreeMap<(IpAddr, u64), Span> = BTreeMap::new();
        for (name, span) in stays.iter() {
            let Some(inner) = name.inner else { continue };
            legs.entry((inner, name.session)).and_modify(|known| known.merge(*span)).or_insert(*span);
        }
        let leg = |((address, _), span): (_, Span)| Leg { from: span.from, to: span.to, address, ended: span.ended };
        let mut legs: Vec<Leg> = legs.into_iter().map(leg).collect();
        legs.sort_unstable();
        legs
    }

    /// Whether anybody says of any tunnel what is inside it.
    #[must_use]
    pub fn tell_of_tunnels(&self) -> bool {
        !self.tunnels.is_empty()
    }

    /// The same, and who says so.
    #[must_use]
    pub fn tunnel_of(&self, inner: IpAddr, at: Timestamp) -> Option<(IpAddr, &'static str)> {
        let outer = self.outside_of(inner, at)?;
        let stays = self.stays.get(&outer)?;
        let said = stays.iter().filter(|(name, span)| name.inner == Some(inner) && span.covers(at));
        said.max_by_key(|(name, span)| (span.sureness, name.source)).map(|(name, _)| (outer, name.source))
    }

    /// Every stay, in order of its beginning.
    #[must_use]
    pub fn in_order(&self) -> Vec<StayOf> {
        self.heard_since(Timestamp::MIN)
    }

    /// Every stay that was last heard of at that time or later, in order of its beginning.
    #[must_use]
    pub fn heard_since(&self, since: Timestamp) -> Vec<StayOf> {
        let mut all: Vec<StayOf> = Vec::new();
        for entry in &self.stays {
            let heard = entry.value().iter().filter(|(_, span)| span.to >= since);
            all.extend(heard.map(|(name, span)| StayOf {
                address: *entry.key(),
                inner: name.inner,
                identity: Arc::clone(&name.identity),
                from: span.from,
                to: span.to,
                complete: (span.begun, span.ended),
                source: name.source,
                sureness: span.sureness,
                claims: span.claims,
                octets: span.octets,
            }));
        }
        all.sort_by(|a, b| {
            (a.from, a.address, &a.identity, a.source, a.inner, a.to).cmp(&(
                b.from,
                b.address,
                &b.identity,
                b.source,
                b.inner,
                b.to,
            ))
        });
        all
    }

    /// Stays that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Claims not taken in because a bound was hit.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }
}

/// The first address of the /64 that holds an IPv6 address: an access server names a worker's whole prefix.
fn prefix_of(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let prefix = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
    (prefix != address).then_some(IpAddr::V6(prefix))
}

impl Span {
    fn merge(&mut self, other: Self) {
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.ended |= other.ended;
        self.begun |= other.begun;
        self.sureness = self.sureness.max(other.sureness);
        self.claims = self.claims.saturating_add(other.claims);
        let ([from, to], [other_from, other_to]) = (self.octets, other.octets);
        self.octets = [from.max(other_from), to.max(other_to)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Claim, Whereabouts};
    use proptest::prelude::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, last])
    }

    fn said(at: i64, address: u8, name: &str, stay: Stay, session: Option<&str>) -> Located {
        let mut claim = Claim::new("radius-accounting", Whereabouts::Address(ip(address)), IdentityKind::User, name);
        claim.stay = stay;
        claim.session = session.map(str::to_owned);
        Located { at: t(at), address: ip(address), claim }
    }

    fn names(found: &[Arc<Identity>]) -> Vec<&str> {
        found.iter().map(|identity| identity.name.as_str()).collect()
    }

    #[test]
    fn a_stay_lasts_from_its_beginning_to_its_end() {
        let claims = Claims::new(ClaimLimits::default());
        claims.add(said(100, 1, "alice", Stay::Begins, Some("s1")));
        claims.add(said(900, 1, "alice", Stay::Ends, Some("s1")));
        claims.add(said(1_000, 1, "bob", Stay::Begins, Some("s2")));
        assert_eq!(names(&claims.at(ip(1), t(500))), ["alice"]);
        assert!(claims.at(ip(1), t(950)).is_empty());
        // Nobody told of bob's end: he is taken to be there for some hours.
        assert_eq!(names(&claims.at(ip(1), t(5_000))), ["bob"]);
        assert!(claims.at(ip(1), t(1_000 + 13 * 3_600)).is_empty());
        assert_eq!(names(&claims.between(ip(1), t(0), t(2_000))), ["alice", "bob"]);
        assert!(claims.at(ip(2), t(500)).is_empty());
    }

    #[test]
    fn people_are_counted_once_and_only_while_they_are_there() {
        let claims = Claims::new(ClaimLimits::default());
        for (name, session, from, to) in
            [("a", "1", 0, 100), ("a", "2", 50, 150), ("b", "3", 90, 200), ("c", "4", 160, 300)]
        {
            claims.add(said(from, 1, name, Stay::Begins, Some(session)));
            claims.add(said(to, 1, name, Stay::Ends, Some(session)));
        }
        claims.add(said(95, 1, "told-of-no-stay", Stay::Goes, None));
        assert_eq!(claims.people_at_once(ip(1), t(0), t(400)), Some(2));
        assert_eq!(claims.people_at_once(ip(1), t(301), t(400)), None);
        assert_eq!(claims.people_at_once(ip(2), t(0), t(400)), None);
    }

    #[test]
    fn what_a_server_accepted_goes_before_what_anybody_says() {
        let claims = Claims::new(ClaimLimits::default());
        claims.add(said(100, 1, "anybody", Stay::Goes, None));
        let mut accepted = said(100, 1, "zoe", Stay::Goes, None);
        accepted.claim.sureness = Sureness::Accepted;
        claims.add(accepted);
        assert_eq!(names(&claims.at(ip(1), t(100))), ["zoe", "anybody"]);
    }

    #[test]
    fn a_prefix_is_all_its_addresses() {
        let claims = Claims::new(ClaimLimits::default());
        let mut located = said(100, 1, "bob", Stay::Begins, None);
        located.address = "2001:db8:8:6::".parse().unwrap();
        claims.add(located);
        assert_eq!(names(&claims.at("2001:db8:8:6:1234::9".parse().unwrap(), t(200))), ["bob"]);
        assert!(claims.at("2001:db8:8:7::1".parse().unwrap(), t(200)).is_empty());
    }

    #[test]
    fn the_outside_of_a_tunnel_is_found_by_its_inside() {
        let claims = Claims::new(ClaimLimits::default());
        let inner: IpAddr = [10, 8, 0, 5].into();
        for (at, address, session) in [(100, 1, "a"), (5_000, 2, "b")] {
            let mut located = said(at, address, "alice", Stay::Begins, Some(session));
            located.claim.inner = Some(inner);
            claims.add(located);
        }
        assert_eq!(claims.outside_of(inner, t(200)), Some(ip(1)));
        assert_eq!(claims.outside_of(inner, t(6_000)), Some(ip(2)));
        assert_eq!(claims.outside_of(inner, t(50)), None);
        assert_eq!(claims.outside_of([10, 8, 0, 6].into(), t(200)), None);
        let legs = |legs: Vec<Leg>| legs.iter().map(|leg| (leg.address, leg.from)).collect::<Vec<_>>();
        assert_eq!(legs(claims.outsides_of(inner)), [(ip(1), t(100)), (ip(2), t(5_000))]);
        assert_eq!(legs(claims.insides_of(ip(2))), [(inner, t(5_000))]);
        assert!(claims.insides_of(ip(3)).is_empty());
    }

    #[test]
    fn only_a_server_s_word_is_asked_for_a_home() {
        let claims = Claims::new(ClaimLimits::default());
        claims.add(said(100, 1, "anybody", Stay::Goes, None));
        let mut accepted = said(100, 1, "zoe", Stay::Goes, None);
        accepted.claim.sureness = Sureness::Accepted;
        claims.add(accepted);
        assert_eq!(names(&claims.accepted_between(ip(1), t(0), t(200))), ["zoe"]);
    }

    #[test]
    fn what_is_old_is_forgotten_with_its_tunnel_and_its_name() {
        let claims = Claims::new(ClaimLimits::default());
        let inner: IpAddr = [10, 8, 0, 5].into();
        for (at, address, name) in [(100, 1, "alice"), (5_000, 2, "bob")] {
            let mut located = said(at, address, name, Stay::Begins, Some(name));
            located.claim.inner = Some(inner);
            claims.add(located);
        }
        assert_eq!(claims.forget_before(t(101)), 1);
        assert_eq!((claims.len(), claims.names.len(), claims.tunnels.len()), (1, 1, 1));
        assert!(claims.insides_of(ip(1)).is_empty() && claims.at(ip(1), t(100)).is_empty());
        assert_eq!(claims.outsides_of(inner).len(), 1);
        assert_eq!(claims.forget_before(t(9_000)), 1);
        assert_eq!((claims.len(), claims.names.len(), claims.tunnels.len()), (0, 0, 0));
    }

    #[test]
    fn bounds_are_kept_and_told() {
        let claims = Claims::new(ClaimLimits { stays: 5, stays_of_address: 3 });
        for i in 0..20u8 {
            claims.add(said(i64::from(i), i % 4, &format!("user{i}"), Stay::Goes, None));
        }
        assert!(claims.len() <= 5 && claims.in_order().len() == claims.len());
        assert_eq!(usize::try_from(claims.turned_away()).unwrap() + claims.len(), 20);
    }

    proptest! {
        #[test]
        fn the_order_of_claims_does_not_matter(
            specs in proptest::collection::vec((0..200_000i64, 1..4u8, 0..5u8, 0..3u8, any::<bool>()), 1..40),
            turn in 0..40usize,
        ) {
            let fill = |specs: &[(i64, u8, u8, u8, bool)]| {
                let claims = Claims::new(ClaimLimits { stays: 1_000, stays_of_address: 6 });
                for (at, address, user, stay, named) in specs {
                    let stay = [Stay::Begins, Stay::Goes, Stay::Ends][usize::from(*stay)];
                    let mut located = said(*at, *address, &format!("u{user}"), stay, named.then_some("s"));
                    located.claim.inner = (user % 2 == 0).then(|| [10, 8, 0, *user].into());
                    claims.add(located);
                }
                let outside = |user: u8| claims.outsides_of([10, 8, 0, user].into());
                (claims.in_order(), (0..5).map(outside).collect::<Vec<_>>())
            };
            let mut turned = specs.clone();
            turned.rotate_left(turn % specs.len());
            prop_assert_eq!(fill(&specs), fill(&turned));
        }
    }
}
