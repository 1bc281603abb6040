//! A web session over TLS 1.2 or 1.3, as a dialogue: handshake, requests and responses, close.
//!
//! Reads: a stream of chance. Emits: both ends' scripts, of structurally valid records (RFC 5246, RFC 8446). Does not:
//! encrypt: what would be ciphertext is random bytes of the size it would have. Certificates are real DER, made for
//! this crate (names under example.com, keys thrown away). Thinking times are of the machine: hashing, signatures and
//! key agreement take 0.2 to 3 ms, the application behind a request 2 to 30 ms; people take seconds between requests.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, spoken};
use crate::simulate::tls_hello::{Hello, P256, Program, X25519, message, public_key};

/// What kind of session to play.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) program: Program,
    pub(super) server_name: &'static str,
    /// TLS 1.3 if the program can.
    pub(super) newest: bool,
    /// The server wants another key share first (TLS 1.3 only).
    pub(super) retry: bool,
    /// Requests made.
    pub(super) requests: u32,
}

impl Session {
    /// Whether this one is TLS 1.3.
    pub(super) const fn is_13(&self) -> bool {
        self.newest && self.program.speaks_13()
    }

    /// Adds the session to a dialogue.
    pub(super) fn play(&self, talk: &mut Dialogue, chance: &mut Random) {
        let hello = Hello::new(self.program, self.server_name, chance);
        if self.is_13() {
            self.shake_13(&hello, talk, chance);
        } else {
            shake_12(&hello, talk, chance);
        }
        for turn in 0..self.requests {
            let pause = if turn == 0 { chance.between(MS / 10, MS) } else { chance.between(300 * MS, 6_000 * MS) };
            let request = chance.between(180, 700);
            let size = if chance.chance(0.15) { chance.between(2_500, 7_000) } else { chance.between(200, 1_500) };
            talk.client_says(pause, self.sealed(request, chance));
            talk.server_says(chance.between(2 * MS, 30 * MS), self.sealed(size, chance));
        }
        talk.client_says(chance.between(20 * MS, 900 * MS), self.farewell(chance));
        talk.client_closes();
    }

    /// The handshake alone.
    pub(super) fn shake(&self, talk: &mut Dialogue, chance: &mut Random) {
        let hello = Hello::new(self.program, self.server_name, chance);
        self.shake_13(&hello, talk, chance);
    }

    /// What client and server say in a TLS 1.3 handshake, flight by flight.
    pub(super) fn flights(&self, chance: &mut Random) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut talk = Dialogue::default();
        self.shake(&mut talk, chance);
        (spoken(&talk.client), spoken(&talk.server))
    }

    fn shake_13(&self, hello: &Hello, talk: &mut Dialogue, chance: &mut Random) {
        talk.client_says(compute(chance), record(HANDSHAKE, FIRST, &hello.client(None, chance)));
        let group = if self.retry { P256 } else { X25519 };
        if self.retry {
            let ask = hello.server_13(group, true, chance);
            let ask = [record(HANDSHAKE, TLS_12, &ask), change_cipher_spec()].concat();
            talk.server_says(chance.between(MS / 10, MS / 2), ask);
            let again = record(HANDSHAKE, TLS_12, &hello.client(Some(group), chance));
            talk.client_says(compute(chance), [change_cipher_spec(), again].concat());
        }
        let mut flight = record(HANDSHAKE, TLS_12, &hello.server_13(group, false, chance));
        if !self.retry {
            flight.extend(change_cipher_spec());
        }
        // EncryptedExtensions, Certificate (two certificates), CertificateVerify, Finished: one record each.
        let chain = 4 + 1 + 3 + 10 + PORTAL.len() as i64 + ISSUER.len() as i64;
        for length in [4 + 2 + 9, chain, 4 + 2 + 2 + 71, 4 + 32] {
            flight.extend(self.sealed(length, chance));
        }
        talk.server_says(compute(chance), flight);
        let mut finish = if self.retry { Vec::new() } else { change_cipher_spec() };
        finish.extend(self.sealed(4 + 32, chance));
        talk.client_says(compute(chance), finish);
        // Two tickets, as servers on OpenSSL send.
        let tickets = [self.sealed(230, chance), self.sealed(230, chance)].concat();
        talk.server_says(chance.between(MS / 10, MS), tickets);
    }

    /// Application data as an AEAD record.
    fn sealed(&self, length: i64, chance: &mut Random) -> Vec<u8> {
        self.sealed_as(APPLICATION, length, chance)
    }

    fn sealed_as(&self, kind: u8, length: i64, chance: &mut Random) -> Vec<u8> {
        // 1.3 adds the inner content type and a tag; 1.2 with AES-GCM an explicit nonce and a tag.
        let overhead = if self.is_13() { 1 + 16 } else { 8 + 16 };
        let kind = if self.is_13() { APPLICATION } else { kind };
        record(kind, TLS_12, &chance.bytes(usize::try_from(length + overhead).unwrap_or(0)))
    }

    fn farewell(&self, chance: &mut Random) -> Vec<u8> {
        self.sealed_as(ALERT, 2, chance)
    }
}

/// Application data of that length in a TLS 1.3 record.
pub(super) fn sealed_13(length: usize, chance: &mut Random) -> Vec<u8> {
    record(APPLICATION, TLS_12, &chance.bytes(length.saturating_add(17)))
}

