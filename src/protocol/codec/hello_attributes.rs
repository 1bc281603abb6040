//! What hellos say, as the attributes that TLS and QUIC records have in common.
//!
//! Does not: emit events; it hands (key, value) pairs to whoever does.

use super::cipher_suite::cipher_suite_name;
use super::client_hello::{ClientHello, Encrypted, is_tls13, version_name};
use super::ja::{ja3, ja3s, ja4};
use super::server_hello::ServerHello;
use super::text::{printable, printable_list};

/// The keys that [`offered`] gives.
pub const OFFERED: [&str; 5] = ["tls.sni", "tls.alpn_offered", "tls.ech", "tls.ja3", "tls.ja4"];

/// The keys that [`chosen`] gives.
pub const CHOSEN: [&str; 5] = ["tls.version", "tls.cipher", "tls.alpn", "tls.resumed", "tls.ja3s"];

/// What a client offers.
pub fn offered(hello: &ClientHello<'_>, mut attribute: impl FnMut(&'static str, String)) {
    let [sni, alpn, ech, ja3_key, ja4_key] = OFFERED;
    if let Some(name) = hello.server_name {
        attribute(sni, printable(name, NAME));
    }
    let protocols = printable_list(hello.alpn, NAME);
    if !protocols.is_empty() {
        attribute(alpn, protocols);
    }
    match hello.encrypted {
        Some(Encrypted::ClientHello) => attribute(ech, "offered".into()),
        Some(Encrypted::ServerName) => attribute(ech, "esni".into()),
        None => {}
    }
    attribute(ja3_key, ja3(hello));
    attribute(ja4_key, ja4(hello));
}

/// What a server chose. Whether a session of TLS 1.2 or before is resumed does not stand in the hello.
pub fn chosen(hello: &ServerHello<'_>, mut attribute: impl FnMut(&'static str, String)) {
    let [version, cipher, alpn, resumed, ja3s_key] = CHOSEN;
    attribute(version, version_name(hello.version));
    attribute(cipher, cipher_suite_name(hello.cipher_suite));
    if let Some(name) = hello.alpn {
        attribute(alpn, printable(name, NAME));
    }
    if is_tls13(hello.version) {
        attribute(resumed, hello.pre_shared_key.to_string());
    }
    attribute(ja3s_key, ja3s(hello));
}

/// Longest name or list of names kept, in characters; a host name has at most 253.
const NAME: usize = 255;
