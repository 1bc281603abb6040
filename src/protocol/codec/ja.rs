//! Fingerprints of hellos: JA3, JA3S and JA4.
//!
//! JA3 and JA3S after their first publication (Althouse, Atkinson, Atkins: "TLS Fingerprinting with JA3 and JA3S",
//! 2017): MD5 of decimal lists, GREASE left out. JA4 after its technical description by FoxIO; it is under the BSD
//! 3-Clause licence, whose text stands in the file NOTICE: Copyright (c) 2023 FoxIO, all rights reserved.
//! Does not: any other method of the JA4+ family, which is licensed differently.

use super::client_hello::{ClientHello, Transport, extension, is_grease};
use super::server_hello::ServerHello;
use md5::{Digest, Md5};
use ring::digest::{SHA256, digest};

/// JA3 of a client: 32 hexadecimal digits.
#[must_use]
pub fn ja3(hello: &ClientHello<'_>) -> String {
    let mut text = Vec::with_capacity(256);
    decimal(&mut text, hello.legacy_version);
    text.push(b',');
    joined(&mut text, hello.cipher_suites.meant(), decimal);
    text.push(b',');
    joined(&mut text, hello.extensions.map(|(kind, _)| kind).filter(|kind| !is_grease(*kind)), decimal);
    text.push(b',');
    joined(&mut text, hello.supported_groups.meant(), decimal);
    text.push(b',');
    joined(&mut text, hello.ec_point_formats.iter().map(|format| u16::from(*format)), decimal);
    hex(&Md5::digest(&text))
}

/// JA3S of a server: 32 hexadecimal digits.
#[must_use]
pub fn ja3s(hello: &ServerHello<'_>) -> String {
    let mut text = Vec::with_capacity(64);
    decimal(&mut text, hello.legacy_version);
    text.push(b',');
    decimal(&mut text, hello.cipher_suite);
    text.push(b',');
    joined(&mut text, hello.extensions.map(|(kind, _)| kind).filter(|kind| !is_grease(*kind)), decimal);
    hex(&Md5::digest(&text))
}

/// JA4 of a client, in the form `t13d1516h2_8daaf6152771_b186095e22b6`.
#[must_use]
pub fn ja4(hello: &ClientHello<'_>) -> String {
    let mut ciphers: Vec<u16> = hello.cipher_suites.meant().collect();
    let mut extensions: Vec<u16> = hello.extensions.map(|(kind, _)| kind).filter(|kind| !is_grease(*kind)).collect();
    let sent = extensions.len();
    ciphers.sort_unstable();
    extensions.retain(|kind| !matches!(*kind, extension::SERVER_NAME | extension::ALPN));
    extensions.sort_unstable();

    let mut out = Vec::with_capacity(36);
    out.push(match hello.transport {
        Transport::Tls => b't',
        Transport::Quic => b'q',
        Transport::Dtls => b'd',
    });
    out.extend_from_slice(ja4_version(hello));
    // The sign tells whether the extension was sent, whatever name stands in it.
    let named = hello.extensions.into_iter().any(|(kind, _)| kind == extension::SERVER_NAME);
    out.push(if named { b'd' } else { b'i' });
    two_digits(&mut out, ciphers.len());
    two_digits(&mut out, sent);
    out.extend_from_slice(&ja4_alpn(hello));

    let mut text = Vec::with_capacity(256);
    joined_hex(&mut text, &ciphers);
    out.push(b'_');
    ja4_hash(&mut out, &text);

    text.clear();
    joined_hex(&mut text, &extensions);
    if !text.is_empty() {
        for (i, algorithm) in hello.signature_algorithms.meant().enumerate() {
            text.push(if i == 0 { b'_' } else { b',' });
            hexadecimal(&mut text, algorithm);
        }
    }
    out.push(b'_');
    ja4_hash(&mut out, &text);
    String::from_utf8(out).unwrap_or_default()
}

/// The highest version offered, in two characters.
fn ja4_version(hello: &ClientHello<'_>) -> &'static [u8; 2] {
    // DTLS counts its versions downwards.
    let offered = hello.supported_versions.meant();
    let highest = if hello.transport == Transport::Dtls { offered.min() } else { offered.max() };
    match highest.unwrap_or(hello.legacy_version) {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

/// First and last character of the first protocol offered; of its hexadecimal form if either is no ASCII letter or
/// digit.
fn ja4_alpn(hello: &ClientHello<'_>) -> [u8; 2] {
    let Some((first, last)) = hello.alpn.into_iter().next().and_then(|name| Some((*name.first()?, *name.last()?)))
    else {
        return *b"00";
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first, last]
    } else {
        [hex_digit(first >> 4), hex_digit(last & 0xf)]
    }
}

fn ja4_hash(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        out.extend_from_slice(b"000000000000");
        return;
    }
    for byte in digest(&SHA256, text).as_ref().iter().take(6) {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
    }
}

fn joined(text: &mut Vec<u8>, values: impl Iterator<Item = u16>, write: fn(&mut Vec<u8>, u16)) {
    for (i, value) in values.enumerate() {
        if i > 0 {
            text.push(b'-');
        }
        write(text, value);
    }
}

fn joined_hex(text: &mut Vec<u8>, values: &[u16]) {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        hexadecimal(text, *value);
    }
}

