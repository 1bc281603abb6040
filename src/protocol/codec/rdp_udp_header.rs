//! The headers of RDP-UDP's datagrams, of versions 1 and 2 ([MS-RDPEUDP]) and 3, which is called RDP-UDP2
//! ([MS-RDPEUDP2]).
//!
//! Reads: the handshake, and where the payload of a data datagram begins. Does not: keep state, correct errors, or read
//! acknowledgements beyond their length.
//!
//! Reference: [MS-RDPEUDP] 2.2.2, [MS-RDPEUDP2] 2.2.1.

use crate::base::Reader;

/// Flags of `RDPUDP_FEC_HEADER` ([MS-RDPEUDP] 2.2.2.1).
pub mod flag {
    /// Opens a connection.
    pub const SYN: u16 = 0x0001;
    /// Holds an acknowledgement vector, or answers a SYN.
    pub const ACK: u16 = 0x0004;
    /// Holds a payload.
    pub const DATA: u16 = 0x0008;
    /// The payload is there to correct errors.
    pub const FEC: u16 = 0x0010;
    /// Acknowledges acknowledgements.
    pub const ACK_OF_ACKS: u16 = 0x0100;
    /// Lost payloads are not sent again.
    pub const SYN_LOSSY: u16 = 0x0200;
    /// A correlation identifier follows.
    pub const CORRELATION_ID: u16 = 0x0800;
    /// A version follows.
    pub const SYN_EX: u16 = 0x1000;
    /// All that are defined.
    pub const ALL: u16 = 0x1f7f;
}

/// What a SYN or SYN+ACK may bear.
const SYN_FLAGS: u16 = flag::SYN | flag::ACK | flag::SYN_LOSSY | flag::CORRELATION_ID | flag::SYN_EX;
/// What an end may offer as its largest datagram, in bytes ([MS-RDPEUDP] 2.2.2.5).
const MTU: std::ops::RangeInclusive<u16> = 1_132..=1_232;
/// The version that is RDP-UDP2.
pub const VERSION_3: u16 = 0x0101;

/// A SYN or SYN+ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syn {
    /// Which flags.
    pub flags: u16,
    /// The sequence number acknowledged; all ones in a SYN.
    pub acknowledged: u32,
    /// The first sequence number of this end.
    pub initial: u32,
    /// Largest datagrams, up and down, in bytes.
    pub mtu: (u16, u16),
    /// Names the connection in the logs of both ends.
    pub correlation: Option<[u8; 16]>,
    /// The highest version spoken; 1 if none is said.
    pub version: u16,
}

impl Syn {
    /// `None` if it is not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let acknowledged = reader.u32()?;
        let _window = reader.u16()?;
        let flags = reader.u16()?;
        let answers = flags & flag::ACK != 0;
        if flags & flag::SYN == 0 || flags & !SYN_FLAGS != 0 || !answers && acknowledged != u32::MAX {
            return None;
        }
        let initial = reader.u32()?;
        let mtu = (reader.u16()?, reader.u16()?);
        if !MTU.contains(&mtu.0) || !MTU.contains(&mtu.1) {
            return None;
        }
        let mut correlation = None;
        if flags & flag::CORRELATION_ID != 0 {
            correlation = Some(reader.array()?);
            reader.take(16)?;
        }
        let mut version = 1;
        if flags & flag::SYN_EX != 0 && reader.u16()? & 1 != 0 {
            version = reader.u16()?;
        }
        // Clients have been seen to offer versions that no document names.
        matches!(version, 1..=15 | 0x0101..=0x010f).then_some(Self {
            flags,
            acknowledged,
            initial,
            mtu,
            correlation,
            version,
        })
    }

    /// Whether it answers another SYN.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        self.flags & flag::ACK != 0
    }
}

/// A datagram with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// What the sender has received; version 3 says it elsewhere.
    pub acknowledged: u32,
    /// Its place in the order of datagrams, repeated ones included.
    pub coded: u32,
    /// Its place in the order of payloads.
    pub place: u32,
    /// It corrects errors instead of bearing bytes of its own.
    pub corrects: bool,
    /// The bytes.
    pub payload: &'a [u8],
}

