//! Bytes that a peer chose, as text that may stand in a record.
//!
//! Does not: decode punycode or escape for any one output format.

/// The text of `bytes`, at most `limit` characters; what is not printable UTF-8 becomes U+FFFD.
#[must_use]
pub fn printable(bytes: &[u8], limit: usize) -> String {
    let mut text = String::new();
    push_printable(&mut text, bytes, limit);
    text
}

/// Adds the text of `bytes` to another, as [`printable`] gives it.
pub fn push_printable(text: &mut String, bytes: &[u8], limit: usize) {
    // Nearly all text is ASCII, of which a character is a byte.
    let head = bytes.get(..limit).unwrap_or(bytes);
    match std::str::from_utf8(head) {
        Ok(ascii) if head.iter().all(|b| (0x20..0x7f).contains(b)) => text.push_str(ascii),
        _ => {
            let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
            text.extend(String::from_utf8_lossy(bytes).chars().take(limit).map(clean));
        }
    }
}

/// UTF-16, little-endian, up to its first NUL, as text of at most `limit` characters.
#[must_use]
pub fn text_utf16le(bytes: &[u8], limit: usize) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk::<2>()).map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.ok().filter(|c| !c.is_control()).unwrap_or(char::REPLACEMENT_CHARACTER))
        .take(limit)
        .collect()
}

/// The texts of `names`, comma-separated, at most `limit` characters in all.
#[must_use]
pub fn printable_list<'a>(names: impl Iterator<Item = &'a [u8]>, limit: usize) -> String {
    let mut out = String::new();
    let mut left = limit;
    for name in names {
        if !out.is_empty() {
            out.push(',');
            left = left.saturating_sub(1);
        }
        if left == 0 {
            break;
        }
        let text = printable(name, left);
        left = left.saturating_sub(text.chars().count());
        out.push_str(&text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_become_harmless() {
        assert_eq!(printable(b"example.com", 255), "example.com");
        assert_eq!(printable(b"a\x1b[2J\xffb", 255), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(printable("é€x".as_bytes(), 2), "é€");
        assert_eq!(printable_list([&b"h2"[..], b"http/1.1"].into_iter(), 255), "h2,http/1.1");
        assert_eq!(printable_list([&b"abc"[..], b"defg"].into_iter(), 6), "abc,de");
    }
}
