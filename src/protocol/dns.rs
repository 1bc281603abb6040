//! DNS: which names were asked for and which addresses bear them. Also its cousins on one link, mDNS and LLMNR.
//!
//! Reads: messages over UDP, and over TCP with their length before them: header, question, answers. Emits: the first
//! question with its answer, one name for each address told, and whether the names asked for are a tunnel's messages;
//! on one link also claims (`mdns`, `llmnr`): there a machine answers for its own name. Does not: keep a cache, validate DNSSEC, or see
//! DNS over TLS, HTTPS or QUIC.
//!
//! Reference: RFC 1035, RFC 6895 (numbers), RFC 6762 (mDNS), RFC 4795 (LLMNR).

use crate::base::{Direction, Ends, IdentityKind, Reader, Stay, Timestamp, Whereabouts};
use crate::protocol::codec::tunnel_names::{Tunnel, TunnelNames};
use crate::protocol::codec::{Inbox, push_printable};
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};
use std::borrow::Cow;
use std::net::IpAddr;

/// The registry's entry.
pub(crate) static DNS: Protocol = Protocol {
    name: "dns",
    category: Category::Other,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[DNS_PORT],
    attributes: ATTRIBUTES,
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Dns::default()),
};

/// The registry's entry for multicast DNS.
pub(crate) static MDNS: Protocol = Protocol {
    name: "mdns",
    category: Category::Other,
    carriers: &[Carrier::Datagram],
    ports: &[MDNS_PORT],
    attributes: ATTRIBUTES,
    signs: &[],
    lasting: false,
    probe: |opening| probe_link(opening, MDNS_PORT),
    analyzer: || Box::new(Dns { link: Some("mdns"), ..Dns::default() }),
};

/// The registry's entry for link-local multicast name resolution.
pub(crate) static LLMNR: Protocol = Protocol {
    name: "llmnr",
    category: Category::Other,
    carriers: &[Carrier::Datagram],
    ports: &[LLMNR_PORT],
    attributes: ATTRIBUTES,
    signs: &[],
    lasting: false,
    probe: |opening| probe_link(opening, LLMNR_PORT),
    analyzer: || Box::new(Dns { link: Some("llmnr"), ..Dns::default() }),
};

const ATTRIBUTES: &[Key] = &[QUERY, QTYPE, RCODE, ANSWERS, ANNOUNCED, TUNNEL];
const QUERY: Key = "dns.query";
const QTYPE: Key = "dns.qtype";
const RCODE: Key = "dns.rcode";
const ANSWERS: Key = "dns.answers";
const TUNNEL: Key = "dns.tunnel";
const ANNOUNCED: Key = "dns.announced";

const DNS_PORT: u16 = 53;
const MDNS_PORT: u16 = 5353;
const LLMNR_PORT: u16 = 5355;
/// NetBIOS names travel in the same format and are none of ours.
const NETBIOS_PORT: u16 = 137;

/// Exchanges that are read before the flow is left alone: a resolver may use one port for many questions.
const EXCHANGES: u8 = 8;
/// Questions that may wait for their answers.
const PENDING: usize = 16;
/// Addresses told in `dns.answers`.
const ANSWERS_KEPT: usize = 4;
/// Claims of one message.
const CLAIMS: usize = 8;
/// Names told in `dns.announced`.
const ANNOUNCED_KEPT: usize = 8;
/// Messages without any exchange after which nothing more is expected.
const PATIENCE: u8 = 32;
/// Jumps of one compressed name. Each must go backwards, so there is an end anyway.
const JUMPS: u8 = 32;
/// A name has at most 255 bytes (RFC 1035, 2.3.4).
const NAME_LIMIT: usize = 255;
/// Records of one message that are read.
const RECORDS: u16 = 512;
/// Over TCP a message has its length before it.
const INBOX_LIMIT: usize = 65_535 + 2;

