//! RTP and RTCP: what sets them apart from other datagrams, and how much of which payload type each end sends.
//!
//! Reads: the fixed headers of RFC 3550, which SRTP leaves in clear (RFC 3711), and RTCP's packet types (RFC 4585,
//! RFC 3611). Does not: reorder, decrypt, or look at media.

use crate::base::{Direction, Ends, Reader};

/// Sequence numbers apart that loss and reordering explain (RFC 3550 appendix A.1 lets 3000 pass).
const LARGEST_STEP: u16 = 3_000;

/// A fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload type, without the marker bit.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Time stamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// Reads a datagram's; `None` if it can't be RTP. RTCP's types are no payload types (RFC 5761 section 4).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let (first, second) = (r.u8()?, r.u8()?);
        let (sequence, timestamp, ssrc) = (r.u16()?, r.u32()?, r.u32()?);
        let payload_type = second & 0x7f;
        let sources = usize::from(first & 0xf) * 4;
        if first & 0xc0 != 0x80 || matches!(payload_type, 64..=95) || ssrc == 0 {
            return None;
        }
        r.take(sources)?;
        if first & 0x10 != 0 {
            r.u16()?;
            let words = r.u16()?;
            r.take(usize::from(words) * 4)?;
        }
        Some(Self { payload_type, sequence, timestamp, ssrc })
    }

    /// Whether `next` may be the packet after this one, of the same source.
    #[must_use]
    pub const fn goes_on_in(&self, next: &Self) -> bool {
        let step = next.sequence.wrapping_sub(self.sequence);
        let ticks = next.timestamp.wrapping_sub(self.timestamp);
        // 90 kHz for 10 s; within a picture the time stands still.
        self.ssrc == next.ssrc && step >= 1 && step <= LARGEST_STEP && ticks < 900_000
    }

    /// Whether this is a payload type in use: one of the static ones of RFC 3551, or a dynamic one.
    #[must_use]
    pub const fn is_plausible(&self) -> bool {
        matches!(self.payload_type, 0 | 3..=18 | 25 | 26 | 28 | 31..=34 | 96..=127)
    }
}

/// The source of a report in an RTCP packet, plain or protected, whose lengths are right; `None` for anything else.
#[must_use]
pub fn rtcp_source(bytes: &[u8]) -> Option<u32> {
    let mut r = Reader::new(bytes);
    let (first, kind, words, ssrc) = (r.u8()?, r.u8()?, r.u16()?, r.u32()?);
    let reports = u16::from(first & 0x1f);
    // A report has a fixed length; profiles may add to it, and nobody does.
    let length = match kind {
        SENDER_REPORT => 6 + 6 * reports,
        RECEIVER_REPORT => 1 + 6 * reports,
        _ => return None,
    };
    let whole = usize::from(words) * 4 + 4;
    (first & 0xe0 == 0x80 && words == length && bytes.len() >= whole).then_some(ssrc)
}

/// Whether a datagram holds RTCP packets and nothing else (RFC 3550 section 6.1: the first is a report).
#[must_use]
pub fn is_compound(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes);
    while !r.is_empty() {
        let (Some(first), Some(kind), Some(words)) = (r.u8(), r.u8(), r.u16()) else { return false };
        let sound = first & 0xc0 == 0x80 && (192..=223).contains(&kind) && r.take(usize::from(words) * 4).is_some();
        if !sound {
            return false;
        }
    }
    rtcp_source(bytes).is_some()
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// Packets and bytes of one payload type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// The type.
    pub payload_type: u8,
    /// Packets.
    pub packets: u64,
    /// Bytes with their headers.
    pub bytes: u64,
}

/// Payload types counted of each end; a browser's call has seldom more than four.
const TYPES: usize = 4;
/// Sources followed of each end: a call has one for sound, one for pictures and one for what is sent again.
const SOURCES: usize = 4;
/// Packets that must go on from one another before it is RTP.
const SURE: u8 = 4;
/// Packets looked at before it is given up.
const PATIENCE: u8 = 12;

/// Follows both ends.
#[derive(Debug, Default)]
pub struct Tracker {
    ends: Ends<End>,
    looked: u8,
    reports: u8,
    compound: bool,
    sure: bool,
}

#[derive(Debug, Default)]
struct End {
    /// The newest packet of each source, and how many have followed one another.
    sources: [Option<(Header, u8)>; SOURCES],
    sent: [Sent; TYPES],
    report: Option<u32>,
}

/// What a tracker thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It needs more packets.
    Open,
    /// It is RTP.
    Sure,
    /// It is none.
    No,
}

impl Tracker {
    /// A datagram whose first two bits say version 2.
    pub fn on_datagram(&mut self, dir: Direction, bytes: &[u8], missing: u32) -> Verdict {
        let rtcp = bytes.get(1).is_some_and(|kind| (192..=223).contains(kind));
        if rtcp {
            if !self.sure {
                self.on_report(dir, bytes);
            }
        } else if let Some(header) = Header::parse(bytes) {
            let whole = u64::try_from(bytes.len()).unwrap_or(0) + u64::from(missing);
            let end = self.ends.of_mut(dir);
            end.count(header.payload_type, whole);
            if !self.sure {
                self.sure = end.follow(header) >= SURE;
            }
        }
        if self.sure {
            return Verdict::Sure;
        }
        self.looked += 1;
        if self.looked >= PATIENCE { Verdict::No } else { Verdict::Open }
    }

