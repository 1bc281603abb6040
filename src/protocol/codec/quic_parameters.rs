//! What a QUIC endpoint grants the other: the transport parameters in a ClientHello, as one line.
//!
//! Reads: the extension `quic_transport_parameters`. Emits: the numbers of those parameters that programs choose, under
//! short names, in the order of their identifiers, since some programs shuffle them. Does not: tell connection ids,
//! tokens and reserved identifiers, which differ from connection to connection.
//!
//! Reference: RFC 9000 section 18.2, RFC 9221 section 3 (datagrams).

use super::quic_packet::varint;
use crate::base::Reader;
use std::fmt::Write;

/// The parameters that hold a number, and their names in the line.
const NAMES: &[(u64, &str)] = &[
    (0x01, "idle"),
    (0x03, "udp"),
    (0x04, "data"),
    (0x05, "local"),
    (0x06, "remote"),
    (0x07, "uni"),
    (0x08, "bidi-streams"),
    (0x09, "uni-streams"),
    (0x0a, "ack-exponent"),
    (0x0b, "ack-delay"),
    (0x0e, "ids"),
    (0x20, "datagram"),
];

/// More parameters than anybody sends.
const LIMIT: usize = 64;

/// The line; `None` if a length does not fit or nothing in it is known.
#[must_use]
pub fn line(content: &[u8]) -> Option<String> {
    let mut reader = Reader::new(content);
    let mut found = [None; NAMES.len()];
    for _ in 0..LIMIT {
        if reader.is_empty() {
            break;
        }
        let (id, len) = (varint(&mut reader)?, varint(&mut reader)?);
        let value = reader.take(usize::try_from(len).ok()?)?;
        let place = NAMES.iter().position(|(known, _)| *known == id).and_then(|i| found.get_mut(i));
        if let Some(place) = place {
            let mut value = Reader::new(value);
            *place = varint(&mut value).filter(|_| value.is_empty());
        }
    }
    let mut out = String::new();
    for ((_, name), value) in NAMES.iter().zip(found) {
        if let Some(value) = value {
            let gap = if out.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(out, "{gap}{name}={value}");
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_is_the_same_in_any_order() {
        let idle = [&[1u8, 4, 0x80, 0, 0x75, 0x30][..]].concat();
        let data = [4u8, 4, 0x80, 0xc0, 0, 0];
        let datagram = [0x20u8, 2, 0x7f, 0xff];
        // An id, a reserved identifier, a flag without content.
        let others = [&[0x0f, 0][..], &[27, 1, 9], &[0x0c, 0]].concat();
        let expected = Some("idle=30000 data=12582912 datagram=16383".to_owned());
        assert_eq!(line(&[&idle[..], &data, &others, &datagram].concat()), expected);
        assert_eq!(line(&[&datagram[..], &others, &data, &idle].concat()), expected);
        assert_eq!(line(&others), None);
        assert_eq!(line(&[1, 4, 0x80]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = line(&bytes);
        }
    }
}
