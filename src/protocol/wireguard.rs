//! WireGuard and Tailscale, which speaks WireGuard and its own disco on one socket: who opens a tunnel, and its round
//! trips.
//!
//! Reads: message types, lengths, sender and receiver indices, whether MAC2 is set; the disguises whose indices still
//! tell (AmneziaWG, Cloudflare WARP); disco's magic, keys and lengths. Emits: the closed loops of each handshake and of
//! disco's pings; the indices chosen by the responder, by which flows of a peer that roams meet. Does not: decrypt.
//!
//! Stays attached for the whole flow, since each rekey (every two minutes) gives two more round trips and one more
//! index; a data message costs one look at its first byte and, only while a response waits for its answer, one at its
//! index. In disguise a message costs a look at its length and at its last bytes.
//!
//! Reference: Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel" (NDSS 2017), 5.4; AmneziaWG's README
//! (junk packets, S1, S2, H1 to H4); Tailscale's sources, `disco/disco.go`.

use crate::base::{Direction, Ends, Layer, Reader, Timestamp};
use crate::protocol::{
    Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol, Said, Shows, Sign,
};

/// The registry's entry.
pub(crate) static WIREGUARD: Protocol = Protocol {
    name: "wireguard",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[51_820],
    attributes: &[VARIANT, COOKIE],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(WireGuard::default()),
};

/// Tailscale, and what else speaks disco (Headscale's clients are Tailscale's own).
pub(crate) static TAILSCALE: Protocol = Protocol {
    name: "tailscale",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram],
    ports: &[41_641],
    // Its WireGuard is read by WireGuard's reader.
    attributes: &[VARIANT, COOKIE],
    signs: &[
        // The relays' names; the control server's and the site's tell only that somebody has it.
        Sign::new("tls.sni", Said::Glob("derp*.tailscale.com"), Shows::Likely),
        Sign::new("tls.sni", Said::Domain("tailscale.com"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("tailscale.io"), Shows::Mention),
        Sign::new("http.upgrade", Said::Exactly("DERP"), Shows::Certain),
        Sign::new("http.upgrade", Said::Exactly("tailscale-control-protocol"), Shows::Certain),
    ],
    lasting: true,
    probe: |opening| {
        if Disco::read(opening.sent.orig).or(Disco::read(opening.sent.resp)).is_some() {
            Probe::Match
        } else {
            Probe::NoMatch
        }
    },
    analyzer: || Box::new(Tailscale::default()),
};

const VARIANT: Key = "wireguard.variant";
const COOKIE: Key = "wireguard.cookie";

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE_REPLY: u8 = 3;
const DATA: u8 = 4;

const INITIATION_LEN: usize = 148;
const RESPONSE_LEN: usize = 92;
const COOKIE_REPLY_LEN: usize = 64;
/// Padding stops at the tunnel's MTU, so a large message may end anywhere; no tunnel has an MTU of less than this.
const UNPADDED: usize = 576;
/// A data message holds a header of 16 and a tag of 16 bytes around a payload padded to 16.
const KEEPALIVE_LEN: usize = 32;

/// Initiations that are kept while no response names one; they are 5 s apart and given up after 90 s.
const PENDING: usize = 4;
/// Nobody has sent so many packets in one session that its counter is larger: a session ends after 2^60 messages by
/// rule and after 180 s in fact. Keeps other formats with a 4 in front out.
const COUNTER_LIMIT: u64 = 1 << 40;

fn probe(opening: &Opening<'_>) -> Probe {
    match probe_plain(opening) {
        Probe::NoMatch => probe_masked(opening.sent),
        other => other,
    }
}

/// With a disguise, only an answer that names what it answers tells.
fn probe_masked(sent: Ends<&[u8]>) -> Probe {
    let pairs = [(sent.orig, sent.resp), (sent.resp, sent.orig)];
    let matched = pairs.iter().any(|(asked, answer)| {
        Masked::initiation(asked, 0).is_some_and(|(mask, sender)| mask.response(answer, 0, sender).is_some())
    });
    let may_be = pairs.iter().any(|(bytes, _)| Masked::initiation(bytes, 0).is_some());
    match (matched, may_be) {
        (true, _) => Probe::Match,
        (false, true) => Probe::NeedMore,
        (false, false) => Probe::NoMatch,
    }
}

