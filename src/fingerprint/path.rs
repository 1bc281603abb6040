//! What an endpoint's packets say about the path they came by: hops, segment sizes, the tax of an encapsulation, and the
//! machines that sent them.
//!
//! Reads: sessions that have ended. Emits: values that depend on the set of sessions only, not on their order.
//! Does not: judge. A size is a set of possible causes, never one: see [`causes`].
//! References: RFC 9293 and RFC 6691 (MSS); the files beside this one name those of their own.

use super::hops::{Origin, likeliest, origins};
use super::hosts::Ticks;
use super::stack::{Role, Stack};
use super::tax::{Overhead, causes};
use super::timeline::{Change, Timeline};
use super::{Family, Hosts};
use crate::base::Seldom;
use crate::flow::{End, Protocol};
use crate::session::Session;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::net::IpAddr;

/// The path of an endpoint, as far as its own packets tell.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Path {
    /// Segment sizes announced in SYNs of either family, and how often. Bounded; the smallest stay.
    mss: Vec<((bool, u16), u64)>,
    /// TTLs of first packets with the initial one that each was read with, and how often.
    ttl: Vec<((u8, u8), u64)>,
    hops: Timeline<u8>,
    /// MTUs that SYNs implied.
    mtu: Timeline<u16>,
    /// The largest datagrams of its tunnels.
    datagrams: Seldom<Timeline<u16>>,
    /// The largest pieces of packets that came in pieces, and in how many sessions.
    fragments: Seldom<Vec<(u16, u64)>>,
    stacks: Vec<(Stack, u64)>,
    /// SYNs whose MSS a router had made smaller.
    clamped: u64,
    ticks: Ticks,
    /// Rates of timestamp clocks, in Hz.
    clocks: Seldom<Vec<(u32, u64)>>,
    /// The largest IP packet, in bytes.
    pub max_packet: u32,
}

/// Distinct values kept of each kind.
const KEPT: usize = 16;
/// A tunnel's largest datagram tells its limit only if it sent so many packets (science note S07 b) ...
const DATA_PACKETS: u64 = 2_000;
/// ... and so many of them were just that large: a limit is met again and again, a chance length is not.
const AT_LIMIT: u32 = 20;
/// Above, tunnels keep to their own limits (OpenVPN's `mssfix 1450`, WireGuard's 1,420 and 60 of its own): only what is
/// smaller tells of the path (science note S07 b).
const TELLING_DATAGRAM: u16 = 1_440;
/// WireGuard fills up to a multiple of 16 (the paper, section 5.4.6), so the limit may be up to 15 bytes more.
const PADDING: u32 = 15;
/// Every piece but the last is cut to a multiple of eight bytes (RFC 791), so the MTU may be up to 7 bytes more.
const PIECES: u32 = 7;

/// Counts `value` in a short ascending list; of too many distinct values the smallest stay.
fn tally<T: Ord>(list: &mut Vec<(T, u64)>, value: T) {
    tally_many(list, value, 1);
}

fn tally_many<T: Ord>(list: &mut Vec<(T, u64)>, value: T, more: u64) {
    match list.binary_search_by(|(known, _)| known.cmp(&value)) {
        Ok(place) => {
            if let Some((_, n)) = list.get_mut(place) {
                *n = n.saturating_add(more);
            }
        }
        Err(place) => {
            if list.is_empty() {
                list.reserve_exact(1);
            }
            list.insert(place, (value, more));
            list.truncate(KEPT);
        }
    }
}

/// A value that is not among the smallest of one list is not among those of both: counts of what stays are whole.
fn tally_all<T: Ord>(list: &mut Vec<(T, u64)>, other: Vec<(T, u64)>) {
    other.into_iter().for_each(|(value, n)| tally_many(list, value, n));
}

impl Path {
    /// Takes in what another has: the same as if its sessions had all been told to this one.
    pub fn merge(&mut self, other: Self) {
        let Self { mss, ttl, hops, mtu, datagrams, fragments, stacks, clamped, ticks, clocks, max_packet } = other;
        tally_all(&mut self.mss, mss);
        tally_all(&mut self.ttl, ttl);
        self.fragments.join(fragments, tally_all);
        tally_all(&mut self.stacks, stacks);
        self.clocks.join(clocks, tally_all);
        self.hops.merge(hops);
        self.mtu.merge(mtu);
        self.datagrams.join(datagrams, Timeline::merge);
        self.ticks.merge(ticks);
        self.clamped = self.clamped.saturating_add(clamped);
        self.max_packet = self.max_packet.max(max_packet);
    }

