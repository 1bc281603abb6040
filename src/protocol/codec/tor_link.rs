//! What Tor's links between clients and relays say in their TLS: names made up anew, and certificates that carry them.
//!
//! Reads: certificate names, a ClientHello. Does not: tell clients from relays.
//!
//! Reference: github.com/torproject/tor `src/lib/tls/tortls.c` (`tor_tls_context_init_certificates`: nicknames of 8 to 20
//! letters, subject in .net, issuer in .com) and `tortls_openssl.c` (`tor_tls_new`: server name of 4 to 25 letters in
//! .com); spec.torproject.org, tor-spec 2.2.

use super::client_hello::ClientHello;

/// Whether a certificate is the one of a link: two made-up names that have nothing in common, and no words, both of them.
#[must_use]
pub fn is_link_certificate(subject: &str, issuer: &str) -> bool {
    let made_up = |name: &str, end| {
        let letters = name.strip_prefix("CN=").and_then(|host| letters_of(host, end))?;
        (8..=20).contains(&letters.len()).then(|| !is_pronounceable(letters))
    };
    match (made_up(subject, ".net"), made_up(issuer, ".com")) {
        (Some(a), Some(b)) => a || b,
        _ => false,
    }
}

/// The curve that Tor asks OpenSSL to offer and hardly anybody else does.
const SECP224R1: u16 = 0x0015;

/// Whether a ClientHello is like a link's: a made-up name, no protocol asked for within TLS, and the curve P-224.
#[must_use]
pub fn is_link_hello(hello: &ClientHello<'_>) -> bool {
    let name = hello.server_name.and_then(|name| std::str::from_utf8(name).ok());
    let curve = hello.supported_groups.iter().any(|group| group == SECP224R1);
    curve && name.is_some_and(is_link_name) && hello.alpn.clone().next().is_none()
}

/// Whether a server name may be one that Tor's client made up, and looks like one: people's names have vowels in them and
/// few digits.
#[must_use]
pub fn is_link_name(name: &str) -> bool {
    letters_of(name, ".com").is_some_and(|letters| (4..=25).contains(&letters.len()) && !is_pronounceable(letters))
}

/// The base 32 letters between `www.` and the end.
fn letters_of<'a>(host: &'a str, end: &str) -> Option<&'a str> {
    let letters = host.strip_prefix("www.")?.strip_suffix(end)?;
    letters.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')).then_some(letters)
}

/// A digit amid letters, or five consonants in a row, are no word. One random name in ten has neither.
fn is_pronounceable(letters: &str) -> bool {
    let bytes = letters.as_bytes();
    let amid = bytes
        .windows(3)
        .any(|w| matches!(w, [a, d, b] if a.is_ascii_lowercase() && d.is_ascii_digit() && b.is_ascii_lowercase()));
    let consonant = |b: &u8| b.is_ascii_lowercase() && !matches!(b, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    !amid && !bytes.windows(5).any(|w| w.iter().all(consonant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_made_up_by_tor_are_known() {
        assert!(is_link_certificate("CN=www.g6ghvisevf3ibuu5.net", "CN=www.xkgk7fdx362yyyxib.com"));
        for (subject, issuer) in [
            ("CN=www.example.net", "CN=www.example.com"),
            ("CN=www.globalbank.net", "CN=www.certificates.com"),
            ("CN=www.g6ghvisevf3ibuu5.net", "CN=www.g6ghvisevf3ibuu5.net"),
            ("CN=www.g6ghvisevf3ibuu5.com", "CN=www.xkgk7fdx362yyyxib.com"),
            ("CN=www.g6ghvisevf3ibuu5.net", "CN=www.xkgk7fdx362yyyxib.com,O=Example"),
            ("CN=www.under_score1.net", "CN=www.xkgk7fdx362yyyxib.com"),
        ] {
            assert!(!is_link_certificate(subject, issuer), "{subject}");
        }
        for name in ["www.ct7ctrgb6cr7.com", "www.t3i3ru.com", "www.q4cyamnc6mtokjurvdclt.com"] {
            assert!(is_link_name(name), "{name}");
        }
        for name in
            ["www.google.com", "www.wikipedia.com", "www.rhythm.com", "www.3m.com", "ct7ctrgb6cr7.com", "www.web24.com"]
        {
            assert!(!is_link_name(name), "{name}");
        }
    }
}