fn probe_plain(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (Message::read(opening.sent.orig, 0), Message::read(opening.sent.resp, 0));
    let either = |message: &Option<Message>, bytes: &[u8]| message.is_some() || bytes.is_empty();
    if !either(&orig, opening.sent.orig) || !either(&resp, opening.sent.resp) {
        return Probe::NoMatch;
    }
    match (orig, resp) {
        (Some(a), Some(b)) if a.kind == DATA && b.kind == DATA => {
            if a.plain && b.plain {
                Probe::Match
            } else {
                Probe::NoMatch
            }
        }
        (Some(a), Some(b)) if answers(&b, &a) || answers(&a, &b) => Probe::Match,
        // A retransmitted initiation is newer than the one that was answered.
        (a, b) => match [a, b].into_iter().flatten().find(|m| matches!(m.kind, INITIATION | RESPONSE) && m.plain) {
            Some(_) => Probe::Match,
            None => Probe::NeedMore,
        },
    }
}

/// Whether `response` names `initiation` as what it answers.
fn answers(response: &Message, initiation: &Message) -> bool {
    initiation.kind == INITIATION && response.kind == RESPONSE && response.receiver == initiation.sender
}

/// The clear part of a message.
#[derive(Debug, Clone, Copy)]
struct Message {
    kind: u8,
    /// Reserved bytes and length are as they should be.
    plain: bool,
    /// On the wire, in bytes.
    len: usize,
    sender: u32,
    receiver: u32,
    /// MAC2 is set: its sender was given a cookie by a peer under load.
    cookie: bool,
}

impl Message {
    /// `None` if length and type do not go together. `missing` bytes were cut off by the snap length.
    fn read(bytes: &[u8], missing: u32) -> Option<Self> {
        let whole = bytes.len().saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let zero = reader.take(3)? == [0, 0, 0];
        let mut index = || reader.array().map(u32::from_le_bytes);
        let (sender, receiver) = match (kind, whole) {
            // Some providers pad the handshake to be less conspicuous; the echoed index still tells.
            (INITIATION, INITIATION_LEN..) => (index()?, 0),
            (RESPONSE, RESPONSE_LEN..) => (index()?, index()?),
            (COOKIE_REPLY, COOKIE_REPLY_LEN) => (0, index()?),
            (DATA, KEEPALIVE_LEN..) if whole % 16 == 0 || whole > UNPADDED => (0, index()?),
            _ => return None,
        };
        if kind == DATA && u64::from_le_bytes(reader.array()?) >= COUNTER_LIMIT {
            return None;
        }
        let exact = match kind {
            INITIATION => whole == INITIATION_LEN,
            RESPONSE => whole == RESPONSE_LEN,
            _ => true,
        };
        let mac2 = bytes.len().checked_sub(16).and_then(|at| bytes.get(at..)).unwrap_or_default();
        let cookie = missing == 0 && exact && matches!(kind, INITIATION | RESPONSE) && mac2.iter().any(|b| *b != 0);
        Some(Self { kind, plain: zero && exact, len: whole, sender, receiver, cookie })
    }
}

/// A disguise in which the indices can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Masked {
    /// AmneziaWG: random bytes before the handshake's messages, whose lengths the totals tell, and other types.
    Amnezia,
    /// Cloudflare WARP: the types have the two top bits of QUIC's long header, and messages are padded. Of the index
    /// in the response only the middle bytes are the initiation's (`vpn/ndpi__cloudflare-warp.pcap`).
    Warp,
}

impl Masked {
    /// The disguise of an initiation, and its sender's index.
    fn initiation(bytes: &[u8], missing: u32) -> Option<(Self, [u8; 4])> {
        if missing > 0 {
            return None;
        }
        let mut reader = Reader::new(bytes);
        if bytes.starts_with(&[0xc1, 0, 0, 0]) && bytes.len() >= INITIATION_LEN {
            reader.take(4)?;
            return Some((Self::Warp, reader.array()?));
        }
        reader.take(bytes.len().checked_sub(INITIATION_LEN).filter(|before| *before <= MASK_LIMIT)? + 4)?;
        no_mac2(bytes).then_some((Self::Amnezia, reader.array()?))
    }