impl<'a> Data<'a> {
    /// Reads a datagram of versions 1 and 2; `None` if it has no payload or is none.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let acknowledged = reader.u32()?;
        let _window = reader.u16()?;
        let flags = reader.u16()?;
        if flags & (flag::DATA | flag::SYN) != flag::DATA || flags & !flag::ALL != 0 {
            return None;
        }
        if flags & flag::ACK != 0 {
            let elements = usize::from(reader.u16()?);
            // The size and the elements together are padded to whole double words.
            reader.take((elements + 2).next_multiple_of(4) - 2)?;
        }
        if flags & flag::ACK_OF_ACKS != 0 {
            reader.u32()?;
        }
        let (coded, place) = (reader.u32()?, reader.u32()?);
        let corrects = flags & flag::FEC != 0;
        if corrects {
            reader.u32()?;
        }
        Some(Self { acknowledged, coded, place, corrects, payload: reader.rest() })
    }
}

/// What a datagram of versions 1 and 2 acknowledges: the newest coded number its sender has received.
#[must_use]
pub fn acknowledged(bytes: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(bytes);
    let newest = reader.u32()?;
    let _window = reader.u16()?;
    let flags = reader.u16()?;
    (flags & (flag::ACK | flag::SYN) == flag::ACK && flags & !flag::ALL == 0).then_some(newest)
}

/// The largest datagram of version 3 that is read, in bytes.
const PACKET: usize = 1_600;
/// Packet types of version 3.
const DATA_PACKET: u8 = 0;
const DUMMY_PACKET: u8 = 8;

/// Flags of RDP-UDP2 ([MS-RDPEUDP2] 2.2.1.1).
mod flag2 {
    pub(super) const ACK: u16 = 0x001;
    pub(super) const DATA: u16 = 0x004;
    pub(super) const ACK_VECTOR: u16 = 0x008;
    pub(super) const ACK_OF_ACKS: u16 = 0x010;
    pub(super) const OVERHEAD: u16 = 0x040;
    pub(super) const DELAY_ACK: u16 = 0x100;
}

/// A datagram of version 3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packet3<'a> {
    /// The newest number that its sender has received.
    pub acknowledged: Option<u16>,
    /// Its own number, and what it bears; a dummy, sent to measure the path, bears nothing.
    pub data: Option<Data3<'a>>,
}

/// The payload of a datagram of version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data3<'a> {
    /// Its place in the order of datagrams, repeated ones included.
    pub number: u16,
    /// Its place in the order of payloads.
    pub place: u16,
    /// The bytes.
    pub payload: &'a [u8],
}

impl<'a> Packet3<'a> {
    /// Reads a datagram; `None` if it is cut short.
    ///
    /// The first and the eighth byte are exchanged on the wire, so that it is not taken for an older version.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut head = [0; 8];
        head.copy_from_slice(bytes.get(..8)?);
        head.swap(0, 7);
        let kind = head.first()? >> 1 & 0xf;
        if !matches!(kind, DATA_PACKET | DUMMY_PACKET) || bytes.len() > PACKET {
            return None;
        }
        let mut reader = Unswapped { head, bytes, at: 1 };
        let flags = reader.u16_le()? & 0xfff;
        let mut packet = Self::default();
        if flags & flag2::ACK != 0 {
            packet.acknowledged = Some(reader.u16_le()?);
            // When it was received, how long the answer waited, and delays of those before it.
            reader.skip(4)?;
            let delayed = reader.u8()? & 0xf;
            reader.skip(usize::from(delayed))?;
        }
        for (bit, size) in [(flag2::OVERHEAD, 1), (flag2::DELAY_ACK, 3), (flag2::ACK_OF_ACKS, 2)] {
            if flags & bit != 0 {
                reader.skip(size)?;
            }
        }
        if flags & flag2::DATA != 0 && kind == DATA_PACKET {
            packet.data = Some(Data3::read(&mut reader, flags)?);
        }
        Some(packet)
    }
}

