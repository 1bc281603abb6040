//! DHCP for IPv4: how a device names itself when it asks for an address.
//!
//! Reads: BOOTP messages with DHCP's cookie, and their options. Emits: host name, vendor class, client identifier,
//! hardware address, the address asked for and the one given; claims (`dhcp`) of the
//! device and its names at the address that the server acknowledged. Does not: read DHCPv6, options that overflow into the
//! name fields, or the parameter request list; or tell apart the devices whose questions share one flow.
//!
//! Reference: RFC 2131, RFC 2132; RFC 4702 (client FQDN).

use crate::base::{Direction, IdentityKind, Reader, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};
use std::net::Ipv4Addr;

/// The registry's entry.
pub(crate) static DHCP: Protocol = Protocol {
    name: "dhcp",
    category: Category::Identity,
    carriers: &[Carrier::Datagram],
    ports: &[67, 68],
    attributes: &[TYPE, HOST_NAME, FQDN, VENDOR_CLASS, CLIENT_ID, HARDWARE, REQUESTED, ADDRESS, SERVER],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Dhcp::default()),
};

const TYPE: Key = "dhcp.message_type";
const HOST_NAME: Key = "dhcp.host_name";
const FQDN: Key = "dhcp.fqdn";
const VENDOR_CLASS: Key = "dhcp.vendor_class";
const CLIENT_ID: Key = "dhcp.client_id";
const HARDWARE: Key = "dhcp.client_hardware";
const REQUESTED: Key = "dhcp.requested_address";
const ADDRESS: Key = "dhcp.address";
const SERVER: Key = "dhcp.server";

/// What stands before DHCP's options (RFC 2132, 2).
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// BOOTP's fixed part.
const FIXED_LEN: usize = 236;
/// Name of the server's host and of the boot file.
const NAMES_LEN: usize = 64 + 128;
/// A hardware address has at most 16 bytes.
const HARDWARE_LEN: usize = 16;
/// Most messages read of one flow.
const MESSAGES: u8 = 8;
/// Characters of a value that are kept: the length of an option is one byte.
const TEXT_KEPT: usize = 255;
/// DHCP message types (RFC 2132, 9.6).
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
/// The name stands behind flags and two result codes.
const FQDN_HEAD: usize = 3;

fn probe(opening: &Opening<'_>) -> Probe {
    if Message::read(opening.sent.of(opening.newest)).is_some() { Probe::Match } else { Probe::NoMatch }
}

struct Message<'a> {
    is_request: bool,
    xid: u32,
    /// The address that the client has already.
    present: Ipv4Addr,
    /// The address given, in a reply.
    yours: Ipv4Addr,
    hardware: &'a [u8],
    options: Reader<'a>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let op = reader.u8().filter(|op| matches!(op, 1 | 2))?;
        if bytes.get(FIXED_LEN..)?.first_chunk::<4>() != Some(&COOKIE) {
            return None;
        }
        let _kind = reader.u8()?;
        let hardware_len = reader.u8().map(usize::from).filter(|len| *len <= HARDWARE_LEN)?;
        let _hops = reader.u8()?;
        let xid = reader.u32()?;
        // Seconds, flags.
        reader.take(4)?;
        let present = Ipv4Addr::from(reader.array::<4>()?);
        let yours = Ipv4Addr::from(reader.array::<4>()?);
        // Addresses of the next server and of the relay.
        reader.take(8)?;
        let hardware = reader.take(HARDWARE_LEN)?.get(..hardware_len)?;
        reader.take(NAMES_LEN + COOKIE.len())?;
        Some(Self { is_request: op == 1, xid, present, yours, hardware, options: reader })
    }
}

/// The next option; nothing at the end or where a length leads beyond it.
fn option<'a>(options: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    loop {
        match options.u8()? {
            0 => {}
            255 => return None,
            code => return Some((code, options.block_u8()?.rest())),
        }
    }
}

/// The name in a client FQDN option, as labels with their lengths or, of old clients, as text (RFC 4702, 2.1 and 2.3).
/// A name that is not qualified has no last, empty label.
fn full_name(value: &[u8]) -> Option<String> {
    const ENCODED: u8 = 4;
    let (head, name) = value.split_at_checked(FQDN_HEAD)?;
    if head.first()? & ENCODED == 0 {
        return Some(printable(name, TEXT_KEPT)).filter(|name| !name.is_empty());
    }
    let (mut reader, mut text) = (Reader::new(name), String::new());
    while let Some(label) = reader.block_u8().filter(|label| (1..=63).contains(&label.len())) {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&printable(label.rest(), 63));
    }
    Some(text).filter(|text| !text.is_empty())
}