    /// The index that a response to that initiation brings.
    fn response(self, bytes: &[u8], missing: u32, asked: [u8; 4]) -> Option<[u8; 4]> {
        let before = bytes.len().checked_sub(RESPONSE_LEN).filter(|_| missing == 0)?;
        let mut reader = Reader::new(bytes);
        if self == Self::Amnezia {
            reader.take(Some(before).filter(|before| *before <= MASK_LIMIT)?)?;
        }
        let kind = reader.u8()?;
        reader.take(3)?;
        let (sender, receiver): ([u8; 4], [u8; 4]) = (reader.array()?, reader.array()?);
        let fits = match (self, receiver, asked) {
            (Self::Amnezia, ..) => receiver == asked && no_mac2(bytes),
            (Self::Warp, [_, a, b, _], [_, c, d, _]) => kind == 0xc2 && [a, b] == [c, d] && [a, b] != [0, 0],
        };
        fits.then_some(sender)
    }
}

/// The longest prefix that AmneziaWG's tools let a message have (S1 and S2); from general knowledge.
const MASK_LIMIT: usize = 1_132;

/// Whether a message ends with an authenticator and, where no cookie was asked for, sixteen zeros.
fn no_mac2(bytes: &[u8]) -> bool {
    let Some((before, tail)) = bytes.split_last_chunk::<16>() else { return false };
    let Some(mac1) = before.last_chunk::<16>() else { return false };
    *tail == [0; 16] && mac1.iter().filter(|byte| **byte == 0).count() < 4
}

/// An index one end chose, and when the message that brought it passed.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    dir: Direction,
    index: u32,
    at: Timestamp,
    /// The message's length on the wire, in bytes.
    len: usize,
}

#[derive(Debug, Default)]
struct WireGuard {
    /// Initiations without a response, oldest first.
    pending: [Option<Chosen>; PENDING],
    /// A response whose answer has not come.
    responded: Option<Chosen>,
    /// Receiver index of each end's data and the highest counter, for flows whose handshake was not seen.
    data: Ends<Option<(u32, u64)>>,
    handshakes: u8,
    seen_initiation: bool,
    cookie_told: bool,
    /// The handshakes of this flow are disguised.
    disguised: bool,
    /// An initiation in disguise: its end, its index, and the response's four first bytes and index.
    masked: Option<(Masked, Direction, [u8; 4])>,
    answered: Option<([u8; 4], [u8; 4])>,
    /// Disco was seen on this flow, so other formats than WireGuard's are no fault.
    within: bool,
    done: bool,
}

impl Analyzer for WireGuard {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let data = pdu.bytes.first() == Some(&DATA);
        // The common case first: data, and nothing waits for it.
        if self.done || (data && self.handshakes > 0 && self.responded.is_none()) {
            return;
        }
        let message = Message::read(pdu.bytes, pdu.missing);
        if self.disguised
            || self.masked.is_some()
            || (message.is_none() && self.handshakes == 0 && !self.seen_initiation)
        {
            return self.on_masked(pdu, events);
        }
        let Some(message) = message else {
            return self.refuse(pdu, "wireguard.malformed-message", events);
        };
        if message.cookie && !std::mem::replace(&mut self.cookie_told, true) {
            events.attribute(pdu.at, pdu.dir, COOKIE, "mac2");
        }
        match message.kind {
            INITIATION => self.on_initiation(pdu, &message),
            RESPONSE => self.on_response(pdu, &message, events),
            DATA => self.on_data(pdu, &message, events),
            _ => {}
        }
    }
}

impl WireGuard {
    /// Takes the name back while nothing agreed.
    fn refuse(&mut self, pdu: &Pdu<'_>, fault: &'static str, events: &mut Events) {
        if self.handshakes > 0 || self.within {
            return;
        }
        if Disco::read(pdu.bytes).is_some() {
            self.within = true;
            events.application(pdu.at, pdu.dir, TAILSCALE.name);
            return;
        }
        events.violation(pdu.at, pdu.dir, fault);
        self.done = true;
        events.settled(pdu.at, pdu.dir);
    }

