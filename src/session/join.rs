//! Flows that belong to one session, joined into one record.
//!
//! Reads: sessions of single flows that carry [`Link`]s. Emits: one [`Session`] for each group, named after its main
//! flow, with the counters, attributes and round trips of all. What joins: the same token, the same named endpoint, or
//! the same two addresses at the same time with a flow that leads. The result depends on the set of sessions only, not
//! on the order in which they came. Bounded: beyond [`Join::HELD`] sessions stay single and are counted.
//! Does not: hold sessions without links.

use super::Session;
use crate::base::{Ends, Link, Timestamp};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Flows of one session may follow each other with a pause: a client that moves to another network, a relay that is
/// tried after the direct way.
const PAUSE: Duration = Duration::from_secs(120);

/// Collects linked sessions and joins them.
#[derive(Debug, Default)]
pub struct Join {
    held: Vec<Session>,
    single: u64,
}

impl Join {
    /// Sessions held at once.
    pub const HELD: usize = 100_000;

    /// Takes a session in; gives it back if nothing links it to others, or if too many wait.
    pub fn add(&mut self, session: Session) -> Option<Session> {
        if session.links.is_empty() {
            return Some(session);
        }
        if self.held.len() >= Self::HELD {
            self.single += 1;
            return Some(session);
        }
        self.held.push(session);
        None
    }

    /// Linked sessions that stayed single because too many waited.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.single
    }

    /// Takes in what another has collected.
    pub fn absorb(&mut self, other: Self) {
        self.single += other.single;
        for session in other.held {
            // What is over the bound is told single rather than lost; the caller of `finish` gets it all the same.
            self.held.push(session);
        }
    }

    /// Joins and gives everything collected, in order of start.
    #[must_use]
    pub fn finish(self) -> Vec<Session> {
        joined(self.held)
    }

    /// Joins and gives the groups that ended at least a pause before `now`; the others go on waiting.
    #[must_use]
    pub fn settled(&mut self, now: Timestamp) -> Vec<Session> {
        let over = |session: &Session| now.since(session.end).is_some_and(|ago| ago > PAUSE);
        if !self.held.iter().any(over) {
            return Vec::new();
        }
        let mut ready = Vec::new();
        for group in groups(std::mem::take(&mut self.held)) {
            if group.iter().all(over) {
                ready.push(merged(group));
            } else {
                self.held.extend(group);
            }
        }
        ready
    }
}

fn joined(sessions: Vec<Session>) -> Vec<Session> {
    let mut out: Vec<Session> = groups(sessions).into_iter().map(merged).collect();
    out.sort_by_cached_key(order);
    out
}

fn order(session: &Session) -> (Timestamp, String) {
    (session.start, session.community_id())
}

/// Sessions that belong together, each group and the groups in order of start.
fn groups(mut sessions: Vec<Session>) -> Vec<Vec<Session>> {
    sessions.sort_by_cached_key(order);
    let mut sets = Sets::new(sessions.len());
    join_by_names(&sessions, &mut sets);
    join_to_leads(&sessions, &mut sets);
    let mut places = HashMap::new();
    let mut groups: Vec<Vec<Session>> = Vec::new();
    for (i, session) in sessions.into_iter().enumerate() {
        let place = *places.entry(sets.root(i)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.push(session);
        }
    }
    groups
}

