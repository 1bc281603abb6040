//! A DTLS 1.2 handshake as a dialogue, as it comes before a WebRTC session's keys (RFC 6347, RFC 5764).
//!
//! Reads: a stream of chance. Emits: both ends' scripts. Does not: encrypt, fragment, or repair a lost datagram. The
//! certificate is the one of `tls`; what is encrypted is random bytes of the right length.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::Dialogue;
use crate::simulate::tls::PORTAL;

const VERSION: u16 = 0xfefd;

/// One end's numbering.
#[derive(Debug, Default)]
struct End {
    records: u64,
    messages: u16,
}

impl End {
    fn record(&mut self, kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let number = self.records.to_be_bytes();
        self.records += 1;
        Octets::of(|o| {
            o.u8(kind);
            o.u16(VERSION);
            o.u16(epoch);
            o.put(number.get(2..).unwrap_or_default());
            o.block(2, |o| o.put(body));
        })
    }

    /// A handshake message in one piece.
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Octets)) -> Vec<u8> {
        let body = Octets::of(body);
        let length = (body.len() as u32).to_be_bytes();
        let number = self.messages;
        self.messages += 1;
        let whole = Octets::of(|o| {
            o.u8(kind);
            o.put(length.get(1..).unwrap_or_default());
            o.u16(number);
            o.put([0; 3]);
            o.put(length.get(1..).unwrap_or_default());
            o.put(body);
        });
        self.record(22, 0, &whole)
    }

    /// ChangeCipherSpec, and an encrypted Finished of the next epoch.
    fn finish(&mut self, chance: &mut Random) -> Vec<u8> {
        let change = self.record(20, 0, &[1]);
        self.records = 0;
        [change, self.record(22, 1, &chance.bytes(8 + 24 + 16))].concat()
    }
}

fn hello(random: [u8; 32], cookie: &[u8], o: &mut Octets) {
    o.u16(VERSION);
    o.put(random);
    o.u8(0);
    o.block(1, |o| o.put(cookie));
    o.block(2, |o| [0xc02b_u16, 0xc02f, 0xcca9, 0xcca8].into_iter().for_each(|suite| o.u16(suite)));
    o.put([1, 0]);
    o.block(2, |o| {
        // Extended master secret, groups, point formats, signatures, SRTP profiles (RFC 5764).
        o.put([0, 23, 0, 0]);
        o.put([0, 10, 0, 6, 0, 4, 0, 29, 0, 23]);
        o.put([0, 11, 0, 2, 1, 0]);
        o.put([0, 13, 0, 6, 0, 4, 4, 3, 8, 4]);
        o.put([0, 14, 0, 7, 0, 4, 0, 1, 0, 7, 0]);
    });
}

/// Adds the handshake; the dialogue's client is DTLS's client.
pub(super) fn shake(talk: &mut Dialogue, chance: &mut Random) {
    let (mut client, mut server) = (End::default(), End::default());
    let (random, cookie): ([u8; 32], [u8; 20]) = (chance.array(), chance.array());
    let quick = |chance: &mut Random| chance.between(MS / 5, 2 * MS);
    talk.client_says(quick(chance), client.message(1, |o| hello(random, &[], o)));
    let verify = server.message(3, |o| {
        o.u16(0xfeff);
        o.block(1, |o| o.put(cookie));
    });
    talk.server_says(quick(chance), verify);
    talk.client_says(quick(chance), client.message(1, |o| hello(random, &cookie, o)));
    let (answer, key, signature) = (chance.array::<32>(), chance.bytes(32), chance.bytes(70));
    let flight = [
        server.message(2, |o| {
            o.u16(VERSION);
            o.put(answer);
            o.u8(0);
            o.u16(0xc02b);
            o.u8(0);
            o.block(2, |o| o.put([0, 23, 0, 0, 0, 11, 0, 2, 1, 0, 0, 14, 0, 5, 0, 2, 0, 1, 0]));
        }),
        server.message(11, |o| o.block(3, |o| o.block(3, |o| o.put(PORTAL)))),
        server.message(12, |o| {
            o.put([3, 0, 29]);
            o.block(1, |o| o.put(key));
            o.u16(0x0403);
            o.block(2, |o| o.put(signature));
        }),
        server.message(14, |_| {}),
    ];
    talk.server_says(quick(chance), flight.concat());
    let public = chance.bytes(32);
    let exchange = client.message(16, |o| o.block(1, |o| o.put(public)));
    talk.client_says(quick(chance), [exchange, client.finish(chance)].concat());
    talk.server_says(quick(chance), server.finish(chance));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::script::spoken;

    #[test]
    fn records_have_their_lengths_and_count_up() {
        let mut talk = Dialogue::default();
        shake(&mut talk, &mut Random::stream(1, "dtls"));
        for datagram in spoken(&talk.client).iter().chain(&spoken(&talk.server)) {
            let mut rest = &datagram[..];
            while let [kind, 0xfe, 0xfd, ..] = rest {
                assert!(matches!(kind, 20 | 22));
                let length = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
                rest = &rest[13 + length..];
            }
            assert!(rest.is_empty() && datagram.len() < 1_300);
        }
        assert_eq!((talk.client.len(), talk.server.len()), (9, 9));
    }
}