#[derive(Debug, Default)]
struct Dhcp {
    /// The question that waits for its answer.
    asked: Option<u32>,
    /// The request for an address that waits for its acknowledgement.
    waiting: Option<Lease>,
    confirmed: bool,
    /// A message that was none has been told of.
    malformed: bool,
    messages: u8,
}

impl Analyzer for Dhcp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let (at, dir) = (pdu.at, pdu.dir);
        let Some(message) = Message::read(pdu.bytes) else {
            if !std::mem::replace(&mut self.malformed, true) {
                events.violation(at, dir, "dhcp.malformed-message");
            }
            return self.count(at, dir, events);
        };
        tell(at, dir, &message, events);
        self.claim(at, dir, &message, events);
        if message.is_request {
            self.asked = Some(message.xid);
        } else if self.asked == Some(message.xid) && !self.confirmed {
            self.confirmed = true;
            events.confirmed(at, dir);
        }
        self.count(at, dir, events);
    }

    fn on_close(&mut self, _at: Timestamp, events: &mut Events) {
        self.wait_no_longer(events);
    }
}

impl Dhcp {
    fn count(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.messages += 1;
        if self.messages >= MESSAGES {
            self.wait_no_longer(events);
            events.settled(at, dir);
        }
    }
}

impl Dhcp {
    /// Who is at the address that is acknowledged: the device that the message names, and the name of its request.
    fn claim(&mut self, at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
        let lease = Lease::read(at, dir, message);
        match (message.is_request, lease.kind) {
            (true, REQUEST) => {
                self.wait_no_longer(events);
                self.waiting = Some(lease);
            }
            (false, ACK | NAK) => {
                let asked = self.waiting.take_if(|asked| asked.xid == lease.xid && asked.device == lease.device);
                if lease.kind == ACK {
                    let (name, full_name) = asked.map(|asked| (asked.name, asked.full_name)).unwrap_or_default();
                    let (name, full_name) = (lease.name.clone().or(name), lease.full_name.clone().or(full_name));
                    Lease { name, full_name, ..lease }.claim(Sureness::Accepted, events);
                }
            }
            _ => {}
        }
    }

    /// The answer was not in this flow: it goes to the address given, the question comes from none.
    fn wait_no_longer(&mut self, events: &mut Events) {
        if let Some(asked) = self.waiting.take() {
            asked.claim(Sureness::Asked, events);
        }
    }
}

/// What a message says of one device at one address.
#[derive(Debug)]
struct Lease {
    at: Timestamp,
    dir: Direction,
    xid: u32,
    kind: u8,
    address: Option<Ipv4Addr>,
    device: String,
    name: Option<String>,
    full_name: Option<String>,
}

impl Lease {
    fn read(at: Timestamp, dir: Direction, message: &Message<'_>) -> Self {
        let own = if message.is_request { message.present } else { message.yours };
        let mut lease = Self {
            at,
            dir,
            xid: message.xid,
            kind: 0,
            address: Some(own),
            device: hex(message.hardware),
            name: None,
            full_name: None,
        };
        let mut options = message.options;
        while let Some((code, value)) = option(&mut options) {
            match code {
                12 => lease.name = Some(printable(value, TEXT_KEPT)),
                81 => lease.full_name = full_name(value),
                50 if message.is_request => lease.address = value.first_chunk::<4>().map(|b| Ipv4Addr::from(*b)),
                53 => lease.kind = value.first().copied().unwrap_or(0),
                _ => {}
            }
        }
        lease.address = lease.address.filter(|address| !address.is_unspecified());
        lease.name = lease.name.filter(|name| !name.is_empty());
        lease
    }

    fn claim(self, sureness: Sureness, events: &mut Events) {
        let Some(address) = self.address else { return };
        let place = Whereabouts::Address(address.into());
        let device = Some(self.device).filter(|device| !device.is_empty());
        let names = [self.name, self.full_name].map(|name| (IdentityKind::Host, name));
        for (kind, name) in std::iter::once((IdentityKind::Device, device)).chain(names) {
            if let Some(name) = name {
                events.claim(self.at, self.dir, Claim::new("dhcp", place, kind, name).worth(sureness));
            }
        }
    }
}

