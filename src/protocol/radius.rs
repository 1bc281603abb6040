//! RADIUS: who signs on, from which address outside, to which address inside.
//!
//! Reads: codes, identifiers and the attributes that name a user, a device or an address, of access, accounting and
//! dynamic authorization. Emits: claims (`radius-access`, `radius-accounting`), the service and the access server.
//! Times are those of the capture, less the delay that an accounting request tells: Event-Timestamp is the clock of the
//! access server, which may be wrong, and what is claimed is compared with captured flows.
//! Does not: read passwords, or of EAP more than an identity; verify authenticators (the secret is not known), or see RADIUS over TLS (RFC 6614).
//!
//! References: RFC 2865 (access), RFC 2866 (accounting), RFC 2868 (tunnels), RFC 3162 (IPv6), RFC 5176 (dynamic
//! authorization).

use crate::base::{Direction, IdentityKind, Reader, Stay, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec;
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The registry's entry.
pub(super) static RADIUS: Protocol = Protocol {
    name: "radius",
    category: Category::Identity,
    carriers: &[Carrier::Datagram],
    ports: &[1812, 1813, 1645, 1646, 3799, 1700],
    attributes: &[SERVICE, NAS],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Radius::default()),
};

const SERVICE: Key = "radius.service";
const NAS: Key = "radius.nas";

const HEADER: usize = 20;
/// An attribute's value is at most so long (RFC 2865, section 5).
const MAX_VALUE: usize = 253;
/// RFC 2865, section 3.
const MAX_PACKET: usize = 4_096;

fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    match (Packet::read(orig, 0), Packet::read(resp, 0)) {
        (Some(a), Some(b)) => {
            if a.is_answered_by(&b) || b.is_answered_by(&a) {
                Probe::Match
            } else {
                Probe::NeedMore
            }
        }
        (Some(one), None) if resp.is_empty() => one.alone(),
        (None, Some(one)) if orig.is_empty() => one.alone(),
        _ => Probe::NoMatch,
    }
}

/// What a code asks for or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Access,
    Accounting,
    Authorization,
}

/// A packet that is whole and whose attributes fill it exactly.
#[derive(Debug, Clone, Copy)]
struct Packet<'a> {
    code: u8,
    id: u8,
    attributes: &'a [u8],
}

impl<'a> Packet<'a> {
    fn read(bytes: &'a [u8], missing: u32) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (code, id, len) = (reader.u8()?, reader.u8()?, usize::from(reader.u16()?));
        if !matches!(code, 1..=5 | 11 | 40..=45) || !(HEADER..=MAX_PACKET).contains(&len) {
            return None;
        }
        reader.take(16)?;
        // Octets beyond the length are padding (RFC 2865, section 3); more than a word of it is another protocol.
        let wire = bytes.len() + usize::try_from(missing).ok()?;
        if wire < len || wire > len + 4 {
            return None;
        }
        let attributes = reader.take((len - HEADER).min(reader.len()))?;
        let whole = attributes.len() == len - HEADER;
        let packet = Self { code, id, attributes };
        (!whole || packet.is_well_formed()).then_some(packet)
    }

    fn is_well_formed(&self) -> bool {
        let mut left = Reader::new(self.attributes);
        while !left.is_empty() {
            let body = left.u8().and_then(|kind| {
                let len = usize::from(left.u8()?).checked_sub(2)?;
                (kind != 0).then(|| left.take(len)).flatten()
            });
            if body.is_none() {
                return false;
            }
        }
        true
    }

    fn attributes(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut left = Reader::new(self.attributes);
        std::iter::from_fn(move || {
            let (kind, len) = (left.u8()?, usize::from(left.u8()?));
            Some((kind, left.take(len.checked_sub(2)?)?))
        })
    }

    const fn service(&self) -> Service {
        match self.code {
            4 | 5 => Service::Accounting,
            40..=45 => Service::Authorization,
            _ => Service::Access,
        }
    }

    const fn is_request(&self) -> bool {
        matches!(self.code, 1 | 4 | 40 | 43)
    }

    fn is_answered_by(&self, other: &Self) -> bool {
        self.id == other.id
            && matches!((self.code, other.code), (1, 2 | 3 | 11) | (4, 5) | (40, 41 | 42) | (43, 44 | 45))
    }

