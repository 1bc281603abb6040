//! Dialogues of this group.

use crate::{Client, Server, named, noise, nothing, udp};

/// A ZeroTier packet: packet id, destination, source, flags, MAC, then the verb and what follows.
fn zerotier(to: [u8; 5], from: [u8; 5], flags: u8, body: &[u8]) -> Vec<u8> {
    [&noise(1, 8)[..], &to, &from, &[flags], &noise(2, 8), body].concat()
}

#[test]
fn zerotier_greets_and_is_answered() {
    let (node, root) = ([0x9a, 1, 2, 3, 4], [0x62, 0xf8, 0x65, 0xae, 0x71]);
    let hello = |named: [u8; 5]| [&[1, 12, 1, 14, 0, 2][..], &noise(3, 8), &named, &[0], &noise(4, 64)].concat();
    let greeting = zerotier(root, node, 0, &hello(node));
    let answer = zerotier(node, root, 0x08, &noise(5, 60));
    let sessions = udp(9993, &[(Client, &greeting), (Server, &answer)]);
    assert_eq!(named(&sessions), ("zerotier", "confirmed"));
    // Somebody else's name in the identity, and noise on ZeroTier's port.
    let stranger = zerotier(root, node, 0, &hello([1, 2, 3, 4, 5]));
    nothing(&udp(9993, &[(Client, &stranger), (Server, &answer)]));
    nothing(&udp(9993, &[(Client, &noise(6, 120)), (Server, &noise(7, 120))]));
}

/// OK(HELLO) brings the HELLO's packet number and time stamp back, but under Salsa20; what is left to see, its addresses
/// and its 59 bytes, a short FRAME has as well, which a peer that knows the node may send unasked.
#[test]
fn zerotier_shows_no_answer_that_nothing_else_looks_like() {
    let (node, peer) = ([0x9a, 1, 2, 3, 4], [0x62, 0xf8, 0x65, 0xae, 0x71]);
    let hello = [&[1, 12, 1, 14, 0, 2][..], &noise(3, 8), &node, &[0], &noise(4, 64)].concat();
    let greeting = zerotier(peer, node, 0, &hello);
    let (ok, frame) = (zerotier(node, peer, 0x08, &noise(5, 32)), zerotier(node, peer, 0x08, &noise(6, 32)));
    assert_eq!((ok.len(), frame.len()), (59, 59));
    for answer in [&ok, &frame] {
        let sessions = udp(9993, &[(Client, &greeting), (Server, answer), (Client, &greeting), (Server, answer)]);
        assert_eq!(named(&sessions), ("zerotier", "confirmed"));
        assert!(sessions[0].rtt().is_empty(), "{:?}", sessions[0].rtt());
    }
}

/// A message of WireGuard with AmneziaWG's random bytes before it and a type of its own.
fn amnezia(before: usize, kind: u32, indices: &[u32], len: usize) -> Vec<u8> {
    let mut out = noise(8, before);
    out.extend(kind.to_le_bytes());
    indices.iter().for_each(|index| out.extend(index.to_le_bytes()));
    out.extend(noise(9, before + len - 16 - out.len()));
    out.resize(before + len, 0);
    out
}

#[test]
fn amnezia_wg_behind_junk() {
    let ask = amnezia(33, 0x5a71_0c2e, &[0x1111_2222], 148);
    let answer = amnezia(61, 0x2b3c_4d5e, &[0x3333_4444, 0x1111_2222], 92);
    let data = [&0x7788_99aa_u32.to_le_bytes()[..], &0x3333_4444_u32.to_le_bytes(), &[0; 8], &noise(10, 80)].concat();
    let (junk, more) = (noise(11, 70), noise(12, 55));
    let turns = [(Client, &junk[..]), (Client, &more), (Client, &ask), (Server, &answer), (Client, &data)];
    let sessions = udp(51_820, &turns);
    assert_eq!(named(&sessions), ("wireguard", "confirmed"));
    let other = amnezia(61, 0x2b3c_4d5e, &[0x3333_4444, 0x1111_2223], 92);
    nothing(&udp(40_000, &[(Client, &ask), (Server, &other), (Client, &data)]));
}