/// What a link is looked up by, once the addresses of its flow are known.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    Token(&'static str, u64),
    AtServer(&'static str, u64, IpAddr),
    Endpoint(&'static str, SocketAddr),
}

impl Name {
    fn of(link: Link, session: &Session) -> Option<Self> {
        let resp = session.tuple.resp;
        Some(match link {
            Link::Token(kind, token) => Self::Token(kind, token),
            Link::AtServer(kind, token) => Self::AtServer(kind, token, resp.ip),
            Link::Here(kind) => Self::Endpoint(kind, SocketAddr::new(resp.ip, resp.port)),
            Link::Endpoint(kind, to) if to.ip().is_unspecified() => {
                Self::Endpoint(kind, SocketAddr::new(resp.ip, to.port()))
            }
            Link::Endpoint(kind, to) => Self::Endpoint(kind, to),
            Link::Pair(_) => return None,
        })
    }
}

/// Flows that give the same name, each within a pause of the one before.
fn join_by_names(sessions: &[Session], sets: &mut Sets) {
    let mut latest = HashMap::<Name, (usize, Timestamp)>::new();
    for (i, session) in sessions.iter().enumerate() {
        for name in session.links.iter().filter_map(|link| Name::of(*link, session)) {
            let known = latest.entry(name).or_insert((i, session.end));
            if known.0 != i && near(known.1, session.start) {
                sets.unite(known.0, i);
                known.1 = known.1.max(session.end);
            } else if known.0 != i {
                *known = (i, session.end);
            }
        }
    }
}

/// Flows between the same two addresses go to the flow that leads the session: the latest that had begun by then, or
/// else the next. Without one, those that follow each other closely stay together.
fn join_to_leads(sessions: &[Session], sets: &mut Sets) {
    let mut pairs = HashMap::<(&'static str, IpAddr, IpAddr), Vec<usize>>::new();
    for (i, session) in sessions.iter().enumerate() {
        let (a, b) = (session.tuple.orig.ip, session.tuple.resp.ip);
        for link in &session.links {
            if let Link::Pair(kind) = link {
                pairs.entry((kind, a.min(b), a.max(b))).or_default().push(i);
            }
        }
    }
    for ((kind, ..), members) in pairs {
        let leads = |i: &usize| sessions.get(*i).is_some_and(|s| s.protocol == Some(kind));
        let (leads, parts): (Vec<usize>, Vec<usize>) = members.into_iter().partition(leads);
        let mut before: Option<usize> = None;
        for part in parts {
            let Some(session) = sessions.get(part) else { continue };
            let fits = |lead: &&usize| sessions.get(**lead).is_some_and(|lead| overlap(lead, session));
            let begun = |lead: &&usize| sessions.get(**lead).is_some_and(|lead| lead.start <= session.start);
            let lead = leads.iter().filter(fits).rfind(begun).or_else(|| leads.iter().find(fits));
            if let Some(lead) = lead {
                sets.unite(*lead, part);
            } else if let Some(other) = before.filter(|i| sessions.get(*i).is_some_and(|o| overlap(o, session))) {
                sets.unite(other, part);
            }
            before = if lead.is_none() { Some(part) } else { before };
        }
    }
}

/// Whether two sessions are there at the same time, give or take a pause.
fn overlap(a: &Session, b: &Session) -> bool {
    near(a.end, b.start) && near(b.end, a.start)
}

/// Whether `start` is no more than a pause after `end`.
fn near(end: Timestamp, start: Timestamp) -> bool {
    start.since(end).is_none_or(|apart| apart <= PAUSE)
}

/// One record of a group that is in order of start.
fn merged(mut group: Vec<Session>) -> Session {
    let main = main_of(&group);
    if group.len() == 1 || main >= group.len() {
        return group.swap_remove(0);
    }
    let mut whole = group.remove(main);
    for other in group {
        take_in(&mut whole, other);
    }
    whole.samples.sort_by_key(|sample| (sample.at, sample.side, sample.layer, sample.rtt));
    whole
}

/// The flow that the record is named after: the one that leads; else the surest, with the most bytes.
fn main_of(group: &[Session]) -> usize {
    let bytes = |s: &Session| s.ends.orig.bytes + s.ends.resp.bytes;
    let leads = |s: &Session| s.links.iter().any(|link| matches!(link, Link::Pair(kind) if s.protocol == Some(kind)));
    let rank = |s: &Session| (leads(s), s.confidence, s.carrier.is_some(), bytes(s));
    let best = group.iter().enumerate().max_by_key(|(i, s)| (rank(s), std::cmp::Reverse(*i)));
    best.map_or(0, |(i, _)| i)
}

fn take_in(whole: &mut Session, other: Session) {
    whole.start = whole.start.min(other.start);
    whole.end = whole.end.max(other.end);
    // A peer that is reached in the other direction is still the same peer.
    let crossed = other.tuple.orig.ip == whole.tuple.resp.ip || other.tuple.resp.ip == whole.tuple.orig.ip;
    let Ends { orig, resp } = other.ends;
    let (client, server) = if crossed { (resp, orig) } else { (orig, resp) };
    for (end, more) in [(&mut whole.ends.orig, client), (&mut whole.ends.resp, server)] {
        end.packets += more.packets;
        end.bytes += more.bytes;
        end.max_packet = end.max_packet.max(more.max_packet);
    }
    if let Some(mut more) = other.tallies {
        if crossed {
            more.swap();
        }
        let sums = whole.tallies.get_or_insert_default();
        sums.orig.add(&more.orig);
        sums.resp.add(&more.resp);
    }
    for (key, value) in other.attributes {
        if !whole.attributes.iter().any(|(known, _)| *known == key) {
            whole.attributes.push((key, value));
        }
    }
    whole.application = whole.application.or(other.application);
    whole.samples.extend(other.samples.into_iter().map(|mut sample| {
        sample.side = if crossed { sample.side.other() } else { sample.side };
        sample
    }));
    for (mut kind, digest) in other.digests {
        kind.side = if crossed { kind.side.other() } else { kind.side };
        match whole.digests.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => known.merge(&digest),
            None => whole.digests.push((kind, digest)),
        }
    }
    for fault in other.faults {
        if !whole.faults.contains(&fault) {
            whole.faults.push(fault);
        }
    }
    whole.parts.push(other.tuple);
    whole.parts.extend(other.parts);
}

/// Disjoint sets of numbers below a bound.
struct Sets(Vec<usize>);

impl Sets {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    fn root(&mut self, mut i: usize) -> usize {
        loop {
            let Some(parent) = self.0.get(i).copied() else { return i };
            if parent == i {
                return i;
            }
            let above = self.0.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.0.get_mut(i) {
                *slot = above;
            }
            i = above;
        }
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(slot) = self.0.get_mut(a.max(b)) {
            *slot = a.min(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{End, FiveTuple, Peer, Protocol as IpProtocol};
    use crate::session::Confidence;
    use crate::wire::Encapsulation;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn session(protocol: &'static str, ends: (u8, u8), seconds: (i64, i64), links: &[Link]) -> Session {
        let peer = |host, port| Peer { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), port };
        let at = |s| Timestamp::from_nanos(s * 1_000_000_000);
        let port = u16::try_from(seconds.0).unwrap_or(0);
        let end = |bytes| {
            let mut end = End::default();
            (end.packets, end.bytes) = (1, bytes);
            end
        };
        Session {
            tuple: FiveTuple { orig: peer(ends.0, port), resp: peer(ends.1, 443), proto: IpProtocol::UDP },
            start: at(seconds.0),
            end: at(seconds.1),
            ends: Ends { orig: end(100), resp: end(1_000) },
            protocol: Some(protocol),
            confidence: Some(Confidence::Confirmed),
            category: None,
            carrier: None,
            application: None,
            links: links.to_vec(),
            parts: Vec::new(),
            encapsulation: Encapsulation::default(),
            attributes: Vec::new(),
            samples: Vec::new(),
            digests: Vec::new(),
            tallies: None,
            hello_lag: None,
            faults: Vec::new(),
        }
    }

    fn join(sessions: Vec<Session>) -> Vec<Session> {
        let mut join = Join::default();
        let mut out: Vec<Session> = sessions.into_iter().filter_map(|s| join.add(s)).collect();
        out.extend(join.finish());
        out
    }

    /// Protocol and number of flows of each record.
    fn shape(sessions: &[Session]) -> Vec<(&'static str, usize)> {
        sessions.iter().map(|s| (s.protocol.unwrap_or("-"), 1 + s.parts.len())).collect()
    }

    const IKE: Link = Link::Pair("ike");

    #[test]
    fn parts_go_to_the_flow_that_leads_them() {
        let first = [session("esp", (1, 2), (11, 90), &[IKE]), session("ike", (1, 2), (10, 95), &[IKE])];
        let later = [session("ike", (1, 2), (5_000, 5_010), &[IKE]), session("esp", (1, 2), (5_001, 5_100), &[IKE])];
        let other = session("esp", (1, 3), (12, 80), &[IKE]);
        let joined = join([first.as_slice(), &later, &[other]].concat());
        assert_eq!(shape(&joined), [("ike", 2), ("esp", 1), ("ike", 2)]);
        assert_eq!(joined[0].ends.resp.bytes, 2_000);
        assert_eq!(
            (joined[0].start, joined[0].end),
            (joined[0].start.min(joined[1].start), { Timestamp::from_nanos(95_000_000_000) })
        );
    }

    #[test]
    fn two_that_lead_are_two_sessions() {
        let rdp = Link::Pair("rdp");
        let two = [session("rdp", (1, 2), (10, 90), &[rdp]), session("rdp", (1, 2), (20, 90), &[rdp])];
        let parts = [session("rdp-udp", (1, 2), (12, 90), &[rdp]), session("rdp-udp", (1, 2), (22, 90), &[rdp])];
        assert_eq!(shape(&join([two, parts].concat())), [("rdp", 2), ("rdp", 2)]);
    }

    #[test]
    fn a_token_joins_whatever_the_addresses_and_one_at_a_server_only_there() {
        let token = [Link::token("webrtc", b"a:b")];
        let pair = vec![session("stun", (1, 2), (10, 20), &token), session("stun", (3, 4), (15, 60), &token)];
        assert_eq!(shape(&join(pair)), [("stun", 2)]);
        let index = [Link::at_server("wireguard", b"abcd")];
        let roamed = vec![
            session("wireguard", (1, 9), (10, 60), &index),
            session("wireguard", (2, 9), (61, 99), &index),
            session("wireguard", (1, 8), (12, 99), &index),
        ];
        assert_eq!(shape(&join(roamed)), [("wireguard", 2), ("wireguard", 1)]);
        let late = vec![session("stun", (1, 2), (10, 20), &token), session("stun", (1, 2), (900, 960), &token)];
        assert_eq!(shape(&join(late)), [("stun", 1), ("stun", 1)]);
    }

    #[test]
    fn a_named_endpoint_is_found() {
        let here = session("socks-udp", (1, 2), (20, 60), &[Link::Here("socks")]);
        let named = |ip: [u8; 4]| {
            session("socks", (1, 2), (10, 60), &[Link::Endpoint("socks", SocketAddr::new(ip.into(), 443))])
        };
        assert_eq!(join(vec![named([192, 0, 2, 2]), here.clone()]).len(), 1);
        assert_eq!(join(vec![named([0; 4]), here.clone()]).len(), 1);
        assert_eq!(join(vec![named([192, 0, 2, 3]), here]).len(), 2);
    }

    #[test]
    fn a_flow_the_other_way_round_is_counted_the_right_way_round() {
        let token = [Link::token("webrtc", b"a:b")];
        let back = session("stun", (2, 1), (11, 20), &token);
        let joined = join(vec![session("stun", (1, 2), (10, 20), &token), back]);
        assert_eq!((joined[0].ends.orig.bytes, joined[0].ends.resp.bytes), (1_100, 1_100));
    }

    #[test]
    fn while_it_runs_a_group_is_told_when_all_of_it_is_over() {
        let mut waiting = Join::default();
        for part in [session("ike", (1, 2), (10, 20), &[IKE]), session("esp", (1, 2), (11, 100), &[IKE])] {
            assert!(waiting.add(part).is_none());
        }
        let at = |s: i64| Timestamp::from_nanos(s * 1_000_000_000);
        assert!(waiting.settled(at(200)).is_empty());
        assert_eq!(shape(&waiting.settled(at(300))), [("ike", 2)]);
        assert!(waiting.finish().is_empty());
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_nothing_is_lost(
            specs in proptest::collection::vec((0..3usize, 1..4u8, 4..7u8, 0..400i64, 1..200i64, 0..4u8), 1..24),
            turn in 0..24usize,
        ) {
            let make = |(i, (kind, a, b, start, length, token)): (usize, &(usize, u8, u8, i64, i64, u8))| {
                let links = [IKE, Link::token("webrtc", &[*token]), Link::Here("socks")];
                let mut session = session(["ike", "esp", "stun"][*kind], (*a, *b), (*start, start + length), &links[*kind..]);
                session.tuple.orig.port = u16::try_from(i).unwrap();
                session
            };
            let sessions: Vec<Session> = specs.iter().enumerate().map(make).collect();
            let mut turned = sessions.clone();
            turned.rotate_left(turn % sessions.len());
            turned.reverse();
            let (one, two) = (join(sessions.clone()), join(turned));
            let told = |all: &[Session]| all.iter().map(|s| (s.community_id(), s.parts.clone())).collect::<Vec<_>>();
            prop_assert_eq!(told(&one), told(&two));
            prop_assert_eq!(shape(&one).iter().map(|(_, flows)| flows).sum::<usize>(), sessions.len());
            let packets = |all: &[Session]| all.iter().map(|s| s.ends.orig.packets + s.ends.resp.packets).sum::<u64>();
            prop_assert_eq!(packets(&one), packets(&sessions));
        }
    }
}
