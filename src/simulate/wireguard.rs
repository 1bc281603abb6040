//! WireGuard's messages: handshakes as dialogues of datagrams, and transport messages.
//!
//! Reads: a stream of chance. Emits: both ends' scripts with messages of type 1, 2 and 4 (WireGuard whitepaper,
//! section 5.4); what the tunnel carries is in `inner`. Does not: encrypt; keys and ciphertext are random bytes. The initiator confirms the session with its
//! first data packet right after the response, and rekeys after 120 s (section 6.2), which gives the tap one clean
//! round trip to the initiator each time. A lost datagram is not repaired here, so the scenario's legs lose none.

use crate::simulate::leg::MS;
use crate::simulate::octets::Octets;
use crate::simulate::random::Random;
use crate::simulate::script::Dialogue;

/// One handshake with the key confirmation.
pub(super) fn shake(turn: u32, client: &[u8; 4], server: &[u8; 4], talk: &mut Dialogue, chance: &mut Random) {
    let initiation = message(1, &[client, &chance.bytes(32 + 48 + 28 + 16), &[0; 16]]);
    talk.client_says(if turn == 0 { MS } else { chance.between(MS, 30 * MS) }, initiation);
    let response = message(2, &[server, client, &chance.bytes(32 + 16 + 16), &[0; 16]]);
    talk.server_says(chance.between(MS / 5, 2 * MS), response);
    // The key is confirmed with an empty packet, a keep-alive.
    talk.client_says(chance.between(MS / 10, MS), data(server, 0, 0, chance));
}

/// A transport message; the inner packet is padded to 16 bytes and grows by its tag.
pub(super) fn data(receiver: &[u8; 4], counter: u64, inner: usize, chance: &mut Random) -> Vec<u8> {
    let padded = inner.next_multiple_of(16);
    message(4, &[receiver, &counter.to_le_bytes(), &chance.bytes(padded + 16)])
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    Octets::of(|o| {
        o.put([kind, 0, 0, 0]);
        parts.iter().for_each(|part| o.put(part));
    })
}

/// Rekey-After-Time.
pub(super) const REKEY: i64 = 120_000 * MS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::script::Step;

    #[test]
    fn messages_have_the_lengths_of_the_paper() {
        let (mut talk, mut chance) = (Dialogue::default(), Random::stream(1, "wireguard"));
        (0..2).for_each(|turn| shake(turn, &[1; 4], &[2; 4], &mut talk, &mut chance));
        let said = |steps: &[Step]| -> Vec<(u8, usize)> {
            steps.iter().filter_map(|s| if let Step::Send(b) = s { Some((b[0], b.len())) } else { None }).collect()
        };
        let (client, server) = (said(&talk.client), said(&talk.server));
        assert_eq!(client, [(1, 148), (4, 32), (1, 148), (4, 32)]);
        assert_eq!(server, [(2, 92), (2, 92)]);
        assert_eq!(data(&[1; 4], 7, 52, &mut chance).len(), 16 + 64 + 16);
    }
}
