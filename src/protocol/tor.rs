//! Tor's links, by what their TLS says; and the names of its helpers.
//!
//! Reads: nothing itself; TLS's reader tells by `tor.certificate` and `tor.hello` what it sees. Emits: nothing.
//! Does not: see obfs4 (random, see `obfuscated.rs`), or meek and Snowflake behind a front's name.
//!
//! Reference: see `codec/tor_link.rs`; gitlab.torproject.org/tpo/anti-censorship (Snowflake's broker).

use crate::protocol::{Category, Key, Protocol, Said, Shows, Sign};

/// The registry's entry.
pub(crate) static TOR: Protocol = Protocol::by_signs(
    "tor",
    Category::Proxy,
    &[
        Sign::new(CERTIFICATE, Said::Exactly("made-up-names"), Shows::Certain),
        Sign::new(HELLO, Said::Exactly("made-up-name"), Shows::Likely),
        Sign::new("tls.sni", Said::Exactly("snowflake-broker.torproject.net"), Shows::Likely),
        Sign::new("tls.sni", Said::Domain("torproject.org"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("torproject.net"), Shows::Mention),
    ],
);

const CERTIFICATE: Key = "tor.certificate";
const HELLO: Key = "tor.hello";
