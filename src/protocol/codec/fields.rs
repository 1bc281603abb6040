//! Fields of a head, a line each: `Name: value`, as HTTP/1 and SIP write them.
//!
//! Reads: the lines behind the first. Does not: put folded lines together, or know what a field means.
//!
//! Reference: RFC 9112 section 5, RFC 3261 section 7.3.1.

/// Bytes up to and with the empty line that ends a head.
#[must_use]
pub fn head_size(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4);
    let lf = bytes.windows(2).position(|w| w == b"\n\n").map(|i| i + 2);
    match (crlf, lf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The fields of that name with a value, in order. Lines without a colon and folded lines are passed over.
pub fn fields<'h>(head: &'h [u8], name: &str) -> impl Iterator<Item = &'h [u8]> {
    head.split(|b| *b == b'\n').skip(1).filter_map(move |line| {
        let colon = line.iter().position(|b| *b == b':')?;
        let (key, value) = line.split_at_checked(colon)?;
        let value = value.get(1..)?.trim_ascii();
        (key.eq_ignore_ascii_case(name.as_bytes()) && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_in_order() {
        let head =
            b"GET / HTTP/1.1\r\nHOST:  a \r\nX: 1\r\n folded: 2\r\nx:2\r\n:\r\nEmpty:\r\nno colon\r\n\r\nX: body";
        let end = head_size(head).unwrap();
        assert_eq!(fields(&head[..end], "host").collect::<Vec<_>>(), [b"a"]);
        assert_eq!(fields(&head[..end], "X").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(
            (fields(head, "empty").next(), fields(head, "").next(), fields(head, "GET /").next()),
            (None, None, None)
        );
        assert_eq!(&head[end..], b"X: body");
        assert_eq!((head_size(b"a\n\nb\r\n\r\n"), head_size(b"a\r\n")), (Some(3), None));
    }
}
