//! Streams that look random from their first byte on, both ways: Shadowsocks, VMess and other disguises that say nothing;
//! and flows of datagrams each of which does: Hysteria 2 under Salamander, Shadowsocks, kcptun.
//!
//! Reads: the first bytes of both ends and the sizes of their first turns; the heads of the first datagrams. Emits: those
//! sizes. Never confirms: that no format shows is all there is to see, and other programs encrypt everything too.
//!
//! The test of the first bytes is the one that a national firewall was found to use, made stricter: both ends must pass
//! it, their bytes must be spread evenly, no length may stand in front, and the turns must have sizes that BitTorrent's
//! encryption and Telegram's do not have.
//!
//! Nearly everything in UDP is encrypted, but behind a head of its own: an id, a counter, a type. Here no bit of the first
//! bytes may stay as it is from datagram to datagram, nor a byte within one direction.
//!
//! Reference: Wu et al., "How the Great Firewall of China Detects and Blocks Fully Encrypted Traffic" (USENIX Security
//! 2023), rules Ex1 to Ex5; Message Stream Encryption (wiki.vuze.com: 96 bytes of key and up to 512 of padding);
//! core.telegram.org/mtproto/mtproto-transports (64 bytes, then short requests); Hysteria 2's protocol specification,
//! "Salamander" (eight random bytes, then every byte mixed with a key that they choose).

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static OBFUSCATED: Protocol = Protocol {
    name: "obfuscated",
    category: Category::Proxy,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[],
    attributes: &[FIRST_TURNS, FIRST_DATAGRAMS],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Reader::Unknown),
};

const FIRST_TURNS: Key = "obfuscated.first_turns";
const FIRST_DATAGRAMS: Key = "obfuscated.first_datagrams";

/// Bytes of each end that are tested at last, and first.
const WHOLE: usize = 256;
const GLANCE: usize = 64;
/// A run of printable bytes (Ex4), and bytes at the beginning of which one must not be printable (Ex2).
const RUN: usize = 20;
const HEAD: usize = 6;
/// Chi-squared over 256 values: 255 degrees of freedom, standard deviation 22.6; random bytes are outside of this once
/// in ten thousand.
const CHI: std::ops::RangeInclusive<u64> = 175..=350;
/// The largest first turn of BitTorrent's encryption, of either end.
const MSE: usize = 96 + 512;
/// The smallest first turn of a client: Shadowsocks' has a salt, two tags, a length and an address in it (32 + 16 + 2 +
/// 16 + 7), and something to ask.
const ASKS: usize = 96;
/// A first turn of a client that is longer than any request without padding or post-quantum keys.
const PADDED: usize = 1_536;
/// A length field may count itself, a tag, or a header: so far from the turn's size.
const SLACK: usize = 24;

/// First bytes of a datagram in which nothing may repeat; the shortest of QUIC's, eight bytes of salt in front, has more.
const PLACES: usize = 24;
/// Places at which two datagrams of one end must differ; random ones differ at fewer once in a million times.
const DIFFER: usize = 20;
/// Datagrams that are compared, and of each end at least.
const COMPARED: u32 = 32;
const OF_EACH: u32 = 8;
/// Datagrams looked at until enough of both ends have come.
const PATIENCE: u32 = 128;
/// How many of [`COMPARED`] datagrams may have a bit set: all 192 bits of random ones are within but once in 2,000 times.
const SET: std::ops::RangeInclusive<u32> = 4..=28;
/// Values that a place takes in [`OF_EACH`] datagrams of one end, at least.
const VALUES: u32 = 4;
/// Datagrams of which the bits set may be too many or too few; of 32 random bytes they are once in sixty times.
const UNEVEN: u32 = 4;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier == Carrier::Datagram {
        return datagrams(opening);
    }
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    match [looks_random(orig), looks_random(resp)] {
        [Looks::Formed, _] | [_, Looks::Formed] => Probe::NoMatch,
        // What a client asks may be short, the answer is not.
        [Looks::Random | Looks::AtAGlance, Looks::Random] => Probe::Match,
        // A padded handshake (obfs4) is longer than what is kept of one end; the server's is tested when it comes.
        [Looks::Random, _] if orig.len() >= PADDED => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Two datagrams of one end that have nothing in common, and one of the other.
fn datagrams(opening: &Opening<'_>) -> Probe {
    let (newest, before) = (opening.sent.of(opening.newest), opening.before);
    let other = opening.sent.of(opening.newest.flip());
    let random = |bytes: &[u8]| bytes.is_empty() || is_random_datagram(bytes);
    if !is_random_datagram(newest) || !random(before) || !random(other) {
        return Probe::NoMatch;
    }
    if before.is_empty() || other.is_empty() {
        return Probe::NeedMore;
    }
    if differ(newest, before) >= DIFFER && differ(newest, other) >= DIFFER { Probe::Match } else { Probe::NoMatch }
}

fn is_random_datagram(bytes: &[u8]) -> bool {
    let window = bytes.get(..WHOLE).unwrap_or(bytes);
    bytes.len() >= PLACES && has_random_bits(window)
}

/// At how many of the first places two datagrams differ.
fn differ(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(PLACES).filter(|(a, b)| a != b).count()
}

/// How bytes look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// Too few to tell.
    Unknown,
    /// The first [`GLANCE`] bytes look random.
    AtAGlance,
    /// All [`WHOLE`] do.
    Random,
    Formed,
}

