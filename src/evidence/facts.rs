//! What the sessions of an endpoint tell beside their round trips: programs, remote-control tools, tunnels, hours.
//!
//! An endpoint opens its sessions. Only of a machine in the site's own pool it counts as well if somebody outside opened
//! a session in which that machine is worked: [`Facts::on_inbound`].
//!
//! Reads: finished sessions. Emits: [`Facts`], which depend on the set of sessions only, not on their order. Bounded;
//! where too much is seen, what stays is chosen by a hash of the content. Does not: judge.

use super::ledger::{CitedFlow, fixed_hash};
use super::worked::{self, Worked};
use crate::base::{Direction, Layer, Seldom, Side, Timestamp};
use crate::fingerprint::Family;
use crate::session::{Category, Confidence, Session};
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Duration;

/// Distinct programs, tunnels and measured loops kept of an endpoint.
const PROGRAMS: usize = 16;
const TUNNELS: usize = 64;
const REACHES: usize = 32;
const VENDORS: usize = 4;
/// Hours kept: five weeks; the latest stay.
const HOURS: usize = 24 * 35;
/// Flows that are cited of a tool.
const CITED: usize = 3;

/// One hour, in nanoseconds.
const HOUR: i64 = 3_600_000_000_000;

/// What is known of one endpoint beside its ladder and its path.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Programs by a hash of their fingerprint, ascending, with the shortest TCP round trip of each. A vector, as
    /// `hours`: nearly every endpoint has one or two, and there may be a million endpoints.
    pub programs: Vec<(u64, Program)>,
    /// Sessions of remote-control tools, KVM boxes and tunnels of its own, by tool.
    #[serde(deserialize_with = "crate::base::words::map")]
    pub tools: Seldom<BTreeMap<&'static str, ToolUse>>,
    /// VPN sessions.
    pub tunnels: Seldom<BTreeSet<Tunnel>>,
    /// Loops that were closed at whoever works the endpoint's machine.
    pub reaches: Seldom<BTreeSet<Reach>>,
    /// Systems that its programs say they run on, each with a flow that says so.
    pub systems: Seldom<BTreeSet<(Family, CitedFlow)>>,
    /// Hashes of what its IKE says of the vendors of its own end, ascending; the least stay.
    pub vendors: Seldom<Vec<u64>>,
    /// Packets by hour since 1970, ascending.
    pub hours: Vec<(i64, u64)>,
}

/// One program's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Program {
    /// TCP handshakes measured.
    pub n: u64,
    /// The shortest round trip of them, in microseconds.
    pub least_us: u32,
    /// A flow of it: that of the shortest.
    pub flow: CitedFlow,
}

/// The use of one tool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ToolUse {
    /// What it is for.
    pub category: Category,
    /// How sure its name is, at best.
    pub confidence: Confidence,
    /// Sessions.
    pub sessions: u64,
    /// Sessions in which the endpoint's machine was the one that was worked.
    pub worked: u64,
    /// The longest of those.
    pub longest: Duration,
    /// All of those together.
    pub total: Duration,
    /// Flows to cite: of those in which it was worked, if there are any.
    pub flows: BTreeSet<(bool, CitedFlow)>,
}

/// One VPN session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Tunnel {
    rank: u64,
    /// First packet.
    pub from: Timestamp,
    /// Last packet.
    pub to: Timestamp,
    /// The flow.
    pub flow: CitedFlow,
}

/// A loop through a remote-control session, and the part of it up to where the session itself ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Reach {
    rank: u64,
    /// Whole loops that were measured.
    pub n: u32,
    /// The shortest of them, in microseconds.
    pub whole_us: u32,
    /// The shortest round trip to the session's other end, in microseconds.
    pub relay_us: u32,
    /// The layer at which the loop is closed.
    pub layer: Layer,
    /// The flow.
    pub flow: CitedFlow,
}