    fn on_masked(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let answer = self.masked.filter(|(_, dir, _)| pdu.dir == dir.flip() && self.answered.is_none());
        let answer = answer.and_then(|(mask, _, asked)| Some((mask, mask.response(pdu.bytes, pdu.missing, asked)?)));
        let head = pdu.bytes.first_chunk::<4>().copied().unwrap_or_default();
        if let Some((mask, index)) = answer {
            self.answered = Some((head, index));
            events.answer(pdu.at, pdu.dir, Layer::WireGuard, "handshake-init");
            events.ask(pdu.at, pdu.dir, Layer::WireGuard, "handshake-response");
            if mask == Masked::Amnezia && !std::mem::replace(&mut self.disguised, true) {
                events.confirmed(pdu.at, pdu.dir);
                events.attribute(pdu.at, pdu.dir, VARIANT, "amnezia");
            }
            return;
        }
        if let Some((mask, index)) = Masked::initiation(pdu.bytes, pdu.missing) {
            // The first, one sent anew, which has an index of its own, or a rekey, by either end.
            (self.masked, self.answered) = (Some((mask, pdu.dir, index)), None);
            return events.ask(pdu.at, pdu.dir, Layer::WireGuard, "handshake-init");
        }
        let Some((mask, dir, _)) = self.masked else {
            if !self.disguised {
                self.refuse(pdu, "wireguard.malformed-message", events);
            }
            return;
        };
        // Until there is an answer, data is that of the session before.
        let Some((reply, index)) = self.answered else { return };
        // Data names the responder's index, and of WARP has the response's reserved bytes.
        let names = pdu.dir == dir && pdu.bytes.get(4..8) == Some(&index[..]);
        let disguised = mask == Masked::Amnezia || (head.first() == Some(&0xc4) && head.get(1..) == reply.get(1..));
        if names && disguised {
            events.answer(pdu.at, pdu.dir, Layer::WireGuard, "handshake-response");
            if mask == Masked::Warp && !std::mem::replace(&mut self.disguised, true) {
                events.confirmed(pdu.at, pdu.dir);
                events.attribute(pdu.at, pdu.dir, VARIANT, "quic-like");
                events.application(pdu.at, pdu.dir, "cloudflare-warp");
            }
            (self.masked, self.answered) = (None, None);
        }
    }

    fn on_initiation(&mut self, pdu: &Pdu<'_>, message: &Message) {
        self.seen_initiation = true;
        let known = |slot: &Option<Chosen>| slot.is_some_and(|c| c.dir == pdu.dir && c.index == message.sender);
        if self.pending.iter().any(known) {
            return;
        }
        self.pending.rotate_left(1);
        if let Some(newest) = self.pending.last_mut() {
            *newest = Some(Chosen { dir: pdu.dir, index: message.sender, at: pdu.at, len: message.len });
        }
    }

    /// The response names its initiation, so even after retransmissions it is clear which one it answers.
    fn on_response(&mut self, pdu: &Pdu<'_>, message: &Message, events: &mut Events) {
        let asked =
            |slot: &&mut Option<Chosen>| slot.is_some_and(|c| c.dir == pdu.dir.flip() && c.index == message.receiver);
        let Some(asked) = self.pending.iter_mut().find(asked).and_then(Option::take) else {
            if self.seen_initiation {
                self.refuse(pdu, "wireguard.response-to-nothing", events);
            }
            return;
        };
        if self.handshakes == 0 {
            if (asked.len, message.len) != (INITIATION_LEN, RESPONSE_LEN) {
                events.attribute(pdu.at, pdu.dir, VARIANT, format!("lengths-{}-{}", asked.len, message.len));
            } else if !message.plain {
                events.attribute(pdu.at, pdu.dir, VARIANT, "reserved-bytes");
            }
            events.confirmed(pdu.at, pdu.dir);
        }
        self.handshakes = self.handshakes.saturating_add(1);
        events.ask(asked.at, asked.dir, Layer::WireGuard, "handshake-init");
        events.answer(pdu.at, pdu.dir, Layer::WireGuard, "handshake-init");
        // What the flow's responder chose stays good when the originator comes from elsewhere.
        let index = if pdu.dir == Direction::Resp { message.sender } else { message.receiver };
        events.link(pdu.at, pdu.dir, Link::AtServer("wireguard", u64::from(index)));
        self.responded = Some(Chosen { dir: pdu.dir, index: message.sender, at: pdu.at, len: message.len });
    }