fn decimal(text: &mut Vec<u8>, value: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && value / divisor == 0 {
        divisor /= 10;
    }
    while divisor > 0 {
        text.push(b'0' + u8::try_from(value / divisor % 10).unwrap_or(0));
        divisor /= 10;
    }
}

fn hexadecimal(text: &mut Vec<u8>, value: u16) {
    let [high, low] = value.to_be_bytes();
    text.extend_from_slice(&[high >> 4, high & 0xf, low >> 4, low & 0xf].map(hex_digit));
}

fn two_digits(out: &mut Vec<u8>, n: usize) {
    let n = u8::try_from(n.min(99)).unwrap_or(99);
    out.extend_from_slice(&[b'0' + n / 10, b'0' + n % 10]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [hex_digit(b >> 4), hex_digit(b & 0xf)]).map(char::from).collect()
}

/// The digit for a value below 16.
const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello body of these parts.
    fn body(version: u16, ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut b = version.to_be_bytes().to_vec();
        b.extend([0; 33]);
        b.extend(u16::try_from(ciphers.len() * 2).unwrap().to_be_bytes());
        b.extend(ciphers.iter().flat_map(|c| c.to_be_bytes()));
        b.extend([1, 0]);
        if !extensions.is_empty() {
            let block: Vec<u8> = extensions
                .iter()
                .flat_map(|(kind, content)| {
                    let mut e = kind.to_be_bytes().to_vec();
                    e.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
                    e.extend_from_slice(content);
                    e
                })
                .collect();
            b.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
            b.extend(block);
        }
        b
    }

    #[test]
    fn ja3_of_its_publication() {
        // The second example of the JA3 publication: no extensions, so empty fields.
        let b = body(769, &[4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99], &[]);
        let hello = ClientHello::parse(&b, Transport::Tls).unwrap();
        assert_eq!(ja3(&hello), "de350869b8c85de67a350c8d186f11e6");
        // The first: 769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0
        let b = body(
            769,
            &[47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            &[(0, &[]), (10, &[0, 6, 0, 23, 0, 24, 0, 25]), (11, &[1, 0])],
        );
        let hello = ClientHello::parse(&b, Transport::Tls).unwrap();
        assert_eq!(ja3(&hello), "ada70206e40642a3e4461f35503241d5");
    }

    #[test]
    fn ja4_of_its_description() {
        // The worked example of the JA4 description: t13d1516h2_8daaf6152771_e5627efa2ab1 (Chrome).
        let ciphers = [
            0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ];
        let algorithms = [0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
        let extensions: [(u16, &[u8]); 17] = [
            (0x1a1a, &[]),
            (0x001b, &[]),
            (0x0000, &[]),
            (0x0033, &[]),
            (0x0010, &[0, 12, 2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1']),
            (0x4469, &[]),
            (0x0017, &[]),
            (0x002d, &[]),
            (0x000d, &algorithms),
            (0x0005, &[]),
            (0x0023, &[]),
            (0x0012, &[]),
            (0x002b, &[6, 0x2a, 0x2a, 3, 4, 3, 3]),
            (0xff01, &[]),
            (0x000b, &[]),
            (0x000a, &[]),
            (0x0015, &[]),
        ];
        let b = body(0x0303, &ciphers, &extensions);
        let hello = ClientHello::parse(&b, Transport::Tls).unwrap();
        assert_eq!(ja4(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn ja4_of_an_empty_offer_and_of_odd_protocol_names() {
        let b = body(0x0301, &[], &[]);
        assert_eq!(ja4(&ClientHello::parse(&b, Transport::Tls).unwrap()), "t10i000000_000000000000_000000000000");
        for (name, wanted) in
            [(&[0xab_u8][..], *b"ab"), (&[0x30, 0xab], *b"3b"), (&[0xab, 0xcd], *b"ad"), (b"h", *b"hh")]
        {
            let mut alpn = vec![0, u8::try_from(name.len()).unwrap() + 1, u8::try_from(name.len()).unwrap()];
            alpn.extend_from_slice(name);
            let b = body(0x0303, &[0x1301], &[(16, &alpn)]);
            assert_eq!(ja4_alpn(&ClientHello::parse(&b, Transport::Quic).unwrap()), wanted);
        }
    }

    #[test]
    fn decimals_have_no_leading_zero() {
        for (value, text) in [(0, "0"), (7, "7"), (10, "10"), (65_281, "65281")] {
            let mut out = Vec::new();
            decimal(&mut out, value);
            assert_eq!(out, text.as_bytes());
        }
    }
}