impl ToolUse {
    fn merge(&mut self, other: Self) {
        let Self { category, confidence, sessions, worked, longest, total, flows } = other;
        self.category = self.category.min(category);
        self.confidence = self.confidence.max(confidence);
        self.sessions = self.sessions.saturating_add(sessions);
        self.worked = self.worked.saturating_add(worked);
        self.longest = self.longest.max(longest);
        self.total = self.total.saturating_add(total);
        self.flows.extend(flows);
        keep_least(&mut self.flows, CITED);
    }
}

impl Reach {
    /// A loop of so many microseconds, for other rooms' tests.
    #[cfg(test)]
    pub(super) fn any(layer: Layer, whole_us: u32) -> Self {
        Self { rank: fixed_hash(&whole_us), n: 40, whole_us, relay_us: 0, layer, flow: CitedFlow::any(1) }
    }

    /// From the session's other end to who works the machine and back, in milliseconds.
    #[must_use]
    pub fn leg_ms(&self) -> f64 {
        (f64::from(self.whole_us) - f64::from(self.relay_us)).max(0.0) / 1e3
    }
}

impl Facts {
    /// Takes a session in that the endpoint opened; `program` is a hash of the program's fingerprint, 0 if it has none.
    pub fn on_session(&mut self, session: &Session, program: u64) {
        let flow = CitedFlow::of(&session.tuple);
        self.on_program(session, program, flow);
        self.on_hours(session);
        let said = session.attributes.iter().filter(|(key, _)| *key == "ike.initiator_vendors");
        said.for_each(|(_, vendors)| self.on_vendors(fixed_hash(vendors)));
        if let Some(system) = system_said(session) {
            self.on_system(system, flow);
        }
        let Some((protocol, category, confidence)) = named(session) else { return };
        if category == Category::Vpn {
            self.on_tunnel(session, flow);
        } else if let Some(name) = tool(session, protocol, category) {
            self.on_tool(name, (category, confidence), Worked::of(session, Direction::Orig), session, flow);
        }
    }

    /// Takes a session in that somebody opened to the endpoint: whether its machine is worked in it.
    pub fn on_inbound(&mut self, session: &Session) -> bool {
        let Some((protocol, category, confidence)) = named(session) else { return false };
        let Some(name) = tool(session, protocol, category) else { return false };
        let worked = Worked::of(session, Direction::Resp).filter(|_| category != Category::Proxy);
        if worked.is_some() {
            self.on_tool(name, (category, confidence), worked, session, CitedFlow::of(&session.tuple));
        }
        worked.is_some()
    }

    fn on_program(&mut self, session: &Session, program: u64, flow: CitedFlow) {
        if program == 0 {
            return;
        }
        let least = least(session, Side::Client, |layer| layer == Layer::TcpHandshake);
        let Some((least_us, n)) = least else { return };
        let seen = entry(&mut self.programs, program, || Program { n: 0, least_us, flow });
        if let Some(seen) = seen {
            seen.n += u64::from(n);
            if (least_us, flow) < (seen.least_us, seen.flow) {
                (seen.least_us, seen.flow) = (least_us, flow);
            }
        }
        self.programs.truncate(PROGRAMS);
    }

    /// One flow is kept of each system: the first in order.
    fn on_system(&mut self, system: Family, flow: CitedFlow) {
        let known = self.systems.iter().find(|(known, _)| *known == system).copied();
        match known {
            Some((_, kept)) if kept <= flow => return,
            Some(entry) => drop(self.systems.make().remove(&entry)),
            None => {}
        }
        self.systems.make().insert((system, flow));
    }

    fn on_vendors(&mut self, vendors: u64) {
        if let Err(place) = self.vendors.binary_search(&vendors) {
            let all = self.vendors.make();
            all.insert(place, vendors);
            all.truncate(VENDORS);
        }
    }