fn probe(opening: &Opening<'_>) -> Probe {
    let ports = [opening.ports.orig, opening.ports.resp];
    if ports.iter().any(|port| matches!(*port, NETBIOS_PORT | MDNS_PORT | LLMNR_PORT)) {
        return Probe::NoMatch;
    }
    let usual = ports.contains(&DNS_PORT);
    let read = |bytes| match opening.carrier {
        Carrier::Datagram => datagram(bytes, usual),
        Carrier::Stream | Carrier::Ip(_) => framed(bytes),
    };
    match [read(opening.sent.orig), read(opening.sent.resp)] {
        [Seen::Other, _] | [_, Seen::Other] => Probe::NoMatch,
        // On another port one message proves little: both ends must speak of the same question.
        [Seen::Whole(a), Seen::Whole(b)] if a.belongs_to(&b) => Probe::Match,
        [Seen::Whole(_), _] | [_, Seen::Whole(_)] if usual => Probe::Match,
        _ => Probe::NeedMore,
    }
}

fn probe_link(opening: &Opening<'_>, port: u16) -> Probe {
    if opening.ports.orig != port && opening.ports.resp != port {
        return Probe::NoMatch;
    }
    let newest = *opening.sent.of(opening.newest);
    // mDNS announces without a question, so a whole message is what tells.
    match Message::read(newest) {
        Some(message) if message.whole => Probe::Match,
        _ => Probe::NoMatch,
    }
}

enum Seen<'a> {
    Nothing,
    Whole(Message<'a>),
    Other,
}

/// `lenient`: the datagram may be cut behind its question.
fn datagram(bytes: &[u8], lenient: bool) -> Seen<'_> {
    if bytes.is_empty() {
        return Seen::Nothing;
    }
    match Message::read(bytes) {
        Some(message) if message.questions == 1 && (message.whole || lenient) => Seen::Whole(message),
        _ => Seen::Other,
    }
}

/// The first message of a stream.
fn framed(bytes: &[u8]) -> Seen<'_> {
    let mut reader = Reader::new(bytes);
    match reader.u16() {
        None => return Seen::Nothing,
        // Header and the shortest question.
        Some(length) if length < 17 => return Seen::Other,
        Some(_) => {}
    }
    match Reader::new(bytes).block_u16() {
        None if reader.len() >= 4 && !Header::read(reader.rest()).is_none_or(|h| h.is_plausible()) => Seen::Other,
        None => Seen::Nothing,
        Some(message) => datagram(message.rest(), false),
    }
}

/// The fixed part of a message (RFC 1035, 4.1.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    id: u16,
    flags: u16,
    /// Questions, answers, authorities, additionals.
    counts: [u16; 4],
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = reader.u16()?;
        }
        Some(Self { id, flags, counts })
    }

    const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    const fn rcode(&self) -> u8 {
        self.flags.to_be_bytes()[1] & 15
    }

    /// Opcode 0 to 5, reserved bit zero, counts as a sane sender sets them.
    const fn is_plausible(&self) -> bool {
        let opcode = (self.flags >> 11) & 15;
        let [questions, answers, authorities, additionals] = self.counts;
        let asks_only = self.is_response() || (self.flags & 15 == 0 && (opcode != 0 || questions > 0));
        opcode <= 5
            && self.flags & 0x0040 == 0
            && asks_only
            && questions <= 64
            && answers <= RECORDS
            && authorities <= RECORDS
            && additionals <= RECORDS
    }
}

/// A message as far as it concerns us.
#[derive(Debug, Clone)]
struct Message<'a> {
    bytes: &'a [u8],
    header: Header,
    /// Questions the header counts.
    questions: u16,
    /// The first question, and where the answers begin.
    name: String,
    kind: u16,
    records_at: usize,
    /// Every record could be read and nothing follows the last.
    whole: bool,
}

/// One resource record.
#[derive(Debug)]
struct Record<'a> {
    owner: String,
    kind: u16,
    /// In mDNS the top bit marks what is one machine's own.
    class: u16,
    /// Time to live.
    seconds: u32,
    value: &'a [u8],
    /// Offset of `value` in the message, to undo compression in it.
    value_at: usize,
}