fn shake_12(hello: &Hello, talk: &mut Dialogue, chance: &mut Random) {
    talk.client_says(compute(chance), record(HANDSHAKE, FIRST, &hello.client(None, chance)));
    let flight = [
        hello.server_12(chance),
        message(11, |o| {
            o.block(3, |o| {
                for certificate in [PORTAL, ISSUER] {
                    o.block(3, |o| o.put(certificate));
                }
            });
        }),
        message(12, |o| {
            o.u8(3);
            o.u16(X25519);
            o.block(1, |o| o.put(public_key(X25519, chance)));
            o.u16(0x0403);
            o.block(2, |o| o.put(ecdsa_signature(chance)));
        }),
        message(14, |_| {}),
    ];
    let flight = flight.iter().flat_map(|part| record(HANDSHAKE, TLS_12, part)).collect();
    talk.server_says(compute(chance), flight);
    let exchange = message(16, |o| o.block(1, |o| o.put(public_key(X25519, chance))));
    let finish = [record(HANDSHAKE, TLS_12, &exchange), change_cipher_spec(), finished_12(chance)].concat();
    talk.client_says(compute(chance), finish);
    let mut finish = Vec::new();
    if hello.takes_tickets() {
        let ticket = message(4, |o| {
            o.u32(7200);
            o.block(2, |o| o.put(chance.bytes(176)));
        });
        finish = record(HANDSHAKE, TLS_12, &ticket);
    }
    finish.extend([change_cipher_spec(), finished_12(chance)].concat());
    talk.server_says(chance.between(MS / 5, MS), finish);
}

fn finished_12(chance: &mut Random) -> Vec<u8> {
    record(HANDSHAKE, TLS_12, &chance.bytes(8 + 16 + 16))
}

/// A DER signature: a sequence of two positive integers of 32 bytes.
fn ecdsa_signature(chance: &mut Random) -> Vec<u8> {
    let mut halves = [chance.array::<32>(), chance.array::<32>()];
    for half in &mut halves {
        half[0] = (half[0] & 0x7f) | 0x40;
    }
    Octets::of(|o| {
        o.u8(0x30);
        o.block(1, |o| {
            for half in halves {
                o.u8(0x02);
                o.block(1, |o| o.put(half));
            }
        });
    })
}

fn change_cipher_spec() -> Vec<u8> {
    record(20, TLS_12, &[1])
}

fn record(kind: u8, version: u16, body: &[u8]) -> Vec<u8> {
    Octets::of(|o| {
        o.u8(kind);
        o.u16(version);
        o.block(2, |o| o.put(body));
    })
}

fn compute(chance: &mut Random) -> i64 {
    chance.between(MS / 5, 3 * MS / 2).saturating_add(chance.erlang(MS / 2))
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;
/// The version a first ClientHello's record carries for old middleboxes.
const FIRST: u16 = 0x0301;
const TLS_12: u16 = 0x0303;
/// CN portal.example.com, ECDSA P-256.
pub(super) const PORTAL: &[u8] = include_bytes!("certificates/portal.der");
/// Its issuer.
const ISSUER: &[u8] = include_bytes!("certificates/issuer.der");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reader;
    use crate::simulate::script::Step;

    fn spoken(steps: &[Step]) -> Vec<u8> {
        super::spoken(steps).concat()
    }

    fn awaited(steps: &[Step]) -> usize {
        steps.iter().map(|s| if let Step::Await(n) = s { *n } else { 0 }).sum()
    }

    fn records(bytes: &[u8]) -> Vec<(u8, usize)> {
        let mut r = Reader::new(bytes);
        let mut out = Vec::new();
        while let Some(kind) = r.u8() {
            r.u16().unwrap();
            out.push((kind, r.block_u16().unwrap().len()));
        }
        out
    }

    #[test]
    fn both_ends_wait_for_exactly_what_the_other_says() {
        for (newest, retry) in [(true, false), (true, true), (false, false)] {
            for program in [Program::Chrome, Program::Firefox, Program::Curl, Program::Schannel] {
                let (mut talk, mut chance) = (Dialogue::default(), Random::stream(3, "tls"));
                let session = Session { program, server_name: "portal.example.com", newest, retry, requests: 3 };
                session.play(&mut talk, &mut chance);
                assert_eq!(spoken(&talk.client).len(), awaited(&talk.server));
                assert_eq!(spoken(&talk.server).len(), awaited(&talk.client));
                assert!(!records(&spoken(&talk.client)).is_empty() && !records(&spoken(&talk.server)).is_empty());
            }
        }
    }

    #[test]
    fn a_finished_of_tls_13_is_53_bytes_long_and_a_farewell_of_12_is_an_alert() {
        let mut chance = Random::stream(3, "tls");
        let session = |newest| Session { program: Program::Curl, server_name: "a", newest, retry: false, requests: 0 };
        let (mut new, mut old) = (Dialogue::default(), Dialogue::default());
        session(true).play(&mut new, &mut chance);
        session(false).play(&mut old, &mut chance);
        assert_eq!(records(&spoken(&new.client))[1..3], [(20, 1), (23, 53)]);
        assert_eq!(records(&spoken(&old.client)).last(), Some(&(21, 26)));
    }
}