/// Each test looks at a fixed number of bytes, so that more of them change nothing.
fn looks_random(bytes: &[u8]) -> Looks {
    let printable = |b: &u8| (0x20..0x7f).contains(b);
    let Some(head) = bytes.get(..HEAD) else { return Looks::Unknown };
    if head.iter().all(printable) || is_known(bytes) {
        return Looks::Formed;
    }
    let window = bytes.get(..WHOLE).unwrap_or(bytes);
    let mut runs = window.chunk_by(|a, b| printable(a) == printable(b));
    if runs.any(|run| run.len() >= RUN && run.first().is_some_and(printable)) {
        return Looks::Formed;
    }
    let Some(glance) = bytes.get(..GLANCE) else { return Looks::Unknown };
    if !has_random_bits(glance) || glance.iter().filter(|b| printable(b)).count() * 2 > GLANCE {
        return Looks::Formed;
    }
    match bytes.get(..WHOLE) {
        None => Looks::AtAGlance,
        Some(whole) if has_random_bits(whole) && is_spread(whole) => Looks::Random,
        Some(_) => Looks::Formed,
    }
}

/// What TLS, SSH's and others' readers know better, also where they cannot read it (Ex5); and zeros in a row, which
/// random bytes have once in two hundred thousand times at any one place.
fn is_known(bytes: &[u8]) -> bool {
    let window = bytes.get(..GLANCE).unwrap_or(bytes);
    matches!(bytes, [0x14..=0x18, 3, 0..=4, ..]) || window.windows(2).any(|pair| pair == [0, 0])
}