impl<'a> Message<'a> {
    /// `None` if the header is not plausible or the questions cannot be read.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::read(bytes).filter(Header::is_plausible)?;
        let mut at = 12;
        let (mut name, mut kind) = (String::new(), 0);
        for i in 0..header.counts[0] {
            let (asked, after) = read_name(bytes, at)?;
            let mut reader = Reader::new(bytes.get(after..)?);
            let (asked_kind, class) = (reader.u16()?, reader.u16()?);
            // Top bit: mDNS asks for a unicast answer.
            if asked_kind == 0 || !matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255) || is_netbios(&asked, asked_kind) {
                return None;
            }
            if i == 0 {
                (name, kind) = (asked, asked_kind);
            }
            at = after + 4;
        }
        let mut message = Self { bytes, header, questions: header.counts[0], name, kind, records_at: at, whole: false };
        message.whole = message.is_whole();
        Some(message)
    }

    fn is_whole(&self) -> bool {
        let [_, a, b, c] = self.header.counts.map(usize::from);
        let mut at = self.records_at;
        for _ in 0..a + b + c {
            let Some((_, after)) = read_record(self.bytes, at) else { return false };
            at = after;
        }
        at == self.bytes.len()
    }

    /// The records of the answer section, as far as they can be read.
    fn answers(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        self.records().take(usize::from(self.header.counts[1]))
    }

    /// The records of all sections, as far as they can be read.
    fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let (bytes, mut at) = (self.bytes, self.records_at);
        let [_, a, b, c] = self.header.counts.map(usize::from);
        (0..a + b + c).map_while(move |_| {
            let (record, after) = read_record(bytes, at)?;
            at = after;
            Some(record)
        })
    }

    /// Whether the two are question and answer.
    fn belongs_to(&self, other: &Message<'_>) -> bool {
        self.header.id == other.header.id
            && self.header.is_response() != other.header.is_response()
            && self.kind == other.kind
            && self.name.eq_ignore_ascii_case(&other.name)
    }
}

/// 32 letters from A to P, asked for with type NB or NBSTAT: a NetBIOS name (RFC 1002).
fn is_netbios(name: &str, kind: u16) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    matches!(kind, 32 | 33) && first.len() == 32 && first.bytes().all(|b| (b'A'..=b'P').contains(&b))
}

/// A name in dotted form without the last dot, and the offset behind it.
fn read_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut after, mut jumps) = (start, None, 0u8);
    // Room for most names.
    let (mut name, mut length) = (String::with_capacity(32), 0usize);
    loop {
        let size = usize::from(*message.get(at)?);
        match size {
            0 => return Some((name, after.unwrap_or(at + 1))),
            1..=63 => {
                length += size + 1;
                if length > NAME_LIMIT {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                push_printable(&mut name, message.get(at + 1..at + 1 + size)?, 63);
                at += 1 + size;
            }
            192.. => {
                let low = usize::from(*message.get(at + 1)?);
                let target = (size & 0x3f) << 8 | low;
                after.get_or_insert(at + 2);
                jumps += 1;
                // Forwards, or onto itself, is no compression but a trap.
                if target >= at || jumps > JUMPS {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
    }
}

fn read_record(message: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let (owner, after) = read_name(message, at)?;
    let mut reader = Reader::new(message.get(after..)?);
    let (kind, class, seconds) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let value = reader.block_u16()?.rest();
    let value_at = after + 10;
    Some((Record { owner, kind, class, seconds, value, value_at }, value_at + value.len()))
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// The address in an A or AAAA record.
fn address(record: &Record<'_>) -> Option<IpAddr> {
    let mut reader = Reader::new(record.value);
    match (record.kind, record.value.len()) {
        (A, 4) => reader.array::<4>().map(IpAddr::from),
        (AAAA, 16) => reader.array::<16>().map(IpAddr::from),
        _ => None,
    }
}

/// A question that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    dir: Direction,
    id: u16,
    kind: u16,
}

#[derive(Debug)]
struct Dns {
    /// What its claims are called, where machines speak for themselves.
    link: Option<&'static str>,
    inboxes: Ends<Inbox>,
    pending: [Option<Waiting>; PENDING],
    exchanges: u8,
    messages: u8,
    names: TunnelNames,
    asked: bool,
    answered: bool,
    announced: bool,
    done: bool,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            link: None,
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            pending: [None; PENDING],
            exchanges: 0,
            messages: 0,
            names: TunnelNames::default(),
            asked: false,
            answered: false,
            announced: false,
            done: false,
        }
    }
}

impl Analyzer for Dns {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier == Carrier::Datagram {
            self.on_message(pdu.at, pdu.dir, pdu.bytes, events);
            return;
        }
        let mut inbox = std::mem::replace(self.inboxes.of_mut(pdu.dir), Inbox::new(0));
        if !inbox.push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "dns.beyond-buffer", events);
        }
        while !self.done {
            let mut reader = Reader::new(inbox.bytes());
            let Some(block) = reader.block_u16() else { break };
            let size = block.len() + 2;
            self.on_message(inbox.time_of(size - 1), pdu.dir, block.rest(), events);
            inbox.consume(size);
        }
        *self.inboxes.of_mut(pdu.dir) = inbox;
    }
}