    /// Takes in what the client of a session sent.
    pub fn add(&mut self, session: &Session) {
        let end = &session.ends.orig;
        let v6 = session.tuple.orig.ip.is_ipv6();
        let stack = Stack::of(end, v6, Role::Client);
        self.max_packet = self.max_packet.max(end.max_packet);
        self.add_size(session, end, v6);
        if let Some(stack) = stack {
            tally(&mut self.stacks, stack);
            self.clamped += u64::from(stack.is_clamped());
            if let Some(clock) = end.clock {
                let server = fixed_hash(session.tuple.resp.ip);
                self.ticks.add(session.start, clock.first(), server);
            }
        }
        if let Some(hertz) = end.clock.and_then(|clock| clock.hertz()) {
            tally(self.clocks.make(), hertz);
        }
        // What stays on a link is sent with a TTL to match.
        if let Some(ttl) = end.ttl.filter(|_| !is_group(session.tuple.resp.ip)) {
            let origin = stack.map_or_else(|| likeliest(ttl, None), |stack| stack.origin(ttl));
            tally(&mut self.ttl, (ttl, origin.initial));
            self.hops.add(session.start, origin.hops);
        }
    }

    fn add_size(&mut self, session: &Session, end: &End, v6: bool) {
        if let Some(mss) = end.mss {
            tally(&mut self.mss, (v6, mss));
            self.mtu.add(session.start, mss.saturating_add(if v6 { 60 } else { 40 }));
        }
        if let Some(piece) = end.largest_fragment {
            tally(self.fragments.make(), piece.get());
        }
        let tunnel = session.tuple.proto != Protocol::TCP && session.category.is_some_and(|c| c.name() == "vpn");
        if tunnel
            && end.packets >= DATA_PACKETS
            && end.at_max >= AT_LIMIT
            && end.largest_fragment.is_none()
            && let Ok(size) = u16::try_from(end.max_packet)
        {
            self.datagrams.make().add(session.start, size);
        }
    }