    /// What one packet says by itself: a request that holds what it must (RFC 2865, 4.1; RFC 2866, 4.1).
    fn alone(&self) -> Probe {
        let has = |kinds: &[u8]| self.attributes().any(|(kind, _)| kinds.contains(&kind));
        let from_nas = has(&[4, 32, 95]);
        let status = || self.attributes().any(|(kind, value)| kind == 40 && matches!(value, [0, 0, 0, 1..=15]));
        match self.code {
            1 if from_nas && has(&[1, 2, 3, 79]) => Probe::Match,
            4 if from_nas && status() => Probe::Match,
            _ => Probe::NeedMore,
        }
    }
}

/// What a request says of somebody.
#[derive(Debug, Clone, Default)]
struct Asked {
    at: Timestamp,
    user: Option<String>,
    /// The address outside, where the access server says one.
    outside: Option<IpAddr>,
    inside: Vec<IpAddr>,
    devices: Vec<String>,
    session: Option<String>,
    status: Option<u32>,
    delay: u32,
    carried: Carried,
}

/// Octets from the user and to him: the low words (RFC 2866, 5.3 and 5.4), and how often they have wrapped (RFC 2869,
/// 5.1 and 5.2).
#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    from: Option<u32>,
    to: Option<u32>,
    wraps_from: u32,
    wraps_to: u32,
}

impl Carried {
    fn octets(self) -> Option<[u64; 2]> {
        let whole = |low: u32, wraps: u32| u64::from(wraps) << 32 | u64::from(low);
        Some([whole(self.from?, self.wraps_from), whole(self.to?, self.wraps_to)])
    }
}

impl Asked {
    fn read(packet: &Packet<'_>, at: Timestamp) -> Self {
        let mut asked = Self { at, ..Self::default() };
        for (kind, value) in packet.attributes() {
            asked.take(kind, value);
        }
        asked
    }

    fn take(&mut self, kind: u8, value: &[u8]) {
        let number = || value.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
        match kind {
            1 => self.user = Some(printable(value)).filter(|name| !name.is_empty()),
            // An EAP response of type Identity (RFC 3748, 5.1) says who it is where User-Name hides it, or is not there.
            79 => self.user = self.user.take().or_else(|| eap_identity(value)),
            8 => self.inside.extend(number().map(Ipv4Addr::from_bits).filter(|ip| is_an_address(*ip)).map(IpAddr::V4)),
            97 => self.inside.extend(prefix(value).map(IpAddr::V6)),
            168 => self.inside.extend(value.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b)))),
            31 => self.caller(&printable(value)),
            40 => self.status = number(),
            41 => self.delay = number().unwrap_or(0),
            42 => self.carried.from = number(),
            43 => self.carried.to = number(),
            52 => self.carried.wraps_from = number().unwrap_or(0),
            53 => self.carried.wraps_to = number().unwrap_or(0),
            44 => self.session = Some(printable(value)).filter(|name| !name.is_empty()),
            // A tag may stand before the text (RFC 2868, 3.3).
            66 => {
                let text = value.strip_prefix(&[0]).unwrap_or(value);
                self.outside = self.outside.or_else(|| address(&printable(text)));
            }
            26 => self.vendor(value),
            _ => {}
        }
    }

    /// Calling-Station-Id: most VPN gateways put the address there, others a hardware address or a number.
    fn caller(&mut self, text: &str) {
        match address(text) {
            Some(ip) => self.outside = Some(ip),
            None if is_hardware_address(text) => self.devices.push(text.to_owned()),
            None => {}
        }
    }

    /// Cisco's attribute-value pairs of its VPN gateways (`ip:source-ip=…`, the address outside) and of its VPN client
    /// (`mdm-tlv=device-mac=…`).
    fn vendor(&mut self, value: &[u8]) {
        let mut reader = Reader::new(value);
        if reader.u32() != Some(9) || reader.u8() != Some(1) {
            return;
        }
        let Some(len) = reader.u8().and_then(|len| usize::from(len).checked_sub(2)) else { return };
        let text = printable(reader.take(len).unwrap_or_default());
        if let Some(outside) = text.strip_prefix("ip:source-ip=").and_then(address) {
            self.outside = self.outside.or(Some(outside));
        }
        let Some((key, said)) = text.strip_prefix("mdm-tlv=").and_then(|pair| pair.split_once('=')) else { return };
        match key {
            "device-mac" | "device-uid" if self.devices.len() < 4 => self.devices.push(said.to_owned()),
            _ => {}
        }
    }

    /// Says who is where, outside and inside.
    fn tell(&self, source: &'static str, sureness: Sureness, stay: Stay, dir: Direction, events: &mut Events) {
        let at = self.at.minus(Duration::from_secs(u64::from(self.delay.min(86_400))));
        let users = self.user.iter().map(|name| (IdentityKind::User, name));
        let devices = self.devices.iter().map(|name| (IdentityKind::Device, name));
        for (kind, name) in users.chain(devices) {
            let claim = |place, inner| Claim {
                stay,
                inner,
                session: self.session.clone(),
                octets: self.carried.octets(),
                ..Claim::new(source, Whereabouts::Address(place), kind, name.as_str()).worth(sureness)
            };
            if let Some(outside) = self.outside {
                events.claim(at, dir, claim(outside, self.inside.first().copied()));
            }
            for inside in &self.inside {
                events.claim(at, dir, claim(*inside, None));
            }
        }
    }
}

