//! Flows that belong to one session, joined into one record.
//!
//! Reads: sessions of single flows that carry [`Link`]s. Emits: one [`Session`] for each group, named after its main
//! flow, with the counters, attributes and round trips of all. What joins: the same token, the same named endpoint, the
//! same two addresses at the same time with a flow that leads, or a call and what set it up. The result depends on the set of sessions only, not
//! on the order in which they came. Bounded: beyond [`Join::HELD`] sessions stay single and are counted.
//! Does not: hold sessions without links.

use super::{Confidence, Session};
use crate::base::{Ends, Link, Side, Timestamp};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Flows of one session may follow each other with a pause: a client that moves to another network, a relay that is
/// tried after the direct way.
const PAUSE: Duration = Duration::from_secs(120);

/// A call follows what set it up within this: a person chooses a machine and types a password. A browser keeps an idle
/// connection as long, so that a machine that only waits for calls opens another one for each question to its service.
const SETTING_UP: Duration = Duration::from_secs(300);

/// What set up a call waits so long for the call to end.
const CALL: Duration = Duration::from_secs(3_600);

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
        let over = |session: &Session| {
            let wait = if session.links.iter().any(|link| matches!(link, Link::Signals(_))) { CALL } else { PAUSE };
            now.since(session.end).is_some_and(|ago| ago > wait)
        };
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
    join_to_signals(&sessions, &mut sets);
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
            Link::Pair(_) | Link::Signals(_) | Link::SignalsHere(_) | Link::Signalled(_) => return None,
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

/// Calls go to what set them up: a flow between the same two ends at that time, or else the newest of one of the ends'
/// own that had just begun, if the call is one of a screen and nobody else's, and if that flow has set up no other.
fn join_to_signals(sessions: &[Session], sets: &mut Sets) {
    let mut signals = Vec::new();
    for (i, session) in sessions.iter().enumerate() {
        signals.extend(session.links.iter().filter_map(|link| match link {
            Link::Signals(kind) => Some((*kind, i, true)),
            Link::SignalsHere(kind) => Some((*kind, i, false)),
            _ => None,
        }));
    }
    if signals.is_empty() {
        return;
    }
    let mut taken = HashMap::<usize, usize>::new();
    for (i, call) in sessions.iter().enumerate() {
        let Some(kind) = call.links.iter().find_map(|link| match link {
            Link::Token(kind, _) => signals.iter().any(|(own, ..)| own == kind).then_some(*kind),
            _ => None,
        }) else {
            continue;
        };
        let of_kind = || signals.iter().rev().filter(|(own, at, _)| *own == kind && *at != i);
        let here = of_kind()
            .map(|(_, at, _)| *at)
            .find(|at| sessions.get(*at).is_some_and(|signal| same_ends(signal, call) && overlap(signal, call)));
        if let Some(at) = here {
            sets.unite(at, i);
            continue;
        }
        let screen = call.links.contains(&Link::Signalled(kind)) && call.application.is_none_or(|name| name == kind);
        let root = sets.root(i);
        let afar = of_kind().filter(|(.., afar)| *afar && screen).map(|(_, at, _)| *at).find(|at| {
            sessions.get(*at).is_some_and(|signal| sets_up(signal, call))
                && taken.get(at).is_none_or(|other| *other == root)
        });
        if let Some(at) = afar {
            sets.unite(at, i);
            taken.insert(at, sets.root(i));
        }
    }
}

/// Whether two flows have the same two addresses.
fn same_ends(a: &Session, b: &Session) -> bool {
    let ends = |s: &Session| (s.tuple.orig.ip.min(s.tuple.resp.ip), s.tuple.orig.ip.max(s.tuple.resp.ip));
    ends(a) == ends(b)
}

/// Whether a call of a flow's client begins soon after the flow.
fn sets_up(signal: &Session, call: &Session) -> bool {
    let client = signal.tuple.orig.ip;
    let soon = call.start.since(signal.start).is_some_and(|ago| ago <= SETTING_UP) && near(signal.end, call.start);
    soon && (call.tuple.orig.ip == client || call.tuple.resp.ip == client)
}

/// Whether a session sets up calls.
fn signals(session: &Session) -> bool {
    session.links.iter().any(|link| matches!(link, Link::Signals(_) | Link::SignalsHere(_)))
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
    let call = !signals(&whole);
    for mut other in group {
        if call && signals(&other) {
            name_after(&mut whole, &other);
            leave_out_strangers(&whole, &mut other);
        }
        take_in(&mut whole, other);
    }
    whole.samples.sort_by_key(|sample| (sample.at, sample.side, sample.layer, sample.rtt));
    whole
}

/// A call is named after what set it up from afar, which is no surer than that somebody did.
fn name_after(call: &mut Session, signal: &Session) {
    call.carrier = call.protocol;
    (call.protocol, call.category, call.confidence) = (signal.protocol, signal.category, signal.confidence);
    call.confidence = call.confidence.map(|sure| sure.min(Confidence::Likely));
    call.application = signal.application;
}