impl<'a> Data3<'a> {
    fn read(reader: &mut Unswapped<'a>, flags: u16) -> Option<Self> {
        let number = reader.u16_le()?;
        if flags & flag2::ACK_VECTOR != 0 {
            reader.skip(2)?;
            let size = reader.u8()?;
            let stamped = if size & 0x80 != 0 { 4 } else { 0 };
            reader.skip(stamped + usize::from(size & 0x7f))?;
        }
        let place = reader.u16_le()?;
        // The shortest headers with data end behind the exchanged bytes, or with the last of them.
        let payload = reader.bytes.get(reader.at..).filter(|_| reader.at >= reader.head.len())?;
        Some(Self { number, place, payload })
    }
}

/// Reads as if the first and the eighth byte stood where they belong.
struct Unswapped<'a> {
    head: [u8; 8],
    bytes: &'a [u8],
    at: usize,
}

impl Unswapped<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.head.get(self.at).or_else(|| self.bytes.get(self.at))?;
        self.at += 1;
        Some(byte)
    }

    fn u16_le(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.at += n;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_version_3_is_found_behind_exchanged_bytes() {
        let read = |bytes| Packet3::read(bytes).unwrap();
        let data = |number, place, payload| Some(Data3 { number, place, payload });
        // Flags: data, acknowledgement of acknowledgements, delayed acknowledgement; window 2^12.
        let hello = [0x00, 0x14, 0xc1, 0x01, 0xf4, 0x01, 0x64, 0xe0, 0x64, 0x00, 0x01, 0x00, 0x16, 3, 3, 0];
        assert_eq!(read(&hello).data, data(0x64, 1, &[0x16, 3, 3, 0][..]));
        let again = [0x01, 0x14, 0xc0, 0x66, 0x00, 0x66, 0x00, 0xe0, 0x00, 0x16, 3];
        assert_eq!(read(&again).data, data(0x66, 1, &[0x16, 3][..]));
        // A dummy that acknowledges.
        let dummy = [0x00, 0x55, 0xc1, 0x64, 0x00, 0xdb, 0x05, 0xf0, 0, 0, 0, 0x0a, 0, 0, 1, 0xf4, 1, 0x64];
        assert_eq!((read(&dummy).acknowledged, read(&dummy).data), (Some(0x64), None));
        let acknowledgement = [0x00, 0x01, 0xc0, 0x64, 0, 1, 2, 0xe0, 3, 0];
        assert_eq!(read(&acknowledgement), Packet3 { acknowledged: Some(0x64), data: None });
        assert_eq!(Packet3::read(&acknowledgement[..9]), None);
        assert_eq!(Packet3::read(&[0, 0x14, 0xc0, 1, 0, 1, 0, 0xe2, 1, 0]), None);
    }

    #[test]
    fn an_acknowledgement_vector_is_passed_over_with_its_padding() {
        let one = [0xc7, 0x6d, 0x5c, 0x17, 4, 0, 0, 0x0c, 0, 1, 9, 9, 0, 0, 0, 7, 0, 0, 0, 6, 0x16];
        let data = Data::read(&one).unwrap();
        assert_eq!((data.coded, data.place, data.payload, data.corrects), (7, 6, &[0x16][..], false));
        let none = [0xc7, 0x6d, 0x5c, 0x17, 4, 0, 0, 0x0c, 0, 0, 9, 9, 0, 0, 0, 7, 0, 0, 0, 6];
        assert_eq!(Data::read(&none).map(|d| d.payload), Some(&[][..]));
        let fec = [0, 0, 0, 1, 4, 0, 0, 0x18, 0, 0, 0, 7, 0, 0, 0, 6, 1, 0, 0, 0, 0xaa];
        assert_eq!(Data::read(&fec).map(|d| (d.corrects, d.payload)), Some((true, &[0xaa][..])));
        assert_eq!(Data::read(&one[..18]), None);
        assert_eq!((acknowledged(&one), acknowledged(&fec)), (Some(0xc76d_5c17), None));
    }
}