    /// Reports alone: three of one source.
    fn on_report(&mut self, dir: Direction, bytes: &[u8]) {
        let Some(source) = rtcp_source(bytes) else { return };
        self.compound |= is_compound(bytes);
        let known = self.ends.of_mut(dir).report.replace(source);
        self.reports += u8::from(known == Some(source));
        self.sure |= self.reports >= 2;
    }

    /// Whether a whole compound of RTCP was seen, which can hardly be anything else.
    #[must_use]
    pub const fn saw_compound(&self) -> bool {
        self.compound
    }

    /// What an end has sent, in the order in which its types came up.
    pub fn sent(&self, dir: Direction) -> impl Iterator<Item = &Sent> {
        self.ends.of(dir).sent.iter().filter(|sent| sent.packets > 0)
    }
}

impl End {
    /// How many packets of that source have followed one another.
    fn follow(&mut self, header: Header) -> u8 {
        let known = self.sources.iter().position(|s| s.is_some_and(|(newest, _)| newest.ssrc == header.ssrc));
        let place = known.or_else(|| self.sources.iter().position(Option::is_none)).unwrap_or(0);
        let Some(slot) = self.sources.get_mut(place) else { return 0 };
        let followed = match slot {
            Some((newest, n)) if newest.goes_on_in(&header) && header.is_plausible() => *n + 1,
            // Sent twice, or late: neither for nor against it.
            Some((newest, n)) if newest.ssrc == header.ssrc && newest.sequence.wrapping_sub(header.sequence) < 64 => {
                return *n;
            }
            _ => 1,
        };
        *slot = Some((header, followed));
        followed
    }

    fn count(&mut self, payload_type: u8, bytes: u64) {
        let place = self.sent.iter_mut().find(|s| s.packets == 0 || s.payload_type == payload_type);
        if let Some(sent) = place {
            *sent = Sent { payload_type, packets: sent.packets + 1, bytes: sent.bytes + bytes };
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
        let mut out = vec![0x80, payload_type];
        out.extend(sequence.to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend(ssrc.to_be_bytes());
        out.extend([0x55; 160]);
        out
    }

    fn verdict(packets: &[Vec<u8>]) -> Verdict {
        let mut tracker = Tracker::default();
        packets.iter().map(|p| tracker.on_datagram(Direction::Orig, p, 0)).last().unwrap()
    }

    #[test]
    fn four_packets_that_go_on_are_rtp() {
        let packets: Vec<_> = (0..4).map(|i| packet(0, 65_534u16.wrapping_add(i), 160 * u32::from(i), 77)).collect();
        assert_eq!(verdict(&packets[..3]), Verdict::Open);
        assert_eq!(verdict(&packets), Verdict::Sure);
    }

    #[test]
    fn what_does_not_go_on_is_none() {
        let sources: Vec<_> = (0..12).map(|i| packet(0, i, 0, 77 + u32::from(i))).collect();
        assert_eq!(verdict(&sources), Verdict::No);
        let still: Vec<_> = (0..12).map(|_| packet(0, 7, 0, 77)).collect();
        assert_eq!(verdict(&still), Verdict::No);
        let leaps: Vec<_> = (0..12).map(|i| packet(0, i, u32::from(i) * 0x1000_0000, 77)).collect();
        assert_eq!(verdict(&leaps), Verdict::No);
        let unassigned: Vec<_> = (0..12).map(|i| packet(50, i, 0, 77)).collect();
        assert_eq!(verdict(&unassigned), Verdict::No);
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        assert!(Header::parse(&packet(72, 1, 1, 1)).is_none());
        assert!(Header::parse(&packet(0, 1, 1, 0)).is_none());
        let mut extended = packet(111, 1, 1, 1);
        extended[0] = 0x90;
        extended[14..16].copy_from_slice(&[0xff, 0xff]);
        assert!(Header::parse(&extended).is_none());
        assert!(Header::parse(&packet(0, 1, 1, 1)[..11]).is_none());
    }

    #[test]
    fn a_report_has_the_length_of_its_blocks() {
        let receiver = [&[0x81, 201, 0, 7, 0, 0, 0, 9][..], &[0; 24]].concat();
        assert_eq!(rtcp_source(&receiver), Some(9));
        assert!(is_compound(&receiver));
        let protected = [&receiver[..], &[0xee; 14]].concat();
        assert_eq!((rtcp_source(&protected), is_compound(&protected)), (Some(9), false));
        assert_eq!(rtcp_source(&[0x82, 201, 0, 7, 0, 0, 0, 9]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Header::parse(&bytes), rtcp_source(&bytes), is_compound(&bytes));
            let mut tracker = Tracker::default();
            for _ in 0..20 {
                tracker.on_datagram(Direction::Resp, &bytes, 3);
            }
        }
    }
}