/// Leaves out what was measured of an end that is not the call's: the service that set it up.
fn leave_out_strangers(call: &Session, signal: &mut Session) {
    let (orig, resp) = (signal.tuple.orig.ip, signal.tuple.resp.ip);
    let known =
        |side| [call.tuple.orig.ip, call.tuple.resp.ip].contains(if side == Side::Client { &orig } else { &resp });
    signal.samples.retain(|sample| known(sample.side));
    signal.digests.retain(|(kind, _)| known(kind.side));
}

/// The flow that the record is named after: the one that leads; else the surest, with the most bytes. What set up calls
/// between its own ends leads, what set up others does not.
fn main_of(group: &[Session]) -> usize {
    let bytes = |s: &Session| s.ends.orig.bytes + s.ends.resp.bytes;
    let leads = |s: &Session| s.links.iter().any(|link| matches!(link, Link::Pair(kind) if s.protocol == Some(kind)));
    let here = |s: &Session| signals(s) && group.iter().any(|call| !signals(call) && same_ends(s, call));
    let rank = |s: &Session| (leads(s) || here(s), !signals(s), s.confidence, s.carrier.is_some(), bytes(s));
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
        end.take_in_sizes(&more);
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

    const SCREEN: Link = Link::Signalled("webrtc");

    fn call(ends: (u8, u8), seconds: (i64, i64), name: &[u8], more: &[Link]) -> Session {
        session("dtls", ends, seconds, &[&[Link::token("webrtc", name)], more].concat())
    }

    #[test]
    fn a_screen_is_named_after_what_set_it_up_from_afar() {
        let service = session("chrome-remote-desktop", (1, 9), (100, 130), &[Link::Signals("webrtc")]);
        for ends in [(1, 2), (2, 1)] {
            // Two ways of one call.
            let calls = [call(ends, (140, 900), b"a:b", &[SCREEN]), call(ends, (139, 141), b"a:b", &[])];
            let joined = join([calls.as_slice(), std::slice::from_ref(&service)].concat());
            assert_eq!(shape(&joined), [("chrome-remote-desktop", 3)]);
            assert_eq!(
                (joined[0].tuple.orig.ip, joined[0].tuple.resp.ip),
                (calls[0].tuple.orig.ip, calls[0].tuple.resp.ip)
            );
            assert_eq!((joined[0].carrier, joined[0].confidence), (Some("dtls"), Some(Confidence::Likely)));
        }
    }

    #[test]
    fn a_call_that_somebody_else_may_have_set_up_is_not() {
        let service = session("chrome-remote-desktop", (1, 9), (100, 130), &[Link::Signals("webrtc")]);
        let mut meeting = call((1, 2), (140, 900), b"a:b", &[SCREEN]);
        meeting.application = Some("google-meet");
        for other in [
            meeting,
            // Both ends send pictures, or none has keys to send.
            call((1, 2), (140, 900), b"a:b", &[]),
            // Another client's, too late, too early.
            call((3, 2), (140, 900), b"a:b", &[SCREEN]),
            call((1, 2), (401, 900), b"a:b", &[SCREEN]),
            call((1, 2), (99, 900), b"a:b", &[SCREEN]),
        ] {
            assert_eq!(join(vec![service.clone(), other]).len(), 2);
        }
        // One call at most.
        let two = [call((1, 2), (140, 900), b"a:b", &[SCREEN]), call((1, 3), (150, 900), b"c:d", &[SCREEN])];
        assert_eq!(shape(&join([two.as_slice(), &[service]].concat())), [("chrome-remote-desktop", 2), ("dtls", 1)]);
    }

    #[test]
    fn a_box_and_the_call_with_it_are_one_session() {
        let page = session("pikvm", (1, 2), (10, 900), &[Link::SignalsHere("webrtc")]);
        let joined = join(vec![page.clone(), call((2, 1), (20, 880), b"a:b", &[])]);
        assert_eq!(shape(&joined), [("pikvm", 2)]);
        assert_eq!((joined[0].tuple, joined[0].confidence), (page.tuple, Some(Confidence::Confirmed)));
        assert_eq!(joined[0].ends.resp.bytes, 1_100);
        assert_eq!(join(vec![page.clone(), call((1, 3), (20, 880), b"a:b", &[SCREEN])]).len(), 2);
        assert_eq!(join(vec![page, call((1, 2), (2_000, 2_100), b"a:b", &[])]).len(), 2);
    }

    #[test]
    fn what_set_up_a_call_waits_for_its_end() {
        let mut waiting = Join::default();
        let service = session("chrome-remote-desktop", (1, 9), (100, 130), &[Link::Signals("webrtc")]);
        assert!(waiting.add(service).is_none());
        let at = |s: i64| Timestamp::from_nanos(s * 1_000_000_000);
        assert!(waiting.settled(at(2_000)).is_empty());
        assert!(waiting.add(call((1, 2), (140, 2_100), b"a:b", &[SCREEN])).is_none());
        assert_eq!(shape(&waiting.settled(at(4_000))), [("chrome-remote-desktop", 2)]);
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
                let links = [IKE, Link::token("webrtc", &[*token]), Link::Here("socks"), Link::Signals("webrtc"), SCREEN];
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