impl Dns {
    fn on_message(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], events: &mut Events) {
        let Some(message) = Message::read(bytes) else {
            if self.exchanges == 0 {
                self.give_up(at, dir, "dns.malformed-message", events);
            }
            return;
        };
        if message.questions > 0 && !std::mem::replace(&mut self.asked, true) {
            events.attribute(at, dir, QUERY, message.name.as_str());
            events.attribute(at, dir, QTYPE, type_name(message.kind));
        }
        if message.header.is_response() {
            self.on_response(at, dir, &message, events);
        } else {
            if let Some(tunnel) = self.names.on_question(&message.name) {
                events.attribute(at, dir, TUNNEL, tunnel.name());
                if tunnel != Tunnel::Names {
                    events.application(at, dir, tunnel.name());
                }
            }
            self.pending.rotate_left(1);
            if let Some(newest) = self.pending.last_mut() {
                *newest = Some(Waiting { dir, id: message.header.id, kind: message.kind });
            }
        }
        self.messages = self.messages.saturating_add(1);
        if !self.done && (self.exchanges >= EXCHANGES || self.messages >= PATIENCE) {
            self.done = true;
            events.settled(at, dir);
        }
    }

    fn on_response(&mut self, at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
        let matches = |slot: &&mut Option<Waiting>| {
            slot.is_some_and(|w| w.dir == dir.flip() && w.id == message.header.id && w.kind == message.kind)
        };
        if self.pending.iter_mut().find(matches).and_then(Option::take).is_some() {
            self.exchanges += 1;
            if self.exchanges == 1 {
                events.confirmed(at, dir);
            }
        }
        let addresses = named_addresses(message);
        if !std::mem::replace(&mut self.answered, true) {
            events.attribute(at, dir, RCODE, rcode_name(message.header.rcode()));
            if !addresses.is_empty() {
                let first: Vec<_> = addresses.iter().take(ANSWERS_KEPT).map(ToString::to_string).collect();
                events.attribute(at, dir, ANSWERS, first.join(","));
            }
        }
        match self.link {
            // Not a name that somebody was asked for, but one that a machine gives itself.
            Some(link) => claim_own(at, dir, link, message, events),
            None => addresses.into_iter().for_each(|address| events.name(at, dir, address, message.name.as_str())),
        }
        if message.questions == 0 && !self.announced {
            self.announced = true;
            announce(at, dir, message, events);
        }
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        self.done = true;
        events.violation(at, dir, fault);
        events.settled(at, dir);
    }
}

