//! ClientHellos of four kinds of client, and the ServerHellos that answer them (RFC 8446, RFC 5246, RFC 8701).
//!
//! Reads: a stream of chance. Emits: handshake messages. Does not: hold keys; key shares are random bytes of the right
//! length. The extension sets follow what current Chrome, Firefox, curl with OpenSSL and Windows Schannel send, so
//! that their fingerprints differ as those do.

use crate::simulate::octets::Octets;
use crate::simulate::random::Random;

/// A TLS client program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Chrome with its greased, shuffled hello and a hybrid post-quantum key share.
    Chrome,
    /// Firefox.
    Firefox,
    /// curl built with OpenSSL 3.
    Curl,
    /// A .NET program on Windows Schannel, TLS 1.2 only.
    Schannel,
}

impl Program {
    /// Whether it speaks TLS 1.3.
    pub(super) const fn speaks_13(self) -> bool {
        !matches!(self, Self::Schannel)
    }

    fn ciphers(self) -> &'static [u16] {
        match self {
            Self::Chrome => &[
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
                0x002f, 0x0035,
            ],
            Self::Firefox => &[
                0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc00a, 0xc009, 0xc013, 0xc014,
                0x009c, 0x009d, 0x002f, 0x0035,
            ],
            Self::Curl => &[
                0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x009e, 0xc024,
                0xc028, 0x006b, 0xc023, 0xc027, 0x0067, 0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033, 0x009d, 0x009c,
                0x003d, 0x003c, 0x0035, 0x002f, 0x00ff,
            ],
            Self::Schannel => &[
                0xc02c, 0xc02b, 0xc030, 0xc02f, 0xc024, 0xc023, 0xc028, 0xc027, 0xc00a, 0xc009, 0xc014, 0xc013, 0x009d,
                0x009c, 0x003d, 0x003c, 0x0035, 0x002f,
            ],
        }
    }

    fn groups(self) -> &'static [u16] {
        match self {
            Self::Chrome => &[ML_KEM, X25519, P256, 0x0018],
            Self::Firefox => &[X25519, P256, 0x0018, 0x0019, 0x0100, 0x0101],
            Self::Curl => &[X25519, P256, 0x001e, 0x0019, 0x0018, 0x0100, 0x0101],
            Self::Schannel => &[X25519, P256, 0x0018],
        }
    }

    fn signatures(self) -> &'static [u16] {
        match self {
            Self::Chrome => &[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            Self::Firefox => &[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201],
            Self::Curl => &[
                0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501,
                0x0601,
            ],
            Self::Schannel => &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0201, 0x0403, 0x0503, 0x0203, 0x0601, 0x0603],
        }
    }

    /// Extension types in the order sent; Chrome's middle part is shuffled for each connection.
    fn extensions(self) -> &'static [u16] {
        match self {
            Self::Chrome => &[0, 5, 10, 11, 13, 16, 18, 23, 27, 35, 43, 45, 51, 17613, 65281],
            Self::Firefox => &[0, 23, 65281, 10, 11, 35, 16, 5, 34, 51, 43, 13, 45, 28, 27],
            Self::Curl => &[65281, 0, 11, 10, 16, 22, 23, 49, 13, 43, 45, 51],
            Self::Schannel => &[0, 10, 11, 13, 35, 23, 65281],
        }
    }
}

/// What both hellos of a session share.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    program: Program,
    server_name: &'static str,
    random: [u8; 32],
    session: Vec<u8>,
    grease: [u16; 4],
    order: Vec<u16>,
}

impl Hello {
    /// The hello of a fresh connection of that program to that name.
    pub(super) fn new(program: Program, server_name: &'static str, chance: &mut Random) -> Self {
        let mut order = program.extensions().to_vec();
        if program == Program::Chrome {
            chance.shuffle(&mut order);
        }
        let session = if program.speaks_13() { chance.bytes(32) } else { Vec::new() };
        let grease = [0; 4].map(|_: u16| 0x0a0a_u16.saturating_add(0x1010 * chance.below(16) as u16));
        Self { program, server_name, random: chance.array(), session, grease, order }
    }