/// The name in an EAP response of type Identity, if it is one.
fn eap_identity(value: &[u8]) -> Option<String> {
    let (head, name) = value.split_first_chunk::<5>()?;
    let [2, _, _, _, 1] = *head else { return None };
    Some(printable(name)).filter(|name| !name.is_empty())
}

/// 255.255.255.254 and .255 mean that the access server or the user chooses (RFC 2865, 5.8).
const fn is_an_address(ip: Ipv4Addr) -> bool {
    ip.to_bits() < 0xffff_fffe && ip.to_bits() != 0
}

/// The first address of a Framed-IPv6-Prefix (RFC 3162, 2.3).
fn prefix(value: &[u8]) -> Option<Ipv6Addr> {
    let (head, bytes) = value.split_at_checked(2)?;
    let mut octets = [0u8; 16];
    octets.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    (head.get(1).copied()? <= 128).then(|| Ipv6Addr::from(octets))
}

fn printable(bytes: &[u8]) -> String {
    codec::printable(bytes, MAX_VALUE)
}

/// An address, perhaps with a port or a name of the interface behind it.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip = text.parse().ok().or_else(|| text.parse().ok().map(|end: std::net::SocketAddr| end.ip()));
    ip.filter(|ip: &IpAddr| !ip.is_unspecified())
}

fn is_hardware_address(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    digits == 12 && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '-' | ':' | '.'))
}

/// Reads one flow between an access server and its RADIUS server: many sign-ons.
#[derive(Debug, Default)]
struct Radius {
    /// Access requests without an answer, by identifier: at most 256, and only those that say something.
    open: HashMap<u8, Asked>,
    /// Requests of any kind without an answer: code and who sent it.
    pending: HashMap<u8, (u8, Direction)>,
    confirmed: bool,
    told: bool,
    last: Option<(Timestamp, Direction)>,
}

impl Analyzer for Radius {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let Some(packet) = Packet::read(pdu.bytes, pdu.missing) else {
            if !self.confirmed {
                events.violation(pdu.at, pdu.dir, "radius.malformed-packet");
                events.settled(pdu.at, pdu.dir);
            }
            return;
        };
        self.last = Some((pdu.at, pdu.dir));
        if packet.is_request() {
            self.on_request(pdu, &packet, events);
        } else {
            self.on_answer(pdu, &packet, events);
        }
    }

    fn on_close(&mut self, _at: Timestamp, events: &mut Events) {
        let Some((_, dir)) = self.last else { return };
        let mut open: Vec<Asked> = self.open.drain().map(|(_, asked)| asked).collect();
        open.sort_by_key(|asked| asked.at);
        for asked in open {
            asked.tell("radius-access", Sureness::Asked, Stay::Goes, dir, events);
        }
    }
}