    fn on_hours(&mut self, session: &Session) {
        let (from, to) = (session.start.nanos().div_euclid(HOUR), session.end.nanos().div_euclid(HOUR));
        let from = from.max(to.saturating_sub(i64::try_from(HOURS).unwrap_or(i64::MAX)));
        let hours = u64::try_from(to - from).unwrap_or_default() + 1;
        let packets = session.ends.orig.packets + session.ends.resp.packets;
        for hour in from..=to {
            if let Some(known) = entry(&mut self.hours, hour, || 0) {
                *known += packets.div_ceil(hours);
            }
        }
        let over = self.hours.len().saturating_sub(HOURS);
        self.hours.drain(..over);
    }

    fn on_tunnel(&mut self, session: &Session, flow: CitedFlow) {
        let (from, to) = (session.start, session.end);
        let tunnels = self.tunnels.make();
        tunnels.insert(Tunnel { rank: fixed_hash(&(from, to, flow)), from, to, flow });
        if tunnels.len() > TUNNELS {
            tunnels.pop_last();
        }
    }

    fn on_tool(
        &mut self,
        name: &'static str,
        (category, confidence): (Category, Confidence),
        worked: Option<Worked>,
        session: &Session,
        flow: CitedFlow,
    ) {
        let lasted = session.end.since(session.start).unwrap_or_default();
        let tool = self.tools.make().entry(name).or_insert_with(|| ToolUse {
            category,
            confidence,
            sessions: 0,
            worked: 0,
            longest: Duration::ZERO,
            total: Duration::ZERO,
            flows: BTreeSet::new(),
        });
        tool.confidence = tool.confidence.max(confidence);
        tool.sessions += 1;
        tool.flows.insert((worked.is_none(), flow));
        if tool.flows.len() > CITED {
            tool.flows.pop_last();
        }
        if let Some(worked) = worked {
            tool.worked += 1;
            tool.longest = tool.longest.max(lasted);
            tool.total += lasted;
            self.on_reach(worked, session, flow);
        }
    }

    fn on_reach(&mut self, worked: Worked, session: &Session, flow: CitedFlow) {
        let Some((layer, whole_us, relay_us, n)) = worked.reach(session) else { return };
        let rank = fixed_hash(&(whole_us, relay_us, n, flow));
        let reaches = self.reaches.make();
        reaches.insert(Reach { rank, n, whole_us, relay_us, layer, flow });
        if reaches.len() > REACHES {
            reaches.pop_last();
        }
    }

    /// Takes in what another has: the same as if its sessions had all been told to this one.
    pub fn merge(&mut self, other: Self) {
        let Self { programs, tools, tunnels, reaches, systems, vendors, hours } = other;
        vendors.into_inner().into_iter().for_each(|vendors| self.on_vendors(vendors));
        systems.into_inner().into_iter().for_each(|(system, flow)| self.on_system(system, flow));
        for (hash, program) in programs {
            if let Some(known) = entry(&mut self.programs, hash, || Program { n: 0, ..program }) {
                known.n = known.n.saturating_add(program.n);
                if (program.least_us, program.flow) < (known.least_us, known.flow) {
                    (known.least_us, known.flow) = (program.least_us, program.flow);
                }
            }
        }
        self.programs.truncate(PROGRAMS);
        for (name, tool) in tools.into_inner() {
            match self.tools.make().entry(name) {
                Entry::Vacant(free) => drop(free.insert(tool)),
                Entry::Occupied(mut known) => known.get_mut().merge(tool),
            }
        }
        join_least(&mut self.tunnels, tunnels, TUNNELS);
        join_least(&mut self.reaches, reaches, REACHES);
        for (hour, packets) in hours {
            if let Some(known) = entry(&mut self.hours, hour, || 0) {
                *known = known.saturating_add(packets);
            }
        }
        let over = self.hours.len().saturating_sub(HOURS);
        self.hours.drain(..over);
    }

    /// Days, UTC, in whose hours packets passed.
    #[must_use]
    pub fn days(&self) -> usize {
        let days: BTreeSet<i64> = self.hours.iter().map(|(hour, _)| hour.div_euclid(24)).collect();
        days.len()
    }

    /// The most VPN sessions that were up at once.
    #[must_use]
    pub fn tunnels_at_once(&self) -> usize {
        at_once(self.tunnels.iter().map(|tunnel| (tunnel.from, tunnel.to)))
    }
}