    /// The ClientHello message. `share` names the group of the one key share of a second hello, after a retry request.
    pub(super) fn client(&self, share: Option<u16>, chance: &mut Random) -> Vec<u8> {
        let greased = self.program == Program::Chrome;
        message(1, |o| {
            o.u16(TLS_12);
            o.put(self.random);
            o.block(1, |o| o.put(&self.session));
            o.block(2, |o| {
                if greased {
                    o.u16(self.grease[0]);
                }
                self.program.ciphers().iter().for_each(|cipher| o.u16(*cipher));
            });
            o.block(1, |o| o.u8(0));
            o.block(2, |o| {
                if greased {
                    o.u16(self.grease[1]);
                    o.u16(0);
                }
                for &kind in &self.order {
                    o.u16(kind);
                    o.block(2, |o| self.extension(kind, share, o, chance));
                }
                if greased {
                    // The last one is not empty and differs from the first (RFC 8701).
                    o.u16(if self.grease[2] == self.grease[1] { self.grease[1] ^ 0x1010 } else { self.grease[2] });
                    o.block(2, |o| o.u8(0));
                }
            });
        })
    }

    fn extension(&self, kind: u16, share: Option<u16>, o: &mut Octets, chance: &mut Random) {
        let greased = self.program == Program::Chrome;
        match kind {
            0 => o.block(2, |o| {
                o.u8(0);
                o.block(2, |o| o.put(self.server_name));
            }),
            5 => o.put([1, 0, 0, 0, 0]),
            10 => o.block(2, |o| {
                if greased {
                    o.u16(self.grease[3]);
                }
                self.program.groups().iter().for_each(|group| o.u16(*group));
            }),
            11 => o.put([1, 0]),
            13 => o.block(2, |o| self.program.signatures().iter().for_each(|scheme| o.u16(*scheme))),
            16 => o.block(2, |o| {
                for name in ["h2", "http/1.1"] {
                    o.block(1, |o| o.put(name));
                }
            }),
            27 => o.put([2, 0, 2]),
            28 => o.u16(0x4001),
            34 => o.block(2, |o| [0x0403, 0x0503, 0x0603, 0x0203].into_iter().for_each(|scheme| o.u16(scheme))),
            43 => o.block(1, |o| {
                if greased {
                    o.u16(self.grease[3]);
                }
                o.u16(TLS_13);
                o.u16(TLS_12);
            }),
            45 => o.put([1, 1]),
            51 => o.block(2, |o| self.shares(share, o, chance)),
            17613 => o.block(2, |o| o.block(1, |o| o.put("h2"))),
            65281 => o.u8(0),
            // Extended master secret, tickets, encrypt-then-MAC, post-handshake authentication, SCTs: empty.
            _ => {}
        }
    }

    fn shares(&self, only: Option<u16>, o: &mut Octets, chance: &mut Random) {
        if self.program == Program::Chrome && only.is_none() {
            o.u16(self.grease[3]);
            o.block(2, |o| o.u8(0));
        }
        let offered: &[u16] = match (&only, self.program) {
            (Some(group), _) => std::slice::from_ref(group),
            (None, Program::Chrome) => &[ML_KEM, X25519],
            (None, Program::Firefox) => &[X25519, P256],
            (None, Program::Curl | Program::Schannel) => &[X25519],
        };
        for &group in offered {
            o.u16(group);
            o.block(2, |o| o.put(public_key(group, chance)));
        }
    }

    /// Whether the client can resume by ticket (curl asks for none).
    pub(super) fn takes_tickets(&self) -> bool {
        self.order.contains(&35)
    }

    /// The ServerHello of a TLS 1.3 server, or its HelloRetryRequest asking for another group.
    pub(super) fn server_13(&self, group: u16, retry: bool, chance: &mut Random) -> Vec<u8> {
        message(2, |o| {
            o.u16(TLS_12);
            o.put(if retry { RETRY } else { chance.array() });
            o.block(1, |o| o.put(&self.session));
            o.u16(0x1301);
            o.u8(0);
            o.block(2, |o| {
                o.u16(43);
                o.block(2, |o| o.u16(TLS_13));
                o.u16(51);
                o.block(2, |o| {
                    o.u16(group);
                    if !retry {
                        o.block(2, |o| o.put(public_key(group, chance)));
                    }
                });
            });
        })
    }