/// On one link a machine tells its own addresses: in mDNS with the mark of a record that is nobody else's (RFC 6762,
/// 10.2), in LLMNR as the answer to its name (RFC 4795, 2.4). A time to live of 0 takes it back (RFC 6762, 10.1).
fn claim_own(at: Timestamp, dir: Direction, link: &'static str, message: &Message<'_>, events: &mut Events) {
    let own = |record: &Record<'_>| match link {
        "mdns" => record.class & 0x8000 != 0,
        _ => message.questions == 1 && record.owner.eq_ignore_ascii_case(&message.name),
    };
    let told = message.records().filter(own).filter_map(|record| Some((address(&record)?, record)));
    for (address, record) in told.filter(|(address, _)| is_somebody_s(*address)).take(CLAIMS) {
        let name = record.owner.strip_suffix(".local").unwrap_or(&record.owner);
        if !name.is_empty() {
            let stay = if record.seconds == 0 { Stay::Ends } else { Stay::Goes };
            let claim = Claim::new(link, Whereabouts::Address(address), IdentityKind::Host, name);
            events.claim(at, dir, Claim { stay, ..claim });
        }
    }
}

/// Addresses that tell one machine from another beyond its link.
fn is_somebody_s(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// The names that records stand under where nobody asked: in mDNS a device tells so which services it has.
fn announce(at: Timestamp, dir: Direction, message: &Message<'_>, events: &mut Events) {
    let mut names: Vec<String> = Vec::new();
    for record in message.answers() {
        if names.len() < ANNOUNCED_KEPT && !record.owner.is_empty() && !names.contains(&record.owner) {
            names.push(record.owner);
        }
    }
    if !names.is_empty() {
        events.attribute(at, dir, ANNOUNCED, names.join(","));
    }
}

/// The addresses of the name asked for, also behind aliases; a record of any other name counts for nothing.
fn named_addresses(message: &Message<'_>) -> Vec<IpAddr> {
    if message.questions != 1 {
        return Vec::new();
    }
    let mut aliases = vec![message.name.clone()];
    let mut addresses = Vec::new();
    // Records may stand in any order, so a second pass catches aliases that came late.
    for _ in 0..2 {
        addresses.clear();
        for record in message.answers() {
            if !aliases.iter().any(|alias| alias.eq_ignore_ascii_case(&record.owner)) {
                continue;
            }
            if record.kind == CNAME && aliases.len() < usize::from(JUMPS) {
                aliases.extend(read_name(message.bytes, record.value_at).map(|(target, _)| target));
            }
            addresses.extend(address(&record));
        }
    }
    addresses
}

/// Mnemonic of a query type (IANA DNS parameters).
fn type_name(kind: u16) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        A => "A",
        2 => "NS",
        CNAME => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        AAAA => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        _ => return Cow::Owned(format!("TYPE{kind}")),
    })
}