impl Radius {
    fn on_request(&mut self, pdu: &Pdu<'_>, packet: &Packet<'_>, events: &mut Events) {
        self.pending.insert(packet.id, (packet.code, pdu.dir));
        if !std::mem::replace(&mut self.told, true) {
            let service = match packet.service() {
                Service::Access => "access",
                Service::Accounting => "accounting",
                Service::Authorization => "dynamic-authorization",
            };
            events.attribute(pdu.at, pdu.dir, SERVICE, service);
            let name = packet.attributes().find(|(kind, _)| *kind == 32).map(|(_, value)| printable(value));
            let number = packet.attributes().find(|(kind, _)| *kind == 4).and_then(|(_, v)| v.first_chunk::<4>());
            let number = number.map(|bytes| Ipv4Addr::from(*bytes).to_string());
            // Called-Station-Id is what the user dialled: the gateway's name or address.
            let called = || packet.attributes().find(|(kind, _)| *kind == 30).map(|(_, value)| printable(value));
            if let Some(nas) = name.or(number).or_else(called) {
                events.attribute(pdu.at, pdu.dir, NAS, nas);
            }
        }
        let asked = Asked::read(packet, pdu.at);
        match packet.code {
            1 => {
                // A request that goes on after a challenge, or comes again, says the same as before.
                if let Some(before) = self.open.insert(packet.id, asked.clone())
                    && before.user != asked.user
                {
                    before.tell("radius-access", Sureness::Asked, Stay::Goes, pdu.dir, events);
                }
            }
            4 => {
                let stay = match asked.status {
                    Some(1) => Stay::Begins,
                    Some(2) => Stay::Ends,
                    Some(3) => Stay::Goes,
                    _ => return,
                };
                asked.tell("radius-accounting", Sureness::Accepted, stay, pdu.dir, events);
            }
            _ => {}
        }
    }