    fn on_data(&mut self, pdu: &Pdu<'_>, message: &Message, events: &mut Events) {
        if let Some(response) = self.responded {
            // Only who has read the response can know the index in it; data of the session before bears another.
            if pdu.dir == response.dir.flip() && message.receiver == response.index {
                self.responded = None;
                events.ask(response.at, response.dir, Layer::WireGuard, "handshake-response");
                events.answer(pdu.at, pdu.dir, Layer::WireGuard, "handshake-response");
            }
        } else if self.handshakes == 0 {
            self.on_headless(pdu, message, events);
        }
    }

    /// Data whose handshake was not seen: the index must stay and the counter must not stand still.
    fn on_headless(&mut self, pdu: &Pdu<'_>, message: &Message, events: &mut Events) {
        let counter = pdu.bytes.get(8..16).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b));
        let seen = self.data.of_mut(pdu.dir);
        let odd = seen.is_some_and(|(index, highest)| {
            (index != message.receiver && !self.seen_initiation) || (index == message.receiver && counter == highest)
        });
        if pdu.dir == Direction::Orig && seen.is_none_or(|(index, _)| index != message.receiver) {
            events.link(pdu.at, pdu.dir, Link::AtServer("wireguard", u64::from(message.receiver)));
        }
        let highest = seen.filter(|(index, _)| *index == message.receiver).map_or(0, |(_, highest)| highest);
        *seen = Some((message.receiver, counter.max(highest)));
        if odd {
            self.refuse(pdu, "wireguard.data-inconsistent", events);
        }
    }
}

/// A disco message: its sender's key, and how much is sealed in it.
struct Disco {
    key: [u8; 32],
    sealed: usize,
}

/// "TS" and the speech balloon U+1F4AC.
const DISCO: [u8; 6] = *b"TS\xf0\x9f\x92\xac";
/// Magic, key, nonce and the tag of the sealed box.
const DISCO_OVERHEAD: usize = 6 + 32 + 24 + 16;
/// Type, version, transaction, address and port. A ping has 14 bytes, 46 with its node's key, or is padded; what else
/// there is goes through relays.
const PONG: usize = 1 + 1 + 12 + 16 + 2;

impl Disco {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let magic: [u8; 6] = reader.array()?;
        let key = reader.array()?;
        // The shortest message has a type and a version.
        let sealed = bytes.len().checked_sub(DISCO_OVERHEAD).filter(|sealed| *sealed >= 2)?;
        (magic == DISCO && key != [0; 32]).then_some(Self { key, sealed })
    }
}

#[derive(Debug)]
struct Tailscale {
    keys: Ends<Option<[u8; 32]>>,
    confirmed: bool,
    wireguard: WireGuard,
}

impl Default for Tailscale {
    fn default() -> Self {
        let wireguard = WireGuard { within: true, ..WireGuard::default() };
        Self { keys: Ends::default(), confirmed: false, wireguard }
    }
}

impl Analyzer for Tailscale {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if let Some(disco) = Disco::read(pdu.bytes) {
            return self.on_disco(pdu, &disco, events);
        }
        let handshake = matches!(pdu.bytes.first(), Some(&INITIATION | &RESPONSE));
        let plain = Message::read(pdu.bytes, pdu.missing).is_some();
        if plain && (handshake || self.wireguard.handshakes > 0) {
            self.wireguard.on_pdu(pdu, events);
        }
    }
}