/// Ex1: bits set for each byte between 3.4 and 4.6; over 256 bytes, within four standard deviations of 4.
fn has_random_bits(bytes: &[u8]) -> bool {
    let set: u32 = bytes.iter().map(|b| b.count_ones()).sum();
    let (set, len) = (u64::from(set) * 100, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let (low, high) = if bytes.len() < WHOLE { (340, 460) } else { (365, 435) };
    (low * len..=high * len).contains(&set)
}

/// Whether every value comes as often as any other, as far as chance has it.
fn is_spread(bytes: &[u8]) -> bool {
    let mut counts = [0u64; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let len = u64::try_from(bytes.len()).unwrap_or(1).max(1);
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    CHI.contains(&(squares * 256 / len).saturating_sub(len))
}

/// What the carrier asks for.
#[derive(Debug)]
enum Reader {
    Unknown,
    Stream(Turns),
    Datagrams(Box<Heads>),
}

impl Analyzer for Reader {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        match self {
            Self::Unknown => {
                *self = if pdu.carrier == Carrier::Stream {
                    Self::Stream(Turns::default())
                } else {
                    Self::Datagrams(Box::default())
                };
                self.on_pdu(pdu, events);
            }
            Self::Stream(turns) => turns.on_pdu(pdu, events),
            Self::Datagrams(heads) => heads.on_datagram(pdu, events),
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        match self {
            Self::Unknown => {}
            Self::Stream(turns) => turns.on_close(at, events),
            Self::Datagrams(heads) => heads.on_close(at, events),
        }
    }
}

/// The first bytes of datagrams, place by place.
#[derive(Debug, Default)]
struct Heads {
    /// The size of each end's first datagram.
    first: Ends<usize>,
    /// How often each bit was set.
    set: [[u32; 8]; PLACES],
    /// The values of each place in each end's first datagrams, and how many there are.
    values: Ends<[[u8; OF_EACH as usize]; PLACES]>,
    seen: Ends<u32>,
    compared: u32,
    looked_at: u32,
    uneven: u32,
    done: bool,
}

impl Heads {
    fn on_datagram(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let first = self.first.of_mut(pdu.dir);
        if *first == 0 {
            *first = pdu.bytes.len() + usize::try_from(pdu.missing).unwrap_or(0);
        }
        self.looked_at += 1;
        // Of one end more than is left to the other tell nothing more.
        let room = *self.seen.of(pdu.dir) < COMPARED - OF_EACH;
        if let Some(head) = pdu.bytes.first_chunk::<PLACES>().filter(|_| room) {
            self.take_in(pdu.dir, head, pdu.bytes);
        }
        if self.compared == COMPARED || self.looked_at == PATIENCE {
            self.decide(pdu.at, pdu.dir, events);
        }
    }

    fn take_in(&mut self, dir: Direction, head: &[u8; PLACES], bytes: &[u8]) {
        let nth = *self.seen.of(dir);
        for ((byte, set), values) in head.iter().zip(&mut self.set).zip(self.values.of_mut(dir)) {
            for (bit, set) in set.iter_mut().enumerate() {
                *set += u32::from(byte >> bit & 1);
            }
            if let Some(place) = usize::try_from(nth).ok().and_then(|nth| values.get_mut(nth)) {
                *place = *byte;
            }
        }
        self.uneven += u32::from(!is_random_datagram(bytes));
        *self.seen.of_mut(dir) += 1;
        self.compared += 1;
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if !self.done {
            self.decide(at, Direction::Orig, events);
        }
    }

    fn decide(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        let fixed_bit = self.set.iter().flatten().any(|set| !SET.contains(set));
        let fixed_byte = [self.values.orig, self.values.resp].iter().flatten().any(|values| distinct(values) < VALUES);
        if self.compared < COMPARED {
            events.violation(at, dir, "obfuscated.too-few-datagrams");
        } else if self.uneven > UNEVEN || fixed_bit || fixed_byte {
            events.violation(at, dir, "obfuscated.heads-alike");
        } else {
            events.attribute(at, dir, FIRST_DATAGRAMS, format!("{},{}", self.first.orig, self.first.resp));
        }
        events.settled(at, dir);
    }
}

fn distinct(values: &[u8; OF_EACH as usize]) -> u32 {
    let new = |(i, value): (usize, &u8)| u32::from(!values.iter().take(i).any(|before| before == value));
    values.iter().enumerate().map(new).sum()
}

/// The first turn of each end.
#[derive(Debug, Default)]
struct Turns {
    head: [u8; 4],
    asked: usize,
    answered: usize,
    /// The server's first bytes.
    answer: Vec<u8>,
    done: bool,
}

impl Turns {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        match (pdu.dir, self.answered) {
            (Direction::Orig, 0) => {
                for (place, byte) in self.head.iter_mut().skip(self.asked).zip(pdu.bytes) {
                    *place = *byte;
                }
                self.asked += pdu.bytes.len();
            }
            (Direction::Orig, _) => self.decide(pdu.at, pdu.dir, events),
            // Who is addressed waits for somebody to prove that he knows the secret.
            (Direction::Resp, 0) if self.asked == 0 => self.decide(pdu.at, pdu.dir, events),
            (Direction::Resp, _) => {
                let room = WHOLE.saturating_sub(self.answered);
                self.answer.extend_from_slice(pdu.bytes.get(..room).unwrap_or(pdu.bytes));
                self.answered += pdu.bytes.len();
            }
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if !self.done {
            self.decide(at, Direction::Orig, events);
        }
    }
}

impl Turns {
    fn decide(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        if self.asked < ASKS || self.answered <= MSE || looks_random(&self.answer) != Looks::Random {
            events.violation(at, dir, "obfuscated.turns-of-others");
        } else if self.has_length() {
            events.violation(at, dir, "obfuscated.length-in-front");
        } else {
            events.attribute(at, dir, FIRST_TURNS, format!("{},{}", self.asked, self.answered));
        }
        events.settled(at, dir);
    }

    /// Whether one of the first integers is about the size of the turn.
    fn has_length(&self) -> bool {
        let [a, b, c, d] = self.head;
        let short = [
            u16::from_be_bytes([a, b]),
            u16::from_le_bytes([a, b]),
            u16::from_be_bytes([c, d]),
            u16::from_be_bytes([b, c]),
        ];
        let long = [u32::from_be_bytes(self.head), u32::from_le_bytes(self.head), u32::from_be_bytes([0, a, b, c])];
        let lengths = short.into_iter().map(u32::from).chain(long);
        lengths.into_iter().any(|len| usize::try_from(len).is_ok_and(|len| len.abs_diff(self.asked) <= SLACK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn random(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32).to_le_bytes()[0]
        };
        (0..len).map(next).collect()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&OBFUSCATED, Carrier::Stream, orig, resp)
    }

    fn run(asked: usize, answered: usize) -> Vec<Event> {
        let (ask, answer) = (random(5, asked), random(6, answered));
        testkit::stream(&OBFUSCATED, &[(Orig, &ask), (Resp, &answer), (Orig, &ask)], usize::MAX)
    }

    #[test]
    fn random_both_ways_matches_with_enough_bytes() {
        let passes = (1..=1000).filter(|i| probe(&random(*i, 256), &random(*i + 5000, 256)) == Probe::Match).count();
        // More than half of 64 random bytes are printable once in eighty times.
        assert!(passes > 950, "{passes}");
        assert_eq!(probe(&random(3, 200), b""), Probe::NeedMore);
        assert_eq!(probe(&random(3, 200), &random(4, 256)), Probe::Match);
        // Padded, and nothing is kept of what exceeds the probe's room.
        assert_eq!(probe(&random(3, 2000), b""), Probe::Match);
        let formed = [&random(6, 40)[..], &[0; 900]].concat();
        let events = testkit::stream(&OBFUSCATED, &[(Orig, &random(3, 2000)), (Resp, &formed), (Orig, b"x")], 500);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
        let events = testkit::stream(&OBFUSCATED, &[(Resp, &random(5, 900)), (Orig, &random(6, 900))], usize::MAX);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    #[test]
    fn the_turns_tell_it_from_others_that_encrypt_everything() {
        assert_eq!(said(&run(317, 1400), FIRST_TURNS), Some("317,1400"));
        for (asked, answered) in [(90, 1400), (317, 600), (96, 96)] {
            assert!(matches!(run(asked, answered)[0].kind, EventKind::Violation(_)));
        }
        let mut ask = random(5, 400);
        ask[..2].copy_from_slice(&398u16.to_be_bytes());
        let events = testkit::stream(&OBFUSCATED, &[(Orig, &ask), (Resp, &random(6, 900)), (Orig, b"x")], usize::MAX);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
        assert!(!run(317, 1400).iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn what_has_a_format_does_not_match() {
        let noise = random(9, 300);
        let with = |head: &[u8]| [head, &noise].concat();
        let text = "{\"method\": \"login\", \"params\": [1, 2, 3]}".repeat(9).into_bytes();
        let sparse: Vec<u8> = noise.iter().map(|b| b & 0x13).collect();
        let base64: Vec<u8> = noise.iter().map(|b| b'A' + (b % 26)).collect();
        let counted = with(&[0, 0, 1, 44]);
        for bytes in [&with(b"\x16\x03\x01\x02")[..], &with(b"SSH-2.0-"), &text, &sparse, &base64, &counted] {
            assert_eq!(probe(bytes, &noise), Probe::NoMatch);
            assert_eq!(probe(&noise, bytes), Probe::NoMatch);
        }
        // Compressed data has a head, and a picture long runs.
        assert_eq!(probe(&with(b"\x1f\x8b\x08\0\0\0\0\0"), &noise), Probe::NoMatch);
    }

    type Shape<'a> = &'a dyn Fn(usize, &mut Vec<u8>);

    /// Datagrams in turns, each with what `shape` makes of random bytes.
    fn dialogue(seed: u64, shape: impl Fn(usize, &mut Vec<u8>)) -> Vec<(Direction, Vec<u8>)> {
        let one = |i: usize| {
            let mut bytes =
                random(seed + u64::try_from(i).unwrap() * 7919, if i < 2 { 1_208 } else { 24 + i * 31 % 900 });
            shape(i, &mut bytes);
            (if i.is_multiple_of(2) { Orig } else { Resp }, bytes)
        };
        (0..50).map(one).collect()
    }

    fn of_datagrams(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<testkit::Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&OBFUSCATED, &turns)
    }

    /// What the probe says of the third datagram.
    fn third(turns: &[(Direction, Vec<u8>)]) -> Probe {
        let sent = Ends { orig: turns[2].1.as_slice(), resp: turns[1].1.as_slice() };
        let ports = Ends { orig: 50_000, resp: 443 };
        let opening = Opening { carrier: Carrier::Datagram, sent, before: &turns[0].1, newest: Orig, ports };
        (OBFUSCATED.probe)(&opening)
    }

    #[test]
    fn datagrams_without_any_head_are_told_by_the_sizes_of_the_first() {
        let veiled = |seed| {
            let turns = dialogue(seed, |_, _| {});
            third(&turns) == Probe::Match && said(&of_datagrams(&turns), FIRST_DATAGRAMS) == Some("1208,1208")
        };
        let told = (1..=500).filter(|seed| veiled(*seed * 1_000_003)).count();
        assert!(told > 450, "{told}");
        let short = &dialogue(5, |_, _| {})[..20];
        assert!(of_datagrams(short).is_empty());
        let one_way: Vec<_> = dialogue(5, |_, _| {}).into_iter().map(|(_, bytes)| (Orig, bytes)).collect();
        assert!(said(&of_datagrams(&one_way), FIRST_DATAGRAMS).is_none());
    }

    #[test]
    fn encrypted_datagrams_that_have_a_head_are_not() {
        let counter = |i: usize| u32::try_from(i).unwrap();
        let shapes: [(&str, Shape<'_>); 7] = [
            // QUIC's short header: two bits, and an id towards the server.
            ("quic", &|_, bytes| bytes[0] = bytes[0] & 0x3f | 0x40),
            ("id of one end", &|i, bytes| {
                if i % 2 == 1 {
                    bytes[8..12].copy_from_slice(&[0x9d, 0x31, 0xe7, 0x58]);
                }
            }),
            ("esp", &|i, bytes| {
                bytes[..4].copy_from_slice(&[0x9d, 0x31, 0xe7, 0x58]);
                bytes[4..8].copy_from_slice(&counter(i).to_be_bytes());
            }),
            ("counter behind a random head", &|i, bytes| bytes[16..20].copy_from_slice(&counter(i).to_le_bytes())),
            ("rtp", &|i, bytes| bytes[..4].copy_from_slice(&[0x80, 0x6f, 0, i.to_le_bytes()[0]])),
            ("two kinds of message", &|i, bytes| bytes[0] = if i % 3 == 0 { 0x5a } else { 0xa5 }),
            ("length", &|_, bytes| {
                let len = u16::try_from(bytes.len()).unwrap();
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
            }),
        ];
        for (name, shape) in shapes {
            for seed in 1..40 {
                let turns = dialogue(seed * 1_000_003, shape);
                assert!(said(&of_datagrams(&turns), FIRST_DATAGRAMS).is_none(), "{name}");
            }
        }
        // The probe itself refuses an id before its session, text, and what is short.
        let id = dialogue(3, |_, bytes| bytes[..8].copy_from_slice(&[0x9d, 0x31, 0xe7, 0x58, 1, 2, 3, 4]));
        assert_eq!(third(&id), Probe::NoMatch);
        let is = |bytes: &[u8]| testkit::probe(&OBFUSCATED, Carrier::Datagram, bytes, b"");
        assert_eq!(is(&random(3, 20)), Probe::NoMatch);
        assert_eq!(is(b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n\0\0\0\0\0\0\0"), Probe::NoMatch);
        assert_eq!(is(&random(3, 90)), Probe::NeedMore);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..600, asked in 1usize..500, answered in 1usize..900) {
            let (ask, answer) = (random(5, asked), random(6, answered));
            let turns = [(Orig, &ask[..]), (Resp, &answer), (Orig, &ask)];
            prop_assert_eq!(testkit::stream(&OBFUSCATED, &turns, piece), testkit::stream(&OBFUSCATED, &turns, usize::MAX));
        }

        #[test]
        fn more_bytes_do_not_change_a_no(seed: u64, flat in 0usize..300, len in 0usize..400) {
            let mut bytes = random(seed, len);
            if let Some(byte) = bytes.get_mut(flat) {
                *byte = 0;
            }
            let mut refused = false;
            for end in 0..=bytes.len() {
                let answer = probe(&bytes[..end], b"");
                prop_assert!(!refused || answer == Probe::NoMatch);
                refused = answer == Probe::NoMatch;
            }
        }
    }
}