    /// The ServerHello of a TLS 1.2 server that resumes by ticket and issues no session number.
    pub(super) fn server_12(&self, chance: &mut Random) -> Vec<u8> {
        message(2, |o| {
            o.u16(TLS_12);
            o.put(chance.array::<32>());
            o.block(1, |_| {});
            o.u16(0xc02b);
            o.u8(0);
            o.block(2, |o| {
                o.put([0xff, 0x01, 0, 1, 0]);
                o.put([0, 11, 0, 2, 1, 0]);
                if self.takes_tickets() {
                    o.put([0, 35, 0, 0]);
                }
                if self.order.contains(&16) {
                    o.put([0, 16, 0, 5, 0, 3, 2, b'h', b'2']);
                }
                if self.order.contains(&23) {
                    o.put([0, 23, 0, 0]);
                }
            });
        })
    }
}

/// A handshake message: type, three bytes of length, body.
pub(super) fn message(kind: u8, body: impl FnOnce(&mut Octets)) -> Vec<u8> {
    Octets::of(|o| {
        o.u8(kind);
        o.block(3, body);
    })
}

/// Random bytes of the length a public key of that group has; an uncompressed point begins with 4.
pub(super) fn public_key(group: u16, chance: &mut Random) -> Vec<u8> {
    match group {
        P256 => [vec![4], chance.bytes(64)].concat(),
        ML_KEM => chance.bytes(1216),
        _ => chance.bytes(32),
    }
}

/// Named groups (RFC 8446 section 4.2.7, draft-ietf-tls-ecdhe-mlkem).
pub(super) const X25519: u16 = 0x001d;
pub(super) const P256: u16 = 0x0017;
const ML_KEM: u16 = 0x11ec;
const TLS_12: u16 = 0x0303;
const TLS_13: u16 = 0x0304;
/// The random of a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reader;

    /// Extension types of a ClientHello, checking every length on the way.
    fn extension_types(hello: &[u8]) -> Vec<u16> {
        let mut r = Reader::new(hello);
        assert_eq!(r.u8(), Some(1));
        let mut body = r.block_u24().unwrap();
        assert!(r.is_empty());
        assert_eq!(body.u16(), Some(0x0303));
        body.take(32).unwrap();
        body.block_u8().unwrap();
        assert_eq!(body.block_u16().unwrap().len() % 2, 0);
        assert_eq!(body.block_u8().unwrap().rest(), [0]);
        let mut extensions = body.block_u16().unwrap();
        assert!(body.is_empty());
        let mut types = Vec::new();
        while let Some(kind) = extensions.u16() {
            types.push(kind);
            extensions.block_u16().unwrap();
        }
        types
    }

    #[test]
    fn every_programs_hello_is_whole_and_has_its_extensions() {
        let mut chance = Random::stream(1, "hello");
        for program in [Program::Chrome, Program::Firefox, Program::Curl, Program::Schannel] {
            let hello = Hello::new(program, "portal.example.com", &mut chance);
            let mut types = extension_types(&hello.client(None, &mut chance));
            types.retain(|kind| kind & 0x0f0f != 0x0a0a);
            types.sort_unstable();
            let mut expected = program.extensions().to_vec();
            expected.sort_unstable();
            assert_eq!(types, expected, "{program:?}");
        }
    }

    #[test]
    fn the_retry_random_is_the_hash_it_says() {
        assert_eq!(ring::digest::digest(&ring::digest::SHA256, b"HelloRetryRequest").as_ref(), RETRY);
    }

    #[test]
    fn chrome_shuffles_and_greases() {
        let mut chance = Random::stream(1, "hello");
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let types =
                extension_types(&Hello::new(Program::Chrome, "a.example", &mut chance).client(None, &mut chance));
            let (first, last) = (types[0], types[types.len() - 1]);
            assert!(first & 0x0f0f == 0x0a0a && last & 0x0f0f == 0x0a0a && first != last);
            orders.insert(types[1..types.len() - 1].to_vec());
        }
        assert!(orders.len() > 15);
    }
}
