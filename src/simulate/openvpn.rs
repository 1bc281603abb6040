//! A corporate OpenVPN tunnel's control as a dialogue: resets, the TLS handshake in control packets, pings; and data.
//!
//! Reads: a stream of chance. Emits: both ends' scripts, over UDP or, each packet with its length before it, over TCP
//! (OpenVPN wire protocol, draft-ietf-openvpn-protocol). Does not: authenticate control packets (no tls-auth), encrypt,
//! or repair a lost datagram; what data
//! packets carry is in `inner`. Acknowledgements ride on control packets, and alone where nothing else is to be said.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::{Dialogue, Step};
use crate::simulate::tls;
use crate::simulate::tls_hello::Program;

/// The tunnel: how long, when nothing passes in it, and over what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tunnel<'a> {
    pub(super) lasts: i64,
    /// When each end says that it is still there, from the beginning on, in order.
    pub(super) pings: [&'a [i64]; 2],
    pub(super) over_tcp: bool,
}

/// Opcodes, shifted over the key number.
const ACK: u8 = 5 << 3;
const CONTROL: u8 = 4 << 3;
const CLIENT_RESET: u8 = 7 << 3;
const SERVER_RESET: u8 = 8 << 3;
const DATA: u8 = 9 << 3;
/// What a control packet takes of the TLS stream at most.
const CHUNK: usize = 1_170;
/// `--ping` as servers push it.
pub(super) const PING: i64 = 10_000 * MS;
/// What a ping holds instead of a packet.
const PING_LENGTH: usize = 16;

/// The control channel of one end.
#[derive(Debug)]
struct End {
    session: [u8; 8],
    sent: u32,
    /// Packets of the other end not yet acknowledged.
    unacknowledged: Vec<u32>,
}

impl End {
    fn packet(&mut self, opcode: u8, other: [u8; 8], payload: Option<&[u8]>) -> Vec<u8> {
        Octets::of(|o| {
            o.u8(opcode);
            o.put(self.session);
            let acks: Vec<u32> = self.unacknowledged.drain(..self.unacknowledged.len().min(4)).collect();
            o.u8(acks.len() as u8);
            acks.iter().for_each(|id| o.u32(*id));
            if !acks.is_empty() {
                o.put(other);
            }
            if let Some(payload) = payload {
                o.u32(self.sent);
                o.put(payload);
                self.sent = self.sent.saturating_add(1);
            }
        })
    }
}

impl Tunnel<'_> {
    /// Adds the tunnel to a dialogue.
    pub(super) fn play(&self, talk: &mut Dialogue, chance: &mut Random) {
        let end = |chance: &mut Random| End { session: chance.array(), sent: 0, unacknowledged: Vec::new() };
        let (mut client, mut server) = (end(chance), end(chance));
        let reset = client.packet(CLIENT_RESET, server.session, Some(&[]));
        talk.client_says(MS, self.framed(reset));
        server.unacknowledged.push(0);
        let reset = server.packet(SERVER_RESET, client.session, Some(&[]));
        talk.server_says(chance.between(MS / 5, MS), self.framed(reset));
        client.unacknowledged.push(0);
        self.shake_hands(&mut client, &mut server, talk, chance);
        let mut left = [0, 1].map(|_| self.lasts);
        for ((script, pings), left) in [&mut talk.client, &mut talk.server].into_iter().zip(self.pings).zip(&mut left) {
            let mut said = 0;
            for (counter, at) in (1_u32..).zip(pings) {
                let ping = self.framed(data(counter, PING_LENGTH, chance));
                script.extend([Step::Pause(at.saturating_sub(said).max(0)), Step::Send(ping)]);
                said = *at;
            }
            *left = self.lasts.saturating_sub(said);
        }
        if self.over_tcp {
            talk.client.push(Step::Pause(left[0].max(0)));
            talk.client_closes();
        }
    }

    /// The TLS handshake, then keys and options as application data, then the pushed configuration.
    fn shake_hands(&self, client: &mut End, server: &mut End, talk: &mut Dialogue, chance: &mut Random) {
        let hello = tls::Session {
            program: Program::Curl,
            server_name: "vpn.example.com",
            newest: true,
            retry: false,
            requests: 0,
        };
        let (mut asked, mut answered) = hello.flights(chance);
        asked.push(tls::sealed_13(560, chance));
        answered.push(tls::sealed_13(310, chance));
        asked.push(tls::sealed_13(14, chance));
        answered.push(tls::sealed_13(240, chance));
        for (question, answer) in asked.into_iter().zip(answered) {
            let mut pause = chance.between(MS / 2, 3 * MS);
            for chunk in question.chunks(CHUNK) {
                server.unacknowledged.push(client.sent);
                let packet = client.packet(CONTROL, server.session, Some(chunk));
                talk.client_says(std::mem::take(&mut pause), self.framed(packet));
            }
            let mut pause = chance.between(MS / 2, 3 * MS);
            for chunk in answer.chunks(CHUNK) {
                client.unacknowledged.push(server.sent);
                let packet = server.packet(CONTROL, client.session, Some(chunk));
                talk.server_says(std::mem::take(&mut pause), self.framed(packet));
            }
            let ack = client.packet(ACK, server.session, None);
            talk.client_says(chance.between(MS / 20, MS / 5), self.framed(ack));
        }
    }

    fn framed(&self, packet: Vec<u8>) -> Vec<u8> {
        if self.over_tcp { framed(&packet) } else { packet }
    }
}