    fn on_answer(&mut self, pdu: &Pdu<'_>, packet: &Packet<'_>, events: &mut Events) {
        let Some((code, asker)) = self.pending.get(&packet.id).copied() else { return };
        let question = Packet { code, id: packet.id, attributes: &[] };
        if asker != pdu.dir.flip() || !question.is_answered_by(packet) {
            return;
        }
        self.pending.remove(&packet.id);
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(pdu.at, pdu.dir);
        }
        let Some(mut asked) = self.open.remove(&packet.id) else { return };
        if packet.code == 2 {
            // The answer may name the user otherwise, and give the address inside.
            let granted = Asked::read(packet, pdu.at);
            asked.at = pdu.at;
            asked.user = granted.user.or(asked.user);
            if !granted.inside.is_empty() {
                asked.inside = granted.inside;
            }
            asked.tell("radius-access", Sureness::Accepted, Stay::Goes, pdu.dir, events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind, u8::try_from(value.len() + 2).unwrap()][..], value].concat()
    }

    fn packet(code: u8, id: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let attributes = attributes.concat();
        let len = u16::try_from(HEADER + attributes.len()).unwrap().to_be_bytes();
        [&[code, id, len[0], len[1]][..], &[0xa5; 16], &attributes].concat()
    }

    fn number(kind: u8, value: u32) -> Vec<u8> {
        attribute(kind, &value.to_be_bytes())
    }

    fn start(status: u32) -> Vec<u8> {
        packet(
            4,
            7,
            &[
                number(40, status),
                attribute(1, b"alice"),
                attribute(4, &[192, 0, 2, 1]),
                attribute(8, &[10, 8, 0, 5]),
                attribute(31, b"198.51.100.7"),
                attribute(44, b"5F00A1"),
                number(41, 2),
            ],
        )
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        let mut analyzer = (RADIUS.analyzer)();
        let mut events = Events::default();
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            let at = testkit::at(10_000 + i);
            analyzer.on_pdu(&Pdu { at, dir: *dir, bytes, carrier: Carrier::Datagram, missing: 0 }, &mut events);
        }
        analyzer.on_close(testkit::at(20_000), &mut events);
        events.drain().collect()
    }

    /// Who, where, inside where, worth what.
    fn claims(events: &[Event]) -> Vec<(&str, String, Option<String>, Stay, Sureness)> {
        let told = |e: &'_ Event| match &e.kind {
            EventKind::Claim(claim) => {
                let Whereabouts::Address(place) = claim.place else { panic!("an end") };
                let name: &str = claim.identity.name.clone().leak();
                Some((name, place.to_string(), claim.inner.map(|ip| ip.to_string()), claim.stay, claim.sureness))
            }
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&RADIUS, Carrier::Datagram, orig, resp)
    }

    #[test]
    fn accounting_tells_who_is_outside_and_inside() {
        let events = run(&[(Orig, start(1)), (Resp, packet(5, 7, &[])), (Orig, start(2))]);
        let outside = |stay| ("alice", "198.51.100.7".into(), Some("10.8.0.5".into()), stay, Sureness::Accepted);
        let inside = |stay| ("alice", "10.8.0.5".into(), None, stay, Sureness::Accepted);
        let expected = [outside(Stay::Begins), inside(Stay::Begins), outside(Stay::Ends), inside(Stay::Ends)];
        assert_eq!(claims(&events), expected);
        // Two seconds of Acct-Delay-Time.
        assert_eq!(
            events.iter().find(|e| matches!(e.kind, EventKind::Claim(_))).map(|e| e.at),
            Some(testkit::at(8_000))
        );
        assert_eq!(
            (testkit::said(&events, SERVICE), testkit::said(&events, NAS)),
            (Some("accounting"), Some("192.0.2.1"))
        );
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn an_accepted_user_counts_and_a_rejected_one_is_nobody() {
        let ask = packet(1, 3, &[attribute(1, b"bob"), attribute(4, &[192, 0, 2, 1]), attribute(31, b"203.0.113.9")]);
        let accept = packet(2, 3, &[attribute(8, &[10, 8, 0, 9])]);
        let told = run(&[(Orig, ask.clone()), (Resp, accept)]);
        let names: Vec<_> = claims(&told).into_iter().map(|c| (c.1, c.4)).collect();
        assert_eq!(names, [("203.0.113.9".into(), Sureness::Accepted), ("10.8.0.9".into(), Sureness::Accepted)]);
        assert!(claims(&run(&[(Orig, ask.clone()), (Resp, packet(3, 3, &[]))])).is_empty());
        // Without an answer in the capture.
        let asked: Vec<_> = claims(&run(&[(Orig, ask)])).into_iter().map(|c| c.4).collect();
        assert_eq!(asked, [Sureness::Asked]);
    }

    #[test]
    fn places_are_read_in_the_forms_gateways_write_them() {
        for (text, expected) in [
            ("198.51.100.7", Some("198.51.100.7")),
            ("198.51.100.7:4500", Some("198.51.100.7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("00-14-22-E9-54-5E", None),
            ("0.0.0.0", None),
            ("+1 555 0100", None),
        ] {
            assert_eq!(address(text).map(|ip| ip.to_string()).as_deref(), expected, "{text}");
        }
        assert!(is_hardware_address("00-14-22-E9-54-5E") && is_hardware_address("985AEB898000"));
        assert!(!is_hardware_address("15550100") && !is_hardware_address("alice.example"));
        assert_eq!(
            prefix(&[0, 64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 5]).map(|ip| ip.to_string()).as_deref(),
            Some("2001:db8:0:5::")
        );
        let device = [&9u32.to_be_bytes()[..], &[1, 38], b"mdm-tlv=device-mac=00-14-22-e9-54-5e"].concat();
        let mut asked = Asked::default();
        asked.take(26, &device);
        assert_eq!(asked.devices, ["00-14-22-e9-54-5e"]);
        asked.take(79, b"\x02\x01\x00\x0e\x01carol@corp");
        assert_eq!(asked.user.as_deref(), Some("carol@corp"));
        asked.take(66, b"\x00203.0.113.77");
        assert_eq!(asked.outside.map(|ip| ip.to_string()).as_deref(), Some("203.0.113.77"));
    }

    #[test]
    fn only_what_holds_what_it_must_is_radius() {
        assert_eq!(probe(&start(1), b""), Probe::Match);
        assert_eq!(probe(&start(99), b""), Probe::NeedMore);
        assert_eq!(probe(b"", &packet(5, 7, &[])), Probe::NeedMore);
        assert_eq!(probe(&packet(43, 1, &[]), &packet(44, 1, &[])), Probe::Match);
        assert_eq!(probe(&packet(43, 1, &[]), &packet(44, 2, &[])), Probe::NeedMore);
        let mut wrong = start(1);
        for len in [wrong[3] - 1, wrong[3] + 1, wrong[3] - 9] {
            wrong[3] = len;
            assert_eq!(probe(&wrong, b""), Probe::NoMatch, "{len}");
        }
        let mut hollow = packet(1, 1, &[attribute(1, b"x")]);
        hollow[21] = 1;
        assert_eq!(probe(&hollow, b""), Probe::NoMatch);
        // A query of DNS and a packet of QUIC.
        assert_eq!(probe(b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01", b""), Probe::NoMatch);
        assert_eq!(probe(&[0x43; 60], b""), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            code in any::<u8>(), id in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..100,
        ) {
            let mut whole = packet(code, id, &[bytes]);
            whole.truncate(cut);
            probe(&whole, b"");
            run(&[(Orig, whole.clone()), (Resp, whole)]);
        }
    }
}
