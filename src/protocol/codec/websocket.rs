//! WebSocket frames, as they arrive piece by piece.
//!
//! Reads: headers and payload of one direction, and takes the mask off. Does not: inflate (permessage-deflate, RFC
//! 7692), put fragments together, or keep anything but an unfinished header.
//!
//! Reference: RFC 6455, section 5.2.

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
    /// Close, ping or pong: about the connection, no message.
    Control,
}

/// A piece of a frame's payload, without its mask.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Of which kind of message; a continuation has that of the message it continues.
    pub kind: Kind,
    /// The message is compressed, so that the bytes say nothing.
    pub compressed: bool,
    /// The bytes; may be empty.
    pub bytes: Vec<u8>,
    /// These are the frame's last bytes.
    pub ends: bool,
}

/// The bytes are no WebSocket frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFrames;

/// The frames of one direction. A client has to mask what it sends and a server must not (RFC 6455, 5.1), but wstunnel's
/// client does not, so each frame is taken as it says.
#[derive(Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    payload: Option<Payload>,
    /// Kind and compression of the message that a continuation continues.
    message: Option<(Kind, bool)>,
}

/// A payload of which bytes are awaited.
#[derive(Debug, Clone, Copy)]
struct Payload {
    kind: Kind,
    compressed: bool,
    left: u64,
    mask: [u8; 4],
    /// Which byte of the mask is next.
    turn: usize,
}

impl Frames {
    /// Reads on in `bytes`: the next part of a payload, as far as it is there.
    ///
    /// # Errors
    ///
    /// Where a header breaks a rule; nothing can be read from there on.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Part>, NotFrames> {
        let mut payload = match self.payload.take() {
            Some(payload) => payload,
            None => match self.header(bytes)? {
                Some(payload) => payload,
                None => return Ok(None),
            },
        };
        if bytes.is_empty() && payload.left > 0 {
            self.payload = Some(payload);
            return Ok(None);
        }
        let here = usize::try_from(payload.left).unwrap_or(usize::MAX).min(bytes.len());
        let (own, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
        *bytes = rest;
        let clear = own.iter().zip(payload.mask.iter().cycle().skip(payload.turn)).map(|(byte, mask)| byte ^ mask);
        let part = Part {
            kind: payload.kind,
            compressed: payload.compressed,
            bytes: clear.collect(),
            ends: payload.left == here as u64,
        };
        payload.left -= here as u64;
        payload.turn = (payload.turn + here) % payload.mask.len();
        if !part.ends {
            self.payload = Some(payload);
        }
        Ok(Some(part))
    }

    /// Reads a header to its end, if that is there.
    fn header(&mut self, bytes: &mut &[u8]) -> Result<Option<Payload>, NotFrames> {
        loop {
            if let Some(payload) = self.whole_header()? {
                self.header.clear();
                return Ok(Some(payload));
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            self.header.push(*byte);
            *bytes = rest;
        }
    }

    /// What the header's bytes say, once there are enough of them: two, the long length, the mask.
    fn whole_header(&mut self) -> Result<Option<Payload>, NotFrames> {
        let [first, second, more @ ..] = self.header.as_slice() else { return Ok(None) };
        let (fin, compressed, code) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0f);
        if first & 0x30 != 0 {
            return Err(NotFrames);
        }
        let masked = second & 0x80 != 0;
        let (long, short) = (more, u64::from(second & 0x7f));
        let (left, mask) = match short {
            126 => match long.split_first_chunk::<2>() {
                // The shortest form that holds it must be used.
                Some((length, mask)) => (least(u16::from_be_bytes(*length).into(), 126)?, mask),
                None => return Ok(None),
            },
            127 => match long.split_first_chunk::<8>() {
                Some((length, mask)) => (least(u64::from_be_bytes(*length), 0x1_0000)?, mask),
                None => return Ok(None),
            },
            short => (short, long),
        };
        let mask = match (masked, mask.first_chunk::<4>()) {
            (false, _) => [0; 4],
            (true, Some(mask)) => *mask,
            (true, None) => return Ok(None),
        };
        let (kind, compressed) = match (code, self.message) {
            (0, Some((kind, was))) if !compressed => (kind, was),
            (1, None) => (Kind::Text, compressed),
            (2, None) => (Kind::Binary, compressed),
            (8..=10, _) if fin && !compressed && left < 126 => (Kind::Control, false),
            _ => return Err(NotFrames),
        };
        if kind != Kind::Control {
            self.message = if fin { None } else { Some((kind, compressed)) };
        }
        Ok(Some(Payload { kind, compressed, left, mask, turn: 0 }))
    }
}

/// A length that could not have been said in a shorter form, nor is beyond what 63 bits hold.
const fn least(length: u64, least: u64) -> Result<u64, NotFrames> {
    if length >= least && length >> 63 == 0 { Ok(length) } else { Err(NotFrames) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All parts of `bytes` given in pieces, those of one frame put together.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<(Kind, Vec<u8>)>, NotFrames> {
        let mut frames = Frames::default();
        let (mut told, mut open) = (Vec::new(), Vec::new());
        for mut bytes in bytes.chunks(piece) {
            while let Some(part) = frames.next(&mut bytes)? {
                open.extend(part.bytes);
                if part.ends {
                    told.push((part.kind, std::mem::take(&mut open)));
                }
            }
        }
        Ok(told)
    }

    /// RFC 6455, 5.7.
    #[test]
    fn the_examples_of_the_rfc() {
        let hello = Ok(vec![(Kind::Text, b"Hello".to_vec())]);
        assert_eq!(read(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], 99), hello);
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(&masked, 99), hello);
        let split = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x89, 0x00, 0x80, 0x02, 0x6c, 0x6f];
        let parts = [(Kind::Text, &b"Hel"[..]), (Kind::Control, b""), (Kind::Text, b"lo")];
        assert_eq!(read(&split, 99), Ok(parts.map(|(kind, bytes)| (kind, bytes.to_vec())).to_vec()));
        let mut long = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
        long.resize(10 + 65_536, 7);
        assert_eq!(read(&long, 1_000), Ok(vec![(Kind::Binary, vec![7; 65_536])]));
    }

    #[test]
    fn what_breaks_a_rule_is_no_frame() {
        let cases: [&[u8]; 6] = [
            &[0xa1, 0x05],
            &[0x83, 0x00],
            &[0x80, 0x00],
            &[0x09, 0x00],
            &[0x82, 0x7e, 0x00, 0x7d],
            b"HTTP/1.1 200 OK\r\n",
        ];
        for bytes in cases {
            assert_eq!(read(bytes, 99), Err(NotFrames), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_and_none_panics(
            masked: bool, bytes in proptest::collection::vec(any::<u8>(), 0..80), piece in 1usize..9,
        ) {
            let mut all = if masked { vec![0x82, 0x83, 1, 2, 3, 4, 9, 9, 9] } else { vec![0x82, 2, 9, 9] };
            all.extend(bytes);
            prop_assert_eq!(read(&all, piece), read(&all, usize::MAX));
        }
    }
}
