//! ICE's user fragments: what the two ends of a call know each other by, in its checks and in what set it up.
//!
//! Reads: session descriptions in clear, as such, as text in JSON, or in base64 in JSON. Emits: the fragment, and the link
//! that both fragments of a call give. Does not: read anything else of a description.
//!
//! Reference: RFC 8839 section 5.4 (`a=ice-ufrag`, 4 to 256 of letters, digits, `+` and `/`), RFC 8445 section 7.2.2.

use crate::base::Link;
use data_encoding::BASE64_NOPAD;

/// The fewest characters that a fragment has (24 bits, six to a character: RFC 8445 section 5.3), the most, and what
/// stands before it.
const SHORTEST: usize = 4;
const LONGEST: usize = 256;
const BEFORE: &[u8] = b"a=ice-ufrag:";
/// How JSON begins in base64: a brace and a quotation mark.
const JSON_BASE64: &[u8] = b"eyJ";

/// The link of the call between ends with these fragments, whichever is whose.
#[must_use]
pub fn link_of(one: &[u8], other: &[u8]) -> Option<Link> {
    // A server that leaves the same constant at both ends, as one of Facebook's does, joins nothing.
    if one == other || one.len().min(other.len()) < SHORTEST {
        return None;
    }
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    Some(Link::token("webrtc", &[low, b":", high].concat()))
}

/// The fragment in a description that stands somewhere in a text; the first, if several do.
#[must_use]
pub fn fragment_in(text: &[u8]) -> Option<Vec<u8>> {
    plain(text).or_else(|| {
        let at = find(text, JSON_BASE64)?;
        let inside = text.get(at..)?;
        let len = inside.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
        plain(&BASE64_NOPAD.decode(inside.get(..len / 4 * 4)?).ok()?)
    })
}

/// As [`fragment_in`], of a text that may not be whole yet: a fragment counts once something stands behind it.
#[must_use]
pub fn fragment_ended_in(text: &[u8]) -> Option<Vec<u8>> {
    let found = fragment_in(text)?;
    // Without its last byte the same is found only if that was none of the fragment's.
    let before = text.split_last().and_then(|(_, before)| fragment_in(before));
    (before.as_ref() == Some(&found)).then_some(found)
}

fn plain(text: &[u8]) -> Option<Vec<u8>> {
    let value = text.get(find(text, BEFORE)? + BEFORE.len()..)?;
    let mut out = Vec::new();
    let mut bytes = value.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'/' if out.len() < LONGEST => out.push(*byte),
            // JSON may write a slash so.
            b'\\' if bytes.peek() == Some(&&b'/') => {}
            _ => break,
        }
    }
    (out.len() >= SHORTEST).then_some(out)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;
    use proptest::prelude::*;

    #[test]
    fn a_fragment_is_found_in_each_wrapping() {
        let plain = b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\na=ice-ufrag:aB+/12\r\na=ice-pwd:x\r\n";
        let json =
            br#"{"janus":"event","jsep":{"type":"offer","sdp":"v=0\r\na=ice-ufrag:aB+\/12\r\na=ice-pwd:x\r\n"}}"#;
        let sealed = BASE64.encode(br#"{"type":"offer","sdp":"v=0\r\na=ice-ufrag:aB+/12\r\n"}"#);
        let wrapped = format!(r#"{{"type":"offer","data":{{"sd":"{sealed}"}}}}"#);
        for text in [&plain[..], json, wrapped.as_bytes()] {
            assert_eq!(fragment_in(text).as_deref(), Some(&b"aB+/12"[..]));
        }
        for text in [&b""[..], b"a=ice-ufrag:abc\r\n", b"ice-ufrag:abcd", br#"{"token":"eyJhbGciOiJIUzI1NiJ9.e30.x"}"#]
        {
            assert_eq!(fragment_in(text), None);
        }
    }

    #[test]
    fn both_ends_give_one_link() {
        assert_eq!(link_of(b"abcd", b"wxyz"), link_of(b"wxyz", b"abcd"));
        assert!(link_of(b"abcd", b"wxyz").is_some());
        assert_eq!((link_of(b"abcd", b"abcd"), link_of(b"abc", b"wxyz")), (None, None));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for before in [BEFORE, JSON_BASE64] {
                let _ = fragment_in(&[before, &bytes].concat());
            }
        }
    }
}