    /// Connections in which a segment size was announced.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.mss.iter().map(|(_, n)| n).sum()
    }

    /// The segment size announced most often (the smaller of equals), for IPv4's 40 bytes of headers, and its share.
    #[must_use]
    pub fn mss(&self) -> Option<(u16, f64)> {
        let total = self.announced();
        let ((v6, mss), n) = self.mss.iter().max_by_key(|((v6, mss), n)| (*n, !*v6, u16::MAX - *mss))?;
        let as_v4 = if *v6 { mss.saturating_add(20) } else { *mss };
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = *n as f64 / total as f64;
        Some((as_v4, share))
    }

    /// The path MTU that the MSS implies, in bytes: MSS and 40 bytes of IPv4 and TCP headers.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.mss().map(|(mss, _)| u32::from(mss) + 40)
    }

    /// When the MTU that SYNs imply changed for good.
    #[must_use]
    pub fn mtu_changes(&self) -> Vec<Change<u16>> {
        self.mtu.changes()
    }

    /// What class of causes the segment size points to.
    #[must_use]
    pub fn overhead(&self) -> Option<Overhead> {
        self.mss().map(|(mss, _)| Overhead::of_mss(mss))
    }

    /// Every cause that leaves just this segment size.
    #[must_use]
    pub fn causes(&self) -> Vec<&'static str> {
        self.mtu().map_or_else(Vec::new, |mtu| causes(mtu, 0))
    }

    /// SYNs that show by their window that a router on the way had made their MSS smaller.
    #[must_use]
    pub const fn clamped(&self) -> u64 {
        self.clamped
    }

    /// The largest datagram of its tunnels in the most sessions (the smaller of equals), where tunnels sent enough to
    /// show a limit; and the causes, where it is small enough to tell of the path.
    #[must_use]
    pub fn largest_datagram(&self) -> Option<(u16, Vec<&'static str>)> {
        let (size, _) = self.datagrams.counts().into_iter().max_by_key(|(size, n)| (*n, u16::MAX - size))?;
        let causes = if size <= TELLING_DATAGRAM { causes(u32::from(size), PADDING) } else { Vec::new() };
        Some((size, causes))
    }

    /// When the largest datagram of its tunnels changed for good.
    #[must_use]
    pub fn datagram_changes(&self) -> Vec<Change<u16>> {
        self.datagrams.changes()
    }

    /// The largest piece of its packets that came in pieces, in the most sessions, and the causes. On the path there was a
    /// link with an MTU of this size or up to 7 bytes more.
    #[must_use]
    pub fn fragment(&self) -> Option<(u16, Vec<&'static str>)> {
        let (size, _) = self.fragments.iter().max_by_key(|(size, n)| (*n, u16::MAX - size))?;
        Some((*size, causes(u32::from(*size), PIECES)))
    }

    /// Router hops between the endpoint and the capture point, as most of its sessions have it: the likeliest reading.
    #[must_use]
    pub fn hops(&self) -> Option<u8> {
        let ((ttl, initial), _) = self.commonest_ttl()?;
        Some(initial - ttl)
    }

    /// Every believable reading of the TTL of most of its sessions, shortest first.
    #[must_use]
    pub fn origins(&self) -> Vec<Origin> {
        self.commonest_ttl().map_or_else(Vec::new, |((ttl, _), _)| origins(ttl))
    }

    fn commonest_ttl(&self) -> Option<((u8, u8), u64)> {
        // Of equals the larger TTL: the shorter path.
        self.ttl.iter().copied().max_by_key(|((ttl, _), n)| (*n, *ttl))
    }

    /// In how many sessions it was how many hops away, ascending. More than one: several machines or several paths.
    #[must_use]
    pub fn hop_counts(&self) -> Vec<(u8, u64)> {
        self.hops.counts()
    }

    /// When the number of hops changed for good.
    #[must_use]
    pub fn hop_changes(&self) -> Vec<Change<u8>> {
        self.hops.changes()
    }

    /// The stacks that sent its SYNs, most first, and how often each.
    #[must_use]
    pub fn stacks(&self) -> Vec<(Stack, u64)> {
        let mut stacks = self.stacks.clone();
        stacks.sort_by_key(|(stack, n)| (std::cmp::Reverse(*n), *stack));
        stacks
    }

    /// The family of all its stacks that have one alone, if they agree.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match *self.families(1).as_slice() {
            [family] => Some(family),
            _ => None,
        }
    }

    /// Families of stacks that have one alone, in at least `n` connections.
    fn families(&self, n: u64) -> Vec<Family> {
        if self.stacks.iter().map(|(_, n)| n).sum::<u64>() < n {
            return Vec::new();
        }
        let mut counts: Vec<(Family, u64)> = Vec::new();
        for (family, n) in self.stacks.iter().filter_map(|(stack, n)| Some((stack.family()?, *n))) {
            match counts.iter_mut().find(|(known, _)| *known == family) {
                Some((_, total)) => *total += n,
                None => counts.push((family, n)),
            }
        }
        counts.into_iter().filter(|(_, total)| *total >= n).map(|(family, _)| family).collect()
    }

    /// Rates of its timestamp clocks, in Hz, and in how many connections each was measured, ascending.
    #[must_use]
    pub fn clocks(&self) -> &[(u32, u64)] {
        &self.clocks
    }

    /// How many machines there are at least behind the address; `None` where nothing tells.
    #[must_use]
    pub fn hosts(&self) -> Option<Hosts> {
        // A program that sends SYNs of its own runs on a machine that is counted already.
        let machines = |family: &Family| !matches!(family, Family::Scanner | Family::UserSpace);
        let families = self.families(2).iter().filter(|family| machines(family)).count();
        Hosts::of(self.ticks.lines(), families, self.ticks.n())
    }
}