/// Drops the greatest until no more than `most` are left.
fn keep_least<T: Ord>(set: &mut BTreeSet<T>, most: usize) {
    while set.len() > most {
        set.pop_last();
    }
}

/// Takes in another set, and keeps the least of both.
pub(super) fn join_least<T: Ord + 'static>(set: &mut Seldom<BTreeSet<T>>, other: Seldom<BTreeSet<T>>, most: usize) {
    set.join(other, |set, other| {
        set.extend(other);
        keep_least(set, most);
    });
}

/// The value of a key in an ascending list, put there if it is not.
fn entry<K: Ord, V>(list: &mut Vec<(K, V)>, key: K, value: impl FnOnce() -> V) -> Option<&mut V> {
    let place = list.binary_search_by(|(known, _)| known.cmp(&key)).unwrap_or_else(|place| {
        if list.is_empty() {
            list.reserve_exact(1);
        }
        list.insert(place, (key, value()));
        place
    });
    list.get_mut(place).map(|(_, value)| value)
}

/// The most of some spans of time that cover one moment.
pub(super) fn at_once(spans: impl Iterator<Item = (Timestamp, Timestamp)>) -> usize {
    // At equal times an end goes before a beginning: who leaves makes room.
    let mut steps: Vec<(Timestamp, bool)> = spans.flat_map(|(from, to)| [(from, true), (to, false)]).collect();
    steps.sort_unstable();
    let (mut now, mut most) = (0usize, 0);
    for (_, begins) in steps {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

fn named(session: &Session) -> Option<(&'static str, Category, Confidence)> {
    let confidence = session.confidence.filter(|sure| *sure > Confidence::PortOnly)?;
    Some((session.protocol?, session.category?, confidence))
}

/// The shortest of a session's unambiguous round trips to one side of some kinds, in microseconds, and how many.
fn least(session: &Session, side: Side, wanted: impl Fn(Layer) -> bool) -> Option<(u32, u32)> {
    worked::least(session, side, |layer, _| wanted(layer))
}

/// The system that the client's program says it runs on, in clear.
fn system_said(session: &Session) -> Option<Family> {
    const SAYING: [&str; 3] = ["ssh.client_banner", "http.user_agent", "vpn.client_platform"];
    const WORDS: [(&str, Family); 10] = [
        ("Android", Family::Android),
        ("for_Windows", Family::Windows),
        ("Windows NT", Family::Windows),
        ("PuTTY", Family::Windows),
        ("Macintosh", Family::Apple),
        ("iPhone", Family::Apple),
        ("Darwin/", Family::Apple),
        ("X11; Linux", Family::Linux),
        ("Ubuntu", Family::Linux),
        ("Debian", Family::Linux),
    ];
    let said = session.attributes.iter().filter(|(key, _)| SAYING.contains(key));
    said.flat_map(|(_, value)| WORDS.iter().filter(|(word, _)| value.contains(word))).map(|(_, family)| *family).next()
}

/// What a session is for where a machine may be worked through it, if it is such a session. A call without a sound
/// from the other end goes by the name of what carries it.
fn tool(session: &Session, protocol: &'static str, category: Category) -> Option<&'static str> {
    match category {
        Category::RemoteDesktop | Category::Kvm | Category::Proxy => Some(session.application.unwrap_or(protocol)),
        Category::RemoteShell if worked::is_reverse_forward(session) => Some("ssh-reverse-tunnel"),
        Category::Conferencing if worked::shows_to_somebody(session).is_some() => {
            Some(session.application.unwrap_or(protocol))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn what_ends_when_another_begins_is_not_there_at_once() {
        let spans = [(0, 10), (10, 20), (12, 30), (19, 21), (40, 50)];
        assert_eq!(at_once(spans.iter().map(|(from, to)| (t(*from), t(*to)))), 3);
        assert_eq!(at_once(std::iter::empty()), 0);
    }
}