impl Tailscale {
    /// What a ping asks is sealed, but the pong goes back where the ping came from: on this flow it answers a ping of
    /// this flow. Two pings on their way make it ambiguous, which asking twice tells.
    fn on_disco(&mut self, pdu: &Pdu<'_>, disco: &Disco, events: &mut Events) {
        *self.keys.of_mut(pdu.dir) = Some(disco.key);
        if let (Some(orig), Some(resp), false) = (self.keys.orig, self.keys.resp, self.confirmed)
            && orig != resp
        {
            self.confirmed = true;
            events.confirmed(pdu.at, pdu.dir);
            let (low, high) = if orig < resp { (orig, resp) } else { (resp, orig) };
            events.link(pdu.at, pdu.dir, Link::token("tailscale", &[low, high].concat()));
        }
        if disco.sealed != PONG {
            events.ask(pdu.at, pdu.dir, Layer::Overlay, "disco-ping");
            return;
        }
        events.answer(pdu.at, pdu.dir, Layer::Overlay, "disco-ping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn message(kind: u8, first: u32, second: u32, len: usize) -> Vec<u8> {
        let mut out = vec![kind, 0, 0, 0];
        out.extend(first.to_le_bytes());
        out.extend(second.to_le_bytes());
        out.resize(len, 0);
        out
    }

    fn initiation(sender: u32) -> Vec<u8> {
        message(1, sender, 77, 148)
    }

    fn response(sender: u32, receiver: u32) -> Vec<u8> {
        message(2, sender, receiver, 92)
    }

    fn data(receiver: u32, counter: u32) -> Vec<u8> {
        message(4, receiver, counter, 96)
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&WIREGUARD, &turns)
    }