/// Whether packets to an address go to a group, or to all on the link.
fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// A hash that is the same in every run: it decides what a report holds.
fn fixed_hash(address: IpAddr) -> u32 {
    (FixedState::with_seed(0x7061_7468).hash_one(address) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::flow::{FiveTuple, Peer, Table, Timeouts};
    use crate::session::Story;
    use crate::wire::{Encapsulation, Packet, TcpHeader, Transport};
    use proptest::prelude::*;

    /// A session from one client at this time (seconds), with what it sent.
    fn session(at: i64, server: u8, end: &End) -> Session {
        let peer = |ip: [u8; 4], port| Peer { ip: ip.into(), port };
        let tuple = FiveTuple {
            orig: peer([203, 0, 113, 9], 50_000),
            resp: peer([192, 0, 2, server], 443),
            proto: Protocol::TCP,
        };
        let at = Timestamp::from_parts(at, 0);
        let packet = Packet {
            at,
            src: tuple.orig.ip,
            dst: tuple.resp.ip,
            ttl: 64,
            ip_id: 1,
            dont_fragment: true,
            largest_fragment: 0,
            ip_len: 40,
            transport: Transport::Tcp(TcpHeader::default()),
            payload_len: 0,
            payload: &[],
            encapsulation: Encapsulation::default(),
        };
        let mut table = Table::<()>::new(16, Timeouts::default());
        let touch = table.touch(&packet, at, |_, ()| {});
        let mut session = Session::of(table.pair_mut(touch.id).unwrap().0, Story::default());
        (session.tuple, session.ends.orig) = (tuple, *end);
        session
    }

    fn end(mss: u16, ttl: u8) -> End {
        let mut end = End::default();
        (end.mss, end.ttl) = (Some(mss), Some(ttl));
        end
    }

    fn path(ends: &[End]) -> Path {
        let mut path = Path::default();
        ends.iter().zip(0..).for_each(|(end, i)| path.add(&session(i * 600, 1, end)));
        path
    }

    #[test]
    fn segment_sizes_point_to_their_causes() {
        let one = |mss| path(&[end(mss, 51)]);
        assert_eq!(one(1460).overhead(), Some(Overhead::None));
        assert_eq!(one(1452).overhead(), Some(Overhead::Access));
        assert_eq!(one(1380).overhead(), Some(Overhead::Tunnel));
        assert_eq!(one(1380).causes(), ["ipsec", "wireguard", "wireguard-ipv6", "clamp"]);
        assert_eq!(one(1380).mtu(), Some(1420));
        assert_eq!(one(536).overhead(), Some(Overhead::Access));
        assert_eq!(one(1460).hops(), Some(13));
    }

    #[test]
    fn hops_are_told_with_all_that_was_seen() {
        let seen = path(&[end(1460, 51), end(1460, 115), end(1460, 52)]);
        assert_eq!((seen.hops(), seen.hop_counts()), (Some(13), vec![(12, 1), (13, 2)]));
        let near_or_far = path(&[end(1460, 32)]);
        assert_eq!(near_or_far.origins().len(), 2);
    }

    #[test]
    fn a_tunnel_that_begins_shows_as_a_change() {
        let ends: Vec<End> = (0..8).map(|i| if i < 4 { end(1460, 51) } else { end(1380, 50) }).collect();
        let path = path(&ends);
        let at = Timestamp::from_parts(2_400, 0);
        assert_eq!(path.mtu_changes(), [Change { at, from: 1_500, to: 1_420 }]);
        assert_eq!(path.hop_changes(), [Change { at, from: 13, to: 14 }]);
    }

    #[test]
    fn a_datagram_is_a_limit_only_if_it_was_met_often() {
        let datagrams = |packets, at_max, size| {
            let mut end = End::default();
            (end.packets, end.at_max, end.max_packet) = (packets, at_max, size);
            let mut session = session(0, 1, &end);
            session.tuple.proto = Protocol::UDP;
            session.category = Some(vpn());
            let mut path = Path::default();
            path.add(&session);
            path.largest_datagram()
        };
        let (size, causes) = datagrams(5_000, 100, 1_380).unwrap();
        assert!(size == 1_380 && causes.contains(&"wireguard-ipv6+ds-lite"), "{causes:?}");
        assert_eq!(datagrams(5_000, 100, 1_480).unwrap().1, Vec::<&str>::new(), "WireGuard's own limit");
        assert_eq!(datagrams(500, 100, 1_380), None);
        assert_eq!(datagrams(5_000, 3, 1_380), None);
    }

    fn vpn() -> crate::protocol::Category {
        crate::protocol::Category::Vpn
    }

    #[test]
    fn packets_to_a_group_say_nothing_of_hops() {
        let mut multicast = session(0, 1, &end(1460, 1));
        multicast.tuple.resp.ip = [224, 0, 0, 251].into();
        let mut path = Path::default();
        path.add(&multicast);
        assert_eq!(path.hops(), None);
    }

    proptest! {
        /// A path depends on the sessions only, not on the order in which workers tell them.
        #[test]
        fn the_order_does_not_matter(
            seen in prop::collection::vec((0i64..1_000_000, 0u8..3, 500u16..1_500, any::<u8>(), 0u32..3_000), 1..120),
            turn in 0usize..120,
        ) {
            let told = |seen: &[(i64, u8, u16, u8, u32)]| {
                let mut path = Path::default();
                for (at, server, mss, ttl, size) in seen {
                    let mut end = end(*mss, *ttl);
                    end.max_packet = *size;
                    path.add(&session(*at, *server, &end));
                }
                path
            };
            let mut turned = seen.clone();
            turned.rotate_left(turn % seen.len());
            prop_assert_eq!(told(&turned), told(&seen));
            turned.reverse();
            prop_assert_eq!(told(&turned), told(&seen));
        }
    }
}