/// `P_DATA_V2` with AES-GCM: peer number, packet number, tag, ciphertext.
pub(super) fn data(counter: u32, inner: usize, chance: &mut Random) -> Vec<u8> {
    let sealed = chance.bytes(inner.saturating_add(16));
    Octets::of(|o| {
        o.put([DATA, 0, 0, 0]);
        o.u32(counter);
        o.put(sealed);
    })
}

/// The same over TCP.
pub(super) fn framed(packet: &[u8]) -> Vec<u8> {
    Octets::of(|o| o.block(2, |o| o.put(packet)))
}

/// The length of the first whole packet of a stream, with its frame, and whether it is one of the tunnel's inside.
pub(super) fn next_of(stream: &[u8]) -> Option<(usize, bool)> {
    let [a, b, opcode, ..] = stream else { return None };
    let length = usize::from(u16::from_be_bytes([*a, *b])).saturating_add(2);
    let inner = *opcode == DATA && length > 2 + 8 + 16 + PING_LENGTH;
    (stream.len() >= length).then_some((length, inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::script::spoken;

    fn opcodes(over_tcp: bool) -> (Vec<u8>, Vec<u8>) {
        let (mut talk, mut chance) = (Dialogue::default(), Random::stream(1, "openvpn"));
        Tunnel { lasts: 60_000 * MS, pings: [&[PING, 2 * PING]; 2], over_tcp }.play(&mut talk, &mut chance);
        let skip = if over_tcp { 2 } else { 0 };
        let of = |steps: &[Step]| spoken(steps).iter().map(|packet| packet[skip] >> 3).collect();
        (of(&talk.client), of(&talk.server))
    }

    #[test]
    fn both_ends_reset_shake_hands_and_carry_data() {
        let (client, server) = opcodes(false);
        assert_eq!((client[0], server[0]), (7, 8));
        assert!(client[1] == 4 && client.contains(&5) && *client.last().unwrap() == 9);
        assert!(server.iter().filter(|op| **op == 4).count() >= 5 && server.last() == Some(&9), "{server:?}");
    }

    #[test]
    fn over_tcp_each_packet_has_its_length_before_it() {
        let (mut talk, mut chance) = (Dialogue::default(), Random::stream(1, "openvpn"));
        Tunnel { lasts: 30_000 * MS, pings: [&[PING]; 2], over_tcp: true }.play(&mut talk, &mut chance);
        for packet in spoken(&talk.client).iter().chain(&spoken(&talk.server)) {
            assert_eq!(usize::from(u16::from_be_bytes([packet[0], packet[1]])), packet.len() - 2);
        }
        assert_eq!(opcodes(true).0[..2], [7, 4]);
    }
}