/// Mnemonic of a response code.
fn rcode_name(rcode: u8) -> Cow<'static, str> {
    Cow::Borrowed(match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => return Cow::Owned(format!("RCODE{rcode}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn name(dotted: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in dotted.split('.').filter(|l| !l.is_empty()) {
            out.push(u8::try_from(label.len()).unwrap());
            out.extend(label.bytes());
        }
        out.push(0);
        out
    }

    fn question(id: u16, asked: &str, kind: u8) -> Vec<u8> {
        let mut out = id.to_be_bytes().to_vec();
        out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend(name(asked));
        out.extend([0, kind, 0, 1]);
        out
    }

    fn record(owner: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
        let mut out = owner.to_vec();
        out.extend([0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(value.len()).unwrap()]);
        out.extend(value);
        out
    }

    fn answer(id: u16, asked: &str, kind: u8, records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = question(id, asked, kind);
        out[2] = 0x81;
        out[3] = 0x80;
        out[7] = u8::try_from(records.len()).unwrap();
        out.extend(records.concat());
        out
    }

    /// An alias, its address by compressed name, and an address of somebody else's.
    fn aliased(id: u16) -> Vec<u8> {
        let owner = [0xc0, 12];
        answer(
            id,
            "www.example.com",
            1,
            &[
                record(&owner, 5, &[3, b'c', b'd', b'n', 0xc0, 16]),
                record(&name("CDN.example.com"), 1, &[192, 0, 2, 1]),
                record(&name("other.example"), 1, &[192, 0, 2, 66]),
            ],
        )
    }

    fn told(events: &[Event]) -> Vec<String> {
        events
            .iter()
            .map(|e| match &e.kind {
                EventKind::Attribute { key, value } => format!("{key}={value}"),
                EventKind::Name { address, name } => format!("{address} is {name}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn probe(ports: (u16, u16), orig: &[u8], resp: &[u8]) -> Probe {
        let opening = Opening {
            carrier: Carrier::Datagram,
            sent: Ends { orig, resp },
            before: &[],
            newest: if resp.is_empty() { Orig } else { Resp },
            ports: Ends { orig: ports.0, resp: ports.1 },
        };
        (DNS.probe)(&opening)
    }

    #[test]
    fn an_address_bears_the_name_asked_for_also_behind_an_alias() {
        let (ask, reply) = (question(7, "www.example.com", 1), aliased(7));
        let events = testkit::datagrams(&DNS, &[(Orig, &ask), (Resp, &reply)]);
        let expected = [
            "dns.query=www.example.com",
            "dns.qtype=A",
            "Confirmed",
            "dns.rcode=NOERROR",
            "dns.answers=192.0.2.1",
            "192.0.2.1 is www.example.com",
        ];
        assert_eq!(told(&events), expected);
    }

    fn claims(protocol: &Protocol, turns: &[Turn<'_>]) -> Vec<String> {
        let told = |e: &Event| match &e.kind {
            EventKind::Claim(c) => Some(format!("{} {:?} {:?} {}", c.identity.name, c.place, c.stay, c.source)),
            EventKind::Name { .. } => panic!("{e:?}"),
            _ => None,
        };
        testkit::datagrams(protocol, turns).iter().filter_map(told).collect()
    }

    /// RFC 6762, 10.2 and 10.1: the mark of a record that is nobody else's, and the end of one.
    #[test]
    fn on_one_link_a_machine_says_its_own_name() {
        let own = |seconds: u8, class: u8, ip: [u8; 4]| {
            let mut record = record(&name("pc7.local"), 1, &ip);
            (record[13], record[18]) = (class, seconds);
            let head = [0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            [&head[..], &record].concat()
        };
        for (message, expected) in [
            (own(120, 0x80, [192, 168, 1, 20]), &["pc7 Address(192.168.1.20) Goes mdns"][..]),
            (own(0, 0x80, [192, 168, 1, 20]), &["pc7 Address(192.168.1.20) Ends mdns"]),
            // Shared by many; of this link only; of this machine only.
            (own(120, 0, [192, 168, 1, 20]), &[]),
            (own(120, 0x80, [169, 254, 1, 20]), &[]),
            (own(120, 0x80, [127, 0, 0, 1]), &[]),
        ] {
            assert_eq!(claims(&MDNS, &[(Orig, &message)]), expected);
        }
        let reply = answer(7, "PC7", 1, &[record(&name("pc7"), 1, &[192, 168, 1, 20])]);
        assert_eq!(claims(&LLMNR, &[(Orig, &question(7, "PC7", 1))]), [""; 0]);
        assert_eq!(claims(&LLMNR, &[(Orig, &reply)]), ["pc7 Address(192.168.1.20) Goes llmnr"]);
        let other = answer(7, "PC7", 1, &[record(&name("gateway"), 1, &[192, 168, 1, 1])]);
        assert_eq!(claims(&LLMNR, &[(Orig, &other)]), [""; 0]);
    }

    #[test]
    fn eight_exchanges_are_read() {
        let pairs: Vec<_> = (0..9).map(|i| (question(i, "a.example", 28), answer(i, "a.example", 28, &[]))).collect();
        let turns: Vec<Turn<'_>> = pairs.iter().flat_map(|(q, a)| [(Orig, &q[..]), (Resp, &a[..])]).collect();
        let events = testkit::datagrams(&DNS, &turns);
        let settled = events.iter().find(|e| e.kind == EventKind::Settled).unwrap();
        assert_eq!(settled.at, testkit::at(15));
    }

    #[test]
    fn a_response_to_nobody_is_told_but_not_confirmed() {
        let (ask, reply) = (question(7, "www.example.com", 1), aliased(8));
        let told = told(&testkit::datagrams(&DNS, &[(Orig, &ask), (Resp, &reply)]));
        assert!(!told.contains(&"Confirmed".to_owned()) && told.contains(&"dns.rcode=NOERROR".to_owned()));
    }

    #[test]
    fn another_port_needs_both_ends() {
        let (ask, reply) = (question(7, "www.example.com", 1), aliased(7));
        assert_eq!(probe((5000, 53), &ask, b""), Probe::Match);
        assert_eq!(probe((5000, 53), b"", &reply), Probe::Match);
        assert_eq!(probe((5000, 5001), &ask, b""), Probe::NeedMore);
        assert_eq!(probe((5000, 5001), &ask, &reply), Probe::Match);
        assert_eq!(probe((5000, 5001), &ask, &aliased(9)), Probe::NeedMore);
        assert_eq!(probe((5000, 5001), &[&ask[..], b"x"].concat(), b""), Probe::NoMatch);
        assert_eq!(probe((137, 137), &ask, b""), Probe::NoMatch);
        let netbios = question(7, "CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 33);
        assert_eq!(probe((5000, 53), &netbios, b""), Probe::NoMatch);
        assert_eq!(probe((5000, 53), b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x10\0\0", b""), Probe::NoMatch);
    }

    #[test]
    fn a_name_cannot_lead_in_circles() {
        let mut looping = question(1, "", 1);
        looping.splice(12..13, [0xc0, 12]);
        assert!(Message::read(&looping).is_none());
        let mut forward = question(1, "", 1);
        forward.splice(12..13, [0xc0, 14, 0]);
        assert!(Message::read(&forward).is_none());
        let long = question(1, &["a".repeat(63).as_str(); 4].join("."), 1);
        assert!(Message::read(&long).is_none());
    }

    #[test]
    fn the_link_has_names_of_its_own() {
        let ask = question(0, "_http._tcp.local", 12);
        let opening = |port| Opening {
            carrier: Carrier::Datagram,
            sent: Ends { orig: &ask[..], resp: &[] },
            before: &[],
            newest: Orig,
            ports: Ends { orig: port, resp: port },
        };
        assert_eq!((MDNS.probe)(&opening(5353)), Probe::Match);
        assert_eq!((LLMNR.probe)(&opening(5355)), Probe::Match);
        assert_eq!((LLMNR.probe)(&opening(5353)), Probe::NoMatch);
        assert_eq!((DNS.probe)(&opening(5353)), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..80) {
            let frame = |m: Vec<u8>| [&u16::try_from(m.len()).unwrap().to_be_bytes()[..], &m].concat();
            let (ask, reply) = (frame(question(7, "www.example.com", 1)), frame(aliased(7)));
            let turns: [Turn<'_>; 4] = [(Orig, &ask), (Resp, &reply), (Orig, &ask), (Resp, &reply)];
            let whole = testkit::stream(&DNS, &turns, usize::MAX);
            prop_assert!(told(&whole).contains(&"Confirmed".to_owned()));
            prop_assert_eq!(testkit::stream(&DNS, &turns, piece), whole);
            prop_assert_eq!(testkit::probe(&DNS, Carrier::Stream, &ask, &reply), Probe::Match);
        }

        #[test]
        fn random_bytes_never_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..60),
            flips in proptest::collection::vec((0usize..120, any::<u8>()), 0..6),
        ) {
            let mut reply = aliased(7);
            for (at, value) in flips {
                if let Some(byte) = reply.get_mut(at) {
                    *byte = value;
                }
            }
            reply.extend(&tail);
            testkit::datagrams(&DNS, &[(Orig, &question(7, "www.example.com", 1)), (Resp, &reply), (Orig, &tail)]);
            testkit::stream(&DNS, &[(Resp, &reply), (Orig, &tail)], 7);
            probe((5000, 53), &tail, &reply);
        }
    }
}
