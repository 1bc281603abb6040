//! WebSocket frames, as they arrive piece by piece.
//!
//! Reads: headers and payload of one direction, and takes the mask off; or control frames alone. Does not: inflate
//! (permessage-deflate, RFC 7692), put fragments together, or keep anything but an unfinished header.
//!
//! Reference: RFC 6455, sections 5.2 and 5.5.

use crate::base::Timestamp;

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
    /// A question to the other end; no message.
    Ping,
    /// The answer to one, with the same bytes.
    Pong,
    /// The end, or a control frame to come: no message.
    Control,
}

impl Kind {
    /// Whether it is about the connection, and no message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Control)
    }
}

/// A piece of a frame's payload, without its mask.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// When the frame's first byte passed.
    pub began: Timestamp,
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
    /// When the header's first byte passed.
    began: Timestamp,
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

impl Payload {
    /// Takes from `bytes` what is its own.
    fn own<'b>(&self, bytes: &mut &'b [u8]) -> &'b [u8] {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (own, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
        *bytes = rest;
        own
    }
}

impl Frames {
    /// Reads on in `bytes`, which passed at `at`: the next part of a payload, as far as it is there.
    ///
    /// # Errors
    ///
    /// Where a header breaks a rule; nothing can be read from there on.
    pub fn next(&mut self, at: Timestamp, bytes: &mut &[u8]) -> Result<Option<Part>, NotFrames> {
        let Some(mut payload) = self.begun(at, bytes)? else { return Ok(None) };
        if bytes.is_empty() && payload.left > 0 {
            self.payload = Some(payload);
            return Ok(None);
        }
        let own = payload.own(bytes);
        let here = own.len();
        let clear = own.iter().zip(payload.mask.iter().cycle().skip(payload.turn)).map(|(byte, mask)| byte ^ mask);
        let part = Part {
            began: self.began,
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

    /// Reads on in `bytes` as [`Frames::next`] does, but passes over messages without a copy of them: gives the next part
    /// of a control frame.
    ///
    /// # Errors
    ///
    /// As for [`Frames::next`].
    pub fn next_control(&mut self, at: Timestamp, bytes: &mut &[u8]) -> Result<Option<Part>, NotFrames> {
        while let Some(mut payload) = self.begun(at, bytes)? {
            if payload.kind.is_control() {
                self.payload = Some(payload);
                return self.next(at, bytes);
            }
            payload.left -= payload.own(bytes).len() as u64;
            if payload.left > 0 {
                self.payload = Some(payload);
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The payload at hand, or that of the next header.
    fn begun(&mut self, at: Timestamp, bytes: &mut &[u8]) -> Result<Option<Payload>, NotFrames> {
        match self.payload.take() {
            Some(payload) => Ok(Some(payload)),
            None => self.header(at, bytes),
        }
    }

    /// Reads a header to its end, if that is there.
    fn header(&mut self, at: Timestamp, bytes: &mut &[u8]) -> Result<Option<Payload>, NotFrames> {
        loop {
            if let Some(payload) = self.whole_header()? {
                self.header.clear();
                return Ok(Some(payload));
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            if self.header.is_empty() {
                self.began = at;
            }
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
            (8..=10, _) if fin && !compressed && left < 126 => match code {
                9 => (Kind::Ping, false),
                10 => (Kind::Pong, false),
                _ => (Kind::Control, false),
            },
            _ => return Err(NotFrames),
        };
        if !kind.is_control() {
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
            while let Some(part) = frames.next(Timestamp::default(), &mut bytes)? {
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
        let parts = [(Kind::Text, &b"Hel"[..]), (Kind::Ping, b""), (Kind::Text, b"lo")];
        assert_eq!(read(&split, 99), Ok(parts.map(|(kind, bytes)| (kind, bytes.to_vec())).to_vec()));
        let mut long = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
        long.resize(10 + 65_536, 7);
        assert_eq!(read(&long, 1_000), Ok(vec![(Kind::Binary, vec![7; 65_536])]));
    }

    /// The control frames of `bytes` given in pieces.
    fn read_control(bytes: &[u8], piece: usize) -> Result<Vec<(Kind, Vec<u8>)>, NotFrames> {
        let mut frames = Frames::default();
        let (mut told, mut open) = (Vec::new(), Vec::new());
        for mut bytes in bytes.chunks(piece) {
            while let Some(part) = frames.next_control(Timestamp::default(), &mut bytes)? {
                open.extend(part.bytes);
                if part.ends {
                    told.push((part.kind, std::mem::take(&mut open)));
                }
            }
        }
        Ok(told)
    }

    #[test]
    fn messages_are_passed_over() {
        let mut long = vec![0x02, 0x7e, 1, 0x2c];
        long.resize(4 + 300, 0x89);
        let ping = [0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        let all = [&long[..], &ping, &[0x80, 1, 0x8a], &[0x8a, 2, b'h', b'i']].concat();
        let told = vec![(Kind::Ping, b"hi".to_vec()), (Kind::Pong, b"hi".to_vec())];
        for piece in [1, 2, 7, 299, 4_096] {
            assert_eq!(read_control(&all, piece).as_ref(), Ok(&told), "{piece}");
        }
        assert_eq!(read_control(&[&long[..], &[0xff, 0]].concat(), 9), Err(NotFrames));
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
            prop_assert_eq!(read_control(&all, piece), read_control(&all, usize::MAX));
            let control = |(kind, _): &(Kind, _)| kind.is_control();
            let told = read(&all, piece).map(|frames| frames.into_iter().filter(control).collect());
            prop_assert_eq!(read_control(&all, piece), told);
        }
    }
}
