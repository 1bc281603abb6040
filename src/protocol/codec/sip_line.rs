//! The first line of a SIP message.
//!
//! Reads: the first bytes of a datagram, a stream or a WebSocket's text. Emits: the method or the status. Does not: read
//! fields.
//!
//! Reference: RFC 3261 sections 7.1 and 7.2; RFC 7118 (SIP in a WebSocket).

/// What the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// It may yet become one.
    More,
    /// It is another protocol's.
    Not,
    /// A request, by its method.
    Request(&'a [u8]),
    /// An answer, by its status.
    Status(u16),
}

/// The methods that are registered (IANA, "Session Initiation Protocol (SIP) Parameters").
const METHODS: [&[u8]; 14] = [
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"INFO",
    b"INVITE",
    b"MESSAGE",
    b"NOTIFY",
    b"OPTIONS",
    b"PRACK",
    b"PUBLISH",
    b"REFER",
    b"REGISTER",
    b"SUBSCRIBE",
    b"UPDATE",
];
const VERSION: &[u8] = b"SIP/2.0";
/// Bytes of a line that are looked at; no longer one has been seen outside of tests of parsers.
const LINE_LIMIT: usize = 2_000;

/// Reads it. Empty lines before it are none of it (RFC 3261, 7.5).
#[must_use]
pub fn line(bytes: &[u8]) -> Line<'_> {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let bytes = bytes.get(blank..).unwrap_or_default();
    if bytes.iter().zip(VERSION).all(|(a, b)| a == b) {
        return status(bytes);
    }
    let len = bytes.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let (method, rest) = bytes.split_at_checked(len).unwrap_or_default();
    let Some((b' ', target)) = rest.split_first() else {
        let begins = rest.is_empty() && METHODS.iter().any(|known| known.starts_with(method));
        return if begins { Line::More } else { Line::Not };
    };
    if !METHODS.contains(&method) {
        return Line::Not;
    }
    let window = target.get(..LINE_LIMIT).unwrap_or(target);
    // A scheme comes first: sip, sips, tel, urn.
    let scheme = window.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    match window.get(scheme) {
        None if window.len() < 8 => return Line::More,
        Some(b':') if scheme > 0 => {}
        _ => return Line::Not,
    }
    match window.iter().position(|b| *b == b'\n') {
        Some(end) if window.get(..end).is_some_and(|line| versioned(line.trim_ascii_end())) => Line::Request(method),
        None if window.len() < LINE_LIMIT => Line::More,
        _ => Line::Not,
    }
}

fn versioned(line: &[u8]) -> bool {
    line.strip_suffix(VERSION).is_some_and(|before| before.last() == Some(&b' '))
}

/// `SIP/2.0 ddd `.
fn status(bytes: &[u8]) -> Line<'_> {
    let behind = bytes.get(VERSION.len()..).unwrap_or_default();
    match behind {
        [b' ', a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ' | b'\r' | b'\n', ..] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Line::Status(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        [] | [b' '] | [b' ', b'1'..=b'6'] => Line::More,
        [b' ', b'1'..=b'6', more @ ..] if more.len() < 3 && more.iter().all(u8::is_ascii_digit) => Line::More,
        _ => Line::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_told_from_others() {
        assert_eq!(line(b"\r\n\r\nINVITE sip:bob@b.example SIP/2.0\r\nVia: x"), Line::Request(b"INVITE"));
        assert_eq!(line(b"OPTIONS sips:b SIP/2.0\n"), Line::Request(b"OPTIONS"));
        assert_eq!(
            (line(b"SIP/2.0 180 Ringing\r\n"), line(b"SIP/2.0 200\r\n")),
            (Line::Status(180), Line::Status(200))
        );
        let others: [&[u8]; 14] = [
            b"OPTIONS rtsp://a/b RTSP/1.0\r\n",
            b"OPTIONS * HTTP/1.1\r\n",
            b"OPTIONS /x HTTP/1.1\r\n",
            b"GET sip:a SIP/2.0\r\n",
            b"INVITED ",
            b"invite sip:a SIP/2.0\r\n",
            b"INVITE  sip:a SIP/2.0\r\n",
            b"INVITE sip:a SIP/3.0\r\n",
            b"INVITE sip:aSIP/2.0\r\n",
            b"SIP/2.0 700 No\r\n",
            b"SIP/2.0 20x\r\n",
            b"SIP/2.0 2000\r\n",
            b"SIP/2.1 200 OK\r\n",
            b"RFB 003.008\n",
        ];
        for other in others {
            assert_eq!(line(other), Line::Not, "{}", String::from_utf8_lossy(other));
        }
        assert_eq!(line(&[&b"INVITE sip:"[..], &[b'a'; 3_000]].concat()), Line::Not);
    }

    /// What is no beginning stays none, and what is one becomes it.
    #[test]
    fn a_line_that_grows_changes_its_mind_once() {
        for whole in
            [&b"\r\nSUBSCRIBE sip:a@b SIP/2.0\r\n"[..], b"SIP/2.0 404 Not Found\r\n", b"ACK tel:+1 SIP/2.0\r\n"]
        {
            let kinds: Vec<_> = (0..=whole.len()).map(|n| line(&whole[..n])).collect();
            let first = kinds.iter().position(|kind| *kind != Line::More).unwrap();
            assert!(kinds[first..].iter().all(|kind| *kind == kinds[first] && *kind != Line::Not), "{kinds:?}");
        }
    }
}
