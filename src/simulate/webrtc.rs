//! Datagrams of a WebRTC session once it stands: consent checks, media, feedback, data.
//!
//! Reads: a stream of chance. Emits: STUN Binding requests and answers with their fingerprint (RFC 8489, RFC 7675), RTP
//! and RTCP headers (RFC 3550) over random bytes, DTLS application data (RFC 9147). Does not: shake hands, encrypt, or
//! compute message integrity: the key is known to nobody.

use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use std::net::{IpAddr, SocketAddr};

const COOKIE: u32 = 0x2112_a442;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Check,
    CheckAnswer,
    /// The last packet of a picture.
    Picture,
    Media,
    Feedback,
    Data,
    Other,
}

/// Tells what a datagram of this file is (RFC 7983).
pub(super) fn kind(datagram: &[u8]) -> Kind {
    match datagram {
        [0, 1, ..] => Kind::Check,
        [1, 1, ..] => Kind::CheckAnswer,
        [23, ..] => Kind::Data,
        [first, second, ..] if first >> 6 == 2 => match second {
            200..=207 => Kind::Feedback,
            _ if second & 0x80 != 0 => Kind::Picture,
            _ => Kind::Media,
        },
        _ => Kind::Other,
    }
}

/// A consent check.
pub(super) fn check(chance: &mut Random) -> Vec<u8> {
    let id: [u8; 12] = chance.array();
    let tie_breaker: [u8; 8] = chance.array();
    stun(0x0001, &id, chance, |o| {
        attribute(o, 0x0006, b"pR4f:k9Zw");
        attribute(o, 0x0024, &1_853_824_767_u32.to_be_bytes());
        attribute(o, 0x802a, &tie_breaker);
    })
}

/// The answer to a check that came from `from`.
pub(super) fn check_answer(check: &[u8], from: SocketAddr, chance: &mut Random) -> Vec<u8> {
    let id: [u8; 12] = check.get(8..20).and_then(|id| id.try_into().ok()).unwrap_or_default();
    let port = from.port() ^ (COOKIE >> 16) as u16;
    stun(0x0101, &id, chance, |o| {
        let mapped = Octets::of(|o| match from.ip() {
            IpAddr::V4(ip) => {
                o.put([0, 1]);
                o.u16(port);
                o.u32(u32::from(ip) ^ COOKIE);
            }
            IpAddr::V6(ip) => {
                o.put([0, 2]);
                o.u16(port);
                let mask = Octets::of(|o| {
                    o.u32(COOKIE);
                    o.put(id);
                });
                ip.octets().iter().zip(mask).for_each(|(a, b)| o.u8(a ^ b));
            }
        });
        attribute(o, 0x0020, &mapped);
    })
}

fn stun(kind: u16, id: &[u8; 12], chance: &mut Random, attributes: impl FnOnce(&mut Octets)) -> Vec<u8> {
    let integrity = chance.bytes(20);
    let body = Octets::of(|o| {
        attributes(o);
        attribute(o, 0x0008, &integrity);
    });
    let mut message = Octets::of(|o| {
        o.u16(kind);
        // The fingerprint's 8 bytes count.
        o.u16(body.len().saturating_add(8) as u16);
        o.u32(COOKIE);
        o.put(id);
        o.put(body);
    });
    let mut crc = flate2::Crc::new();
    crc.update(&message);
    message.extend(Octets::of(|o| attribute(o, 0x8028, &(crc.sum() ^ 0x5354_554e).to_be_bytes())));
    message
}

fn attribute(o: &mut Octets, kind: u16, value: &[u8]) {
    o.u16(kind);
    o.u16(value.len() as u16);
    o.put(value);
    o.put(vec![0; value.len().next_multiple_of(4) - value.len()]);
}

/// One direction of one medium.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    source: u32,
    number: u16,
    clock: u32,
    payload: u8,
}

impl Stream {
    /// A stream of that payload type.
    pub(super) fn new(payload: u8, chance: &mut Random) -> Self {
        let number = chance.below(1 << 15) as u16;
        Self { source: u32::from_be_bytes(chance.array()), number, clock: u32::from_be_bytes(chance.array()), payload }
    }

    /// A frame of so many bytes, cut into packets, the last one marked; `ticks` after the one before.
    pub(super) fn frame(&mut self, size: usize, ticks: u32, chance: &mut Random) -> Vec<Vec<u8>> {
        const MOST: usize = 1_100;
        self.clock = self.clock.wrapping_add(ticks);
        let packets = size.div_ceil(MOST).max(1);
        (0..packets)
            .map(|n| {
                let last = n + 1 == packets;
                let body = chance.bytes(if last { size - n * MOST } else { MOST } + 10);
                self.number = self.number.wrapping_add(1);
                Octets::of(|o| {
                    o.put([0x80, self.payload | if last { 0x80 } else { 0 }]);
                    o.u16(self.number);
                    o.u32(self.clock);
                    o.u32(self.source);
                    o.put(body);
                })
            })
            .collect()
    }

    /// A receiver report about it with transport-wide feedback behind (RFC 3550,
    /// draft-holmer-rmcat-transport-wide-cc-extensions), encrypted as the first bit of the index says, and authenticated
    /// with 80 bits (RFC 3711, section 3.4).
    pub(super) fn feedback(&self, chance: &mut Random) -> Vec<u8> {
        let (sealed, index, tag) = (chance.bytes(24 + 24), chance.below(1 << 31) as u32, chance.bytes(10));
        Octets::of(|o| {
            o.put([0x81, 201]);
            o.u16(7);
            o.u32(self.source);
            o.put(sealed);
            o.u32(index | 1 << 31);
            o.put(tag);
        })
    }
}

/// A message on a data channel: DTLS 1.2 application data of the first epoch.
pub(super) fn data(number: u64, length: usize, chance: &mut Random) -> Vec<u8> {
    let sealed = chance.bytes(length);
    Octets::of(|o| {
        o.put([23, 0xfe, 0xfd, 0, 1]);
        o.put(number.to_be_bytes().get(2..).unwrap_or_default());
        o.block(2, |o| o.put(sealed));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_whole_words_with_the_right_fingerprint() {
        let mut chance = Random::stream(1, "stun");
        let ask = check(&mut chance);
        let answer = check_answer(&ask, "198.18.1.9:5000".parse().unwrap(), &mut chance);
        for message in [&ask, &answer] {
            assert_eq!(usize::from(u16::from_be_bytes([message[2], message[3]])) + 20, message.len());
            let mut crc = flate2::Crc::new();
            crc.update(&message[..message.len() - 8]);
            assert_eq!(message[message.len() - 4..], (crc.sum() ^ 0x5354_554e).to_be_bytes());
        }
        assert_eq!(ask[8..20], answer[8..20]);
        assert_eq!((kind(&ask), kind(&answer)), (Kind::Check, Kind::CheckAnswer));
    }

    #[test]
    fn a_frame_is_cut_and_its_last_packet_marked() {
        let mut chance = Random::stream(1, "rtp");
        let mut stream = Stream::new(96, &mut chance);
        let packets = stream.frame(3_000, 3_000, &mut chance);
        let kinds: Vec<Kind> = packets.iter().map(|p| kind(p)).collect();
        assert_eq!(kinds, [Kind::Media, Kind::Media, Kind::Picture]);
        assert_eq!(kind(&stream.feedback(&mut chance)), Kind::Feedback);
        assert_eq!(kind(&data(1, 60, &mut chance)), Kind::Data);
    }
}
