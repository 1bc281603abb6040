//! A corporate IKEv2 tunnel's control as two dialogues: the first exchange on port 500, the rest on 4500; and ESP.
//!
//! Reads: a stream of chance. Emits: both ends' scripts (RFC 7296, RFC 3948): IKE_SA_INIT in the clear with one proposal
//! (AES-GCM-16, HMAC-SHA-256, curve25519), IKE_AUTH and liveness checks as encrypted payloads of plausible length; what
//! ESP carries is in `inner`.
//! Does not: encrypt, rekey, fragment, or repair a lost datagram.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::Dialogue;

/// Payload types (RFC 7296, section 3.2).
const SA: u8 = 33;
const KE: u8 = 34;
const ID_I: u8 = 35;
const NONCE: u8 = 40;
const NOTIFY: u8 = 41;
const ID_R: u8 = 36;
const ENCRYPTED: u8 = 46;
/// Exchange types.
const SA_INIT: u8 = 34;
const AUTH: u8 = 35;
const INFORMATIONAL: u8 = 37;
/// Flags.
const INITIATOR: u8 = 0x08;
const RESPONSE: u8 = 0x20;
/// How often the gateway asks whether the client is still there.
const LIVENESS: i64 = 60_000 * MS;

/// A tunnel that lasts so long: what is said on port 500, then on 4500.
pub(super) fn play(lasts: i64, chance: &mut Random) -> (Dialogue, Dialogue) {
    let (mut first, mut rest) = (Dialogue::default(), Dialogue::default());
    let spis = [chance.array::<8>(), chance.array::<8>()];
    first.client_says(MS, message([spis[0], [0; 8]], SA, SA_INIT, INITIATOR, 0, &opening(chance)));
    let think = chance.between(MS / 2, 2 * MS);
    first.server_says(think, message(spis, SA, SA_INIT, RESPONSE, 0, &opening(chance)));
    let ask = |id: u32, kind: u8, inside: u8, length: usize, by: Side, chance: &mut Random| {
        let flags = match by {
            Side::Client { answers: true } => INITIATOR | RESPONSE,
            Side::Client { answers: false } => INITIATOR,
            Side::Server { answers: true } => RESPONSE,
            Side::Server { answers: false } => 0,
        };
        let body = sealed(inside, length, chance);
        marked(&message(spis, ENCRYPTED, kind, flags, id, &body))
    };
    // Identity, certificate, signature, configuration, child proposal and selectors both ways.
    let request = ask(1, AUTH, ID_I, 1_180, Side::Client { answers: false }, chance);
    rest.client_says(chance.between(MS, 5 * MS), request);
    let answer = ask(1, AUTH, ID_R, 1_120, Side::Server { answers: true }, chance);
    rest.server_says(chance.between(2 * MS, 8 * MS), answer);
    let mut elapsed = LIVENESS;
    for id in 0.. {
        if elapsed >= lasts {
            break;
        }
        elapsed += LIVENESS;
        let question = ask(id, INFORMATIONAL, 0, 0, Side::Server { answers: false }, chance);
        rest.server_says(LIVENESS - chance.between(MS, 9 * MS), question);
        let answer = ask(id, INFORMATIONAL, 0, 0, Side::Client { answers: true }, chance);
        rest.client_says(chance.between(MS / 5, MS), answer);
    }
    (first, rest)
}

enum Side {
    Client { answers: bool },
    Server { answers: bool },
}

/// SA, KE, nonce, and where each end believes to be (RFC 7296, section 2.23).
fn opening(chance: &mut Random) -> Vec<u8> {
    let transform = |o: &mut Octets, last: bool, kind: u8, id: u16, key_bits: Option<u16>| {
        o.u8(if last { 0 } else { 3 });
        o.u8(0);
        o.u16(if key_bits.is_some() { 12 } else { 8 });
        o.u8(kind);
        o.u8(0);
        o.u16(id);
        if let Some(bits) = key_bits {
            o.u16(0x800e);
            o.u16(bits);
        }
    };
    let proposal = Octets::of(|o| {
        o.put([0, 0]);
        o.u16(8 + 12 + 8 + 8);
        o.put([1, 1, 0, 3]);
        transform(o, false, 1, 20, Some(256));
        transform(o, false, 2, 5, None);
        transform(o, true, 4, 31, None);
    });
    let (public, nonce) = (chance.bytes(32), chance.bytes(32));
    let hashes = [chance.bytes(20), chance.bytes(20)];
    Octets::of(|o| {
        payload(o, KE, &proposal);
        payload(
            o,
            NONCE,
            &Octets::of(|o| {
                o.u16(31);
                o.u16(0);
                o.put(public);
            }),
        );
        payload(o, NOTIFY, &nonce);
        for (next, kind, hash) in [(NOTIFY, 16_388_u16, &hashes[0]), (0, 16_389, &hashes[1])] {
            payload(
                o,
                next,
                &Octets::of(|o| {
                    o.put([0, 0]);
                    o.u16(kind);
                    o.put(hash);
                }),
            );
        }
    })
}

/// An encrypted payload: vector, ciphertext with its padding length, check value.
fn sealed(inside: u8, length: usize, chance: &mut Random) -> Vec<u8> {
    let body = chance.bytes(8 + length + 1 + 16);
    Octets::of(|o| payload(o, inside, &body))
}

fn payload(o: &mut Octets, next: u8, body: &[u8]) {
    o.put([next, 0]);
    o.u16(body.len().saturating_add(4) as u16);
    o.put(body);
}

fn message(spis: [[u8; 8]; 2], next: u8, exchange: u8, flags: u8, id: u32, body: &[u8]) -> Vec<u8> {
    Octets::of(|o| {
        spis.iter().for_each(|spi| o.put(spi));
        o.put([next, 0x20, exchange, flags]);
        o.u32(id);
        o.u32(body.len().saturating_add(28) as u32);
        o.put(body);
    })
}

/// On port 4500 four zero bytes stand before IKE (RFC 3948, section 2.2).
fn marked(message: &[u8]) -> Vec<u8> {
    [&[0; 4], message].concat()
}

/// ESP with AES-GCM: index, counter, vector, ciphertext padded to four bytes, check value (RFC 4303, RFC 4106).
pub(super) fn packet(spi: [u8; 4], counter: u32, inner: usize, chance: &mut Random) -> Vec<u8> {
    let padded = inner.saturating_add(2).next_multiple_of(4);
    let sealed = chance.bytes(8 + padded + 16);
    Octets::of(|o| {
        o.put(spi);
        o.u32(counter);
        o.put(sealed);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::script::spoken;

    #[test]
    fn lengths_in_headers_are_right() {
        let (first, rest) = play(300_000 * MS, &mut Random::stream(1, "ike"));
        let all = |talk: &Dialogue| [spoken(&talk.client), spoken(&talk.server)].concat();
        let told = |m: &[u8]| u32::from_be_bytes([m[24], m[25], m[26], m[27]]) as usize;
        assert!(all(&first).iter().all(|m| told(m) == m.len() && m[17] == 0x20));
        let ike = all(&rest);
        assert!(ike.iter().all(|m| m[..4] == [0; 4] && told(&m[4..]) == m.len() - 4));
        assert_eq!(ike.len(), 2 + 2 * 4);
    }
}