fn tell(at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
    if !message.hardware.is_empty() {
        events.attribute(at, dir, HARDWARE, hex(message.hardware));
    }
    if !message.yours.is_unspecified() {
        events.attribute(at, dir, ADDRESS, message.yours.to_string());
    }
    let mut options = message.options;
    while let Some((code, value)) = option(&mut options) {
        let address = || value.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).to_string());
        let text = || Some(printable(value, TEXT_KEPT)).filter(|text| !text.is_empty());
        let told = match code {
            12 => (HOST_NAME, text()),
            50 => (REQUESTED, address()),
            53 => (TYPE, value.first().map(|kind| type_name(*kind).to_owned())),
            54 => (SERVER, address()),
            60 => (VENDOR_CLASS, text()),
            61 => (CLIENT_ID, Some(hex(value))),
            81 => (FQDN, full_name(value)),
            _ => continue,
        };
        if let (key, Some(value)) = told {
            events.attribute(at, dir, key, value);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// RFC 2132, 9.6.
const fn type_name(kind: u8) -> &'static str {
    match kind {
        1 => "discover",
        2 => "offer",
        3 => "request",
        4 => "decline",
        5 => "ack",
        6 => "nak",
        7 => "release",
        8 => "inform",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, said};
    use proptest::prelude::*;

    fn message(op: u8, xid: u32, yours: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut out = vec![op, 1, 6, 0];
        out.extend(xid.to_be_bytes());
        out.extend([0; 8]);
        out.extend(yours);
        out.extend([0; 8]);
        out.extend([0xdc, 0xa6, 0x32, 1, 2, 3]);
        out.resize(FIXED_LEN, 0);
        out.extend(COOKIE);
        out.extend(options);
        out
    }

    fn probe(bytes: &[u8]) -> Probe {
        testkit::probe(&DHCP, Carrier::Datagram, bytes, b"")
    }

    #[test]
    fn a_device_says_who_it_is() {
        let ask = message(
            1,
            7,
            [0; 4],
            b"\x35\x01\x03\0\0\x0c\x05pikvm\x3c\x06dhcpcd\x3d\x03\x01\xab\xcd\x32\x04\x0a\0\0\x09\x51\x07\0\0\0pi.x\xff\x0c\x01z",
        );
        let give = message(2, 7, [10, 0, 0, 9], b"\x35\x01\x05\x36\x04\x0a\0\0\x01\xff");
        assert_eq!(probe(&ask), Probe::Match);
        let events = testkit::datagrams(&DHCP, &[(Orig, &ask), (Resp, &give)]);
        for (key, value) in [
            (TYPE, "request"),
            (HOST_NAME, "pikvm"),
            (VENDOR_CLASS, "dhcpcd"),
            (CLIENT_ID, "01:ab:cd"),
            (REQUESTED, "10.0.0.9"),
            (FQDN, "pi.x"),
            (HARDWARE, "dc:a6:32:01:02:03"),
            (ADDRESS, "10.0.0.9"),
            (SERVER, "10.0.0.1"),
        ] {
            assert_eq!(said(&events, key), Some(value), "{key}");
        }
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
        let other = message(2, 8, [10, 0, 0, 9], b"");
        let events = testkit::datagrams(&DHCP, &[(Orig, &ask), (Resp, &other)]);
        assert!(!events.iter().any(|event| event.kind == EventKind::Confirmed));
    }

    fn claims(turns: &[(Direction, &[u8])]) -> Vec<(IdentityKind, String, Sureness)> {
        let mut analyzer = (DHCP.analyzer)();
        let mut events = Events::default();
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            let pdu = Pdu { at: testkit::at(i), dir: *dir, bytes, carrier: Carrier::Datagram, missing: 0 };
            analyzer.on_pdu(&pdu, &mut events);
        }
        analyzer.on_close(testkit::at(turns.len()), &mut events);
        let events: Vec<_> = events.drain().collect();
        let told = |kind: &EventKind| match kind {
            EventKind::Claim(c) if c.place == Whereabouts::Address([10, 0, 0, 9].into()) => {
                Some((c.identity.kind, c.identity.name.clone(), c.sureness))
            }
            EventKind::Claim(c) => panic!("{c:?}"),
            _ => None,
        };
        events.iter().filter_map(|event| told(&event.kind)).collect()
    }

    #[test]
    fn who_has_an_address_is_who_was_given_it() {
        let ask = message(1, 7, [0; 4], b"\x35\x01\x03\x0c\x02pi\x32\x04\x0a\0\0\x09\xff");
        let (ack, nak) = (b"\x35\x01\x05\xff", b"\x35\x01\x06\xff");
        let given = message(2, 7, [10, 0, 0, 9], ack);
        let of = |sureness| {
            let device = (IdentityKind::Device, "dc:a6:32:01:02:03".to_owned(), sureness);
            vec![device, (IdentityKind::Host, "pi".to_owned(), sureness)]
        };
        assert_eq!(claims(&[(Orig, &ask), (Resp, &given)]), of(Sureness::Accepted));
        assert_eq!(claims(&[(Orig, &ask)]), of(Sureness::Asked));
        assert!(claims(&[(Orig, &ask), (Resp, &message(2, 7, [0; 4], nak))]).is_empty());
        // An acknowledgement of another question gives the device of that one only.
        let other = message(2, 8, [10, 0, 0, 9], ack);
        let accepted: Vec<_> = of(Sureness::Accepted).into_iter().take(1).collect();
        assert_eq!(claims(&[(Orig, &ask), (Resp, &other)]), [accepted, of(Sureness::Asked)].concat());
        // The full name, as labels with their lengths or as text.
        for option in [&b"\x51\x0c\x04\0\0\x02pi\x04corp\0\xff"[..], b"\x51\x0a\0\0\0pi.corp\xff"] {
            let ask = message(1, 7, [0; 4], &[&b"\x35\x01\x03\x32\x04\x0a\0\0\x09"[..], option].concat());
            let full = (IdentityKind::Host, "pi.corp".to_owned(), Sureness::Accepted);
            assert_eq!(claims(&[(Orig, &ask), (Resp, &given)]).last(), Some(&full));
        }
        // Neither a look for servers nor an offer says where anybody is.
        let discover = message(1, 7, [0; 4], b"\x35\x01\x01\x0c\x02pi\x32\x04\x0a\0\0\x09\xff");
        let offer = message(2, 7, [10, 0, 0, 9], b"\x35\x01\x02\xff");
        assert!(claims(&[(Orig, &discover), (Resp, &offer)]).is_empty());
    }

    #[test]
    fn bootp_without_the_cookie_and_others_are_not_dhcp() {
        let mut plain = message(1, 7, [0; 4], b"");
        plain[FIXED_LEN] = 0;
        let mut odd = message(3, 7, [0; 4], b"");
        assert_eq!((probe(&plain), probe(&odd), probe(&odd[..100])), (Probe::NoMatch, Probe::NoMatch, Probe::NoMatch));
        odd[0] = 2;
        odd[2] = 17;
        assert_eq!((probe(&odd), probe(b"")), (Probe::NoMatch, Probe::NoMatch));
        // TFTP, DNS and a port scan.
        assert_eq!(probe(b"\0\x01pxelinux.0\0octet\0"), Probe::NoMatch);
        assert_eq!(probe(&[1; 300]), Probe::NoMatch);
    }

    /// Found by fuzzing.
    #[test]
    fn what_is_no_message_is_told_once_and_ends_it() {
        let junk: Vec<testkit::Turn<'_>> = vec![(Orig, b"junk"); 2 * usize::from(MESSAGES)];
        let events = testkit::datagrams(&DHCP, &junk);
        let faults = events.iter().filter(|event| matches!(event.kind, EventKind::Violation(_))).count();
        assert_eq!(faults, 1);
        assert_eq!(events.get(1).map(|event| &event.kind), Some(&EventKind::Settled));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(options in proptest::collection::vec(any::<u8>(), 0..60), cut in 0usize..300) {
            let mut bytes = message(1, 1, [0; 4], &options);
            bytes.truncate(cut);
            testkit::datagrams(&DHCP, &[(Orig, &bytes), (Resp, &options)]);
            probe(&bytes);
        }
    }
}
