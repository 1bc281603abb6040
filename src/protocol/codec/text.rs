//! Text off the wire, made safe to print.
//!
//! Reads: bytes that should be text. Does not: guess encodings, or fail.

/// The bytes as text of at most `limit` characters; what is not UTF-8 or would move a terminal's cursor is replaced.
#[must_use]
pub fn text(bytes: &[u8], limit: usize) -> String {
    String::from_utf8_lossy(bytes).chars().take(limit).map(printable).collect()
}

/// UTF-16, little-endian, up to its first NUL, as text of at most `limit` characters.
#[must_use]
pub fn text_utf16le(bytes: &[u8], limit: usize) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk::<2>()).map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| printable(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
        .take(limit)
        .collect()
}

fn printable(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_gets_out() {
        assert_eq!(text(b"a\x1b[2Jb\xffc", 100), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(text("é".repeat(9).as_bytes(), 3), "ééé");
        assert_eq!(text_utf16le(b"P\0C\0\0\0x\0", 15), "PC");
        assert_eq!(text_utf16le(&[0x00, 0xd8, 0x41, 0x00, 0x42], 15), "\u{fffd}A");
    }
}