    fn loops(events: &[Event]) -> Vec<(&'static str, bool, i64)> {
        let told = |e: &Event| match e.kind {
            EventKind::Ask(l) => Some((l.method, true, e.at.nanos() / 1_000_000)),
            EventKind::Answer(l) => Some((l.method, false, e.at.nanos() / 1_000_000)),
            _ => None,
        };
        events.iter().filter_map(told).collect()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&WIREGUARD, Carrier::Datagram, orig, resp)
    }

    #[test]
    fn a_handshake_closes_two_loops() {
        let events = run(&[(Orig, initiation(5)), (Resp, response(6, 5)), (Resp, data(5, 0)), (Orig, data(6, 0))]);
        let (init, resp) = ("handshake-init", "handshake-response");
        assert_eq!(loops(&events), [(init, true, 0), (init, false, 1), (resp, true, 1), (resp, false, 3)]);
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Confirmed).count(), 1);
    }

    #[test]
    fn a_response_answers_the_initiation_it_names() {
        // The second initiation crosses the response to the first.
        let events = run(&[(Orig, initiation(5)), (Orig, initiation(9)), (Resp, response(6, 5)), (Orig, data(6, 0))]);
        assert_eq!(loops(&events)[0], ("handshake-init", true, 0));
        let stranger = run(&[(Orig, initiation(5)), (Resp, response(6, 4))]);
        assert!(matches!(stranger[0].kind, EventKind::Violation(_)));
    }

    #[test]
    fn data_of_the_old_session_answers_nothing() {
        // Rekeys of a working day, and more than a byte counts.
        const ROUNDS: u32 = 300;
        let mut turns = Vec::new();
        for i in 0..ROUNDS {
            turns.extend([(Orig, initiation(10 + i)), (Resp, response(60 + i, 10 + i))]);
            turns.extend([(Orig, data(59 + i, 500)), (Orig, data(60 + i, 0))]);
        }
        let events = run(&turns);
        let answered: Vec<_> =
            loops(&events).into_iter().filter(|l| l.0 == "handshake-response" && !l.1).map(|l| l.2).collect();
        assert_eq!(answered, (0..i64::from(ROUNDS)).map(|i| 4 * i + 3).collect::<Vec<_>>());
        assert!(!events.iter().any(|e| e.kind == EventKind::Settled));
    }

    #[test]
    fn data_alone_is_never_certain() {
        assert_eq!(probe(&data(5, 3), &data(6, 9)), Probe::Match);
        assert_eq!(probe(&data(5, 3), b""), Probe::NeedMore);
        let events = run(&[(Orig, data(5, 3)), (Resp, data(6, 9)), (Orig, data(5, 4)), (Resp, data(6, 10))]);
        let link = EventKind::Link(Link::AtServer("wireguard", 5));
        assert_eq!(events.iter().map(|e| &e.kind).collect::<Vec<_>>(), [&link]);
        let wrong = run(&[(Orig, data(5, 3)), (Orig, data(8, 4))]);
        assert!(wrong.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    #[test]
    fn flows_of_a_peer_that_roams_know_the_same_index() {
        let link = |events: &[Event]| events.iter().filter(|e| matches!(e.kind, EventKind::Link(_))).count();
        let home = run(&[(Orig, initiation(5)), (Resp, response(6, 5)), (Orig, data(6, 0))]);
        let away = run(&[(Orig, data(6, 80)), (Resp, data(5, 90)), (Orig, data(6, 81))]);
        let wanted = EventKind::Link(Link::AtServer("wireguard", 6));
        assert!(home.iter().any(|e| e.kind == wanted) && away.iter().any(|e| e.kind == wanted));
        assert_eq!((link(&home), link(&away)), (1, 1));
    }

    /// `before` random bytes, another type, an authenticator, no cookie.
    fn masked(before: usize, kind: u32, first: u32, second: u32, len: usize) -> Vec<u8> {
        let mut out = vec![0x5a; before];
        out.extend(kind.to_le_bytes());
        out.extend(first.to_le_bytes());
        out.extend(second.to_le_bytes());
        out.resize(before + len - 16, 0xa5);
        out.resize(before + len, 0);
        out
    }

    #[test]
    fn amnezia_is_known_by_the_index_that_comes_back() {
        let (ask, answer) = (masked(40, 0x1234_5678, 5, 9, 148), masked(70, 0x9abc_def0, 6, 5, 92));
        assert_eq!(probe(&ask, b""), Probe::NeedMore);
        assert_eq!(probe(&ask, &answer), Probe::Match);
        assert_eq!(probe(&ask, &masked(70, 7, 6, 4, 92)), Probe::NeedMore);
        let data = |index| message(0x77, index, 0, 96);
        // A rekey, by the other end, is read as well, and data of the session before answers nothing.
        let (again, agreed) = (masked(40, 0x1234_5678, 15, 9, 148), masked(70, 0x9abc_def0, 16, 15, 92));
        let turns = [(Orig, ask.clone()), (Resp, answer.clone()), (Orig, data(6)), (Resp, again), (Orig, agreed)];
        let events = run(&[&turns[..], &[(Resp, data(5)), (Resp, data(16))]].concat());
        assert_eq!(testkit::said(&events, VARIANT), Some("amnezia"));
        let methods: Vec<_> = testkit::loops(&events).into_iter().map(|(_, _, method)| method).collect();
        assert_eq!(methods, ["handshake-init", "handshake-response"].repeat(2));
        assert_eq!(probe(&[0; 400], b""), Probe::NoMatch);
        assert_eq!(probe(&[7; 400], b""), Probe::NoMatch);
    }

    #[test]
    fn warp_is_known_by_what_its_data_repeats() {
        let ask = [&[0xc1, 0, 0, 0, 0, 0x90, 0x83, 1][..], &[0x33; 186]].concat();
        let answer = [&[0xc2, 2, 0x78, 0, 0x68, 0x84, 0xee, 0, 1, 0x90, 0x83, 0][..], &[0x44; 700]].concat();
        let data = |index: u8| [&[0xc4, 2, 0x78, 0, index, 0x84, 0xee, 0][..], &[0x55; 60]].concat();
        assert_eq!((probe(&ask, b""), probe(&ask, &answer)), (Probe::NeedMore, Probe::Match));
        let events = run(&[(Orig, ask.clone()), (Resp, answer.clone()), (Orig, data(0x68))]);
        assert!(events.iter().any(|e| e.kind == EventKind::Application("cloudflare-warp")));
        let other = run(&[(Orig, ask), (Resp, answer), (Orig, data(0x69))]);
        assert!(!other.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    fn disco(key: u8, sealed: usize) -> Vec<u8> {
        [&DISCO[..], &[key; 32], &vec![9; 24 + 16 + sealed]].concat()
    }

    #[test]
    fn disco_and_wireguard_share_a_flow() {
        let turns = [
            (Orig, disco(1, 46)),
            (Resp, disco(2, PONG)),
            (Orig, initiation(5)),
            (Resp, response(6, 5)),
            (Orig, b"\0\x01\0\0\x21\x12\xa4\x42stun-binding".to_vec()),
            (Orig, data(6, 0)),
        ];
        let borrowed: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        let events = testkit::datagrams(&TAILSCALE, &borrowed);
        let methods: Vec<_> = testkit::loops(&events).into_iter().map(|(_, _, method)| method).collect();
        assert_eq!(methods, ["disco-ping", "handshake-init", "handshake-response"]);
        assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
        // The same node's key at both ends is an echo, not a peer.
        let echo = testkit::datagrams(&TAILSCALE, &[(Orig, &disco(1, 46)), (Resp, &disco(1, 46))]);
        assert!(!echo.iter().any(|e| e.kind == EventKind::Confirmed));
        let known = |bytes: &[u8]| testkit::probe(&TAILSCALE, Carrier::Datagram, bytes, b"");
        assert_eq!((known(&disco(1, 14)), known(&disco(1, 1))), (Probe::Match, Probe::NoMatch));
        assert_eq!(known(b"TS\xf0\x9f\x92\xad"), Probe::NoMatch);
    }

    #[test]
    fn wireguard_that_then_speaks_disco_is_tailscales() {
        let events = run(&[(Orig, data(5, 3)), (Resp, data(6, 9)), (Orig, disco(1, 46)), (Orig, data(5, 4))]);
        assert!(events.iter().any(|e| e.kind == EventKind::Application("tailscale")));
        assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    #[test]
    fn reserved_bytes_in_use_need_both_ends() {
        let (mut ask, mut answer) = (initiation(5), response(6, 5));
        ask[1] = 0xab;
        answer[1] = 0xab;
        assert_eq!(probe(&ask, b""), Probe::NeedMore);
        assert_eq!(probe(&ask, &answer), Probe::Match);
        answer[8] = 4;
        assert_eq!(probe(&ask, &answer), Probe::NeedMore);
        assert_eq!(probe(&initiation(1)[..147], b""), Probe::NoMatch);
        // Padded by the provider, as TunnelBear does.
        let (long, longer) = (message(1, 5, 0, 204), message(2, 6, 5, 100));
        assert_eq!((probe(&long, b""), probe(&long, &longer)), (Probe::NeedMore, Probe::Match));
        let events = run(&[(Orig, long), (Resp, longer)]);
        let variant = EventKind::Attribute { key: VARIANT, value: "lengths-204-100".to_owned() };
        assert!(events.iter().any(|e| e.kind == variant));
        assert_eq!(probe(&initiation(1), b"\x04\x01"), Probe::NoMatch);
    }

    #[test]
    fn random_datagrams_of_the_right_length_do_not_match() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()
        };
        for round in 0..100_000_usize {
            let len: usize = [148, 92, 64, 32][round % 4];
            let bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random()).take(len).collect();
            assert_ne!(probe(&bytes, b""), Probe::Match);
            assert_ne!(probe(&bytes, &bytes), Probe::Match);
        }
    }

    #[test]
    fn what_tailscales_wireguard_tells_is_declared() {
        let disco = [b"TS\xf0\x9f\x92\xac".as_slice(), &[7; 94]].concat();
        let (mut ask, answer) = (message(1, 7, 0, 148), message(2, 8, 7, 92));
        // The second authenticator, which a cookie makes.
        ask[132..].fill(9);
        let events = testkit::datagrams(&TAILSCALE, &[(Orig, &disco), (Orig, &ask), (Resp, &answer)]);
        assert!(testkit::said(&events, COOKIE).is_some());
        for event in events {
            if let EventKind::Attribute { key, .. } = event.kind {
                assert!(TAILSCALE.attributes.contains(&key), "{key}");
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), 0u8..6, proptest::collection::vec(any::<u8>(), 0..150)), 0..12,
        )) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, kind, mut bytes)| {
                    if let Some(first) = bytes.first_mut() {
                        *first = kind;
                    }
                    (if orig { Orig } else { Resp }, bytes)
                })
                .collect();
            run(&turns);
            for (_, bytes) in &turns {
                probe(bytes, bytes);
            }
        }
    }
}
