//! Calls: what Microsoft's relays speak over TCP, which no capture at hand shows, after [MS-TURN]; the orders in which a
//! call's protocols may share a flow; and look-alikes.

use crate::{Client, Server, Who, named, noise, nothing, tcp, udp};

fn message(kind: u16, transaction: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &[transaction; 12], body].concat()
}

/// PRIORITY and a pair of user fragments.
const CHECK: &[u8] = b"\0\x24\0\x04\x6e\0\x01\xff\0\x06\0\x09abcd:wxyz\0\0\0";

fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1][..], &length.to_be_bytes(), content].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = &u32::try_from(body.len()).unwrap().to_be_bytes()[1..];
    record(22, 0, &[&[kind][..], length, &[0, 0, 0, 0, 0], length, body].concat())
}

fn client_hello() -> Vec<u8> {
    handshake(1, &[&[0xfe, 0xfd][..], &[7; 32], &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]].concat())
}

fn server_hello() -> Vec<u8> {
    handshake(2, &[&[0xfe, 0xfd][..], &[8; 32], &[0, 0xc0, 0x2b, 0]].concat())
}

fn media(sequence: u16) -> Vec<u8> {
    let mut out = vec![0x80, 111];
    out.extend(sequence.to_be_bytes());
    out.extend((u32::from(sequence) * 960).to_be_bytes());
    out.extend([0, 0, 0, 9]);
    out.extend(noise(u64::from(sequence), 60));
    out
}

fn of_udp(turns: &[(Who, Vec<u8>)]) -> Vec<farmlight::session::Session> {
    let turns: Vec<(Who, &[u8])> = turns.iter().map(|(who, bytes)| (*who, bytes.as_slice())).collect();
    udp(40_000, &turns)
}

#[test]
fn a_call_is_dtls_over_stun_whatever_comes_first() {
    let checks = [(Client, message(1, 5, CHECK)), (Server, message(0x101, 5, b""))];
    let hellos = [(Client, client_hello()), (Server, server_hello())];
    let sound: Vec<(Who, Vec<u8>)> = (0..5).map(|i| (Client, media(i))).collect();
    for order in [
        [&checks[..], &hellos, &sound].concat(),
        [&hellos[..], &checks, &sound].concat(),
        [&sound[..], &checks, &hellos].concat(),
    ] {
        let sessions = of_udp(&order);
        assert_eq!(named(&sessions), ("dtls", "confirmed"));
        assert_eq!((sessions[0].carrier, sessions[0].application), (Some("stun"), Some("webrtc")));
        assert_eq!(sessions[0].category, Some(farmlight::protocol::Category::Conferencing));
        assert!(sessions[0].attributes.iter().any(|(key, value)| *key == "rtp.client_sent" && value == "111:5:360"));
        assert_eq!(sessions[0].links.len(), 1);
    }
}

#[test]
fn dtls_alone_is_no_call() {
    let sessions = of_udp(&[(Client, client_hello()), (Server, server_hello())]);
    assert_eq!(named(&sessions), ("dtls", "confirmed"));
    assert_eq!((sessions[0].carrier, sessions[0].application), (None, None));
    nothing(&sessions);
}

#[test]
fn a_hello_without_answer_is_likely_though_stun_was_certain() {
    let sessions =
        of_udp(&[(Client, message(1, 5, CHECK)), (Server, message(0x101, 5, b"")), (Client, client_hello())]);
    assert_eq!(named(&sessions), ("dtls", "likely"));
}

#[test]
fn microsofts_relay_over_tcp() {
    let draft = |kind: u16, more: &[u8]| {
        let body = [&[0, 0xf, 0, 4, 0x72, 0xc6, 0x4b, 0xc6][..], more].concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&kind.to_be_bytes()[..], &length, &[6; 16], &body].concat();
        [&[2, 0][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
    };
    let (ask, answer) = (draft(0x0003, b"\x80\x08\0\x04\0\0\0\x01"), draft(0x0103, b""));
    let sessions = tcp(443, &[(Client, &ask), (Server, &answer)]);
    assert_eq!(named(&sessions), ("turn", "confirmed"));
    assert_eq!(sessions[0].application, Some("teams"));
}

#[test]
fn what_looks_like_a_call_is_none() {
    // Version bits and a counter, but no clock behind it.
    let counter: Vec<(Who, Vec<u8>)> =
        (0..20u16).map(|i| (Client, [&[0x80, 96][..], &i.to_be_bytes(), &noise(u64::from(i), 80)].concat())).collect();
    nothing(&of_udp(&counter));
    for seed in 0..40 {
        let random: Vec<(Who, Vec<u8>)> = (0..12)
            .map(|i| {
                let mut bytes = noise(seed * 100 + i, 60);
                bytes[0] = [0x80, 0x90, 0x00, 0x01, 0x16, 0x17, 0x40, 0x2f][usize::try_from(seed % 8).unwrap()];
                (if i % 3 == 0 { Server } else { Client }, bytes)
            })
            .collect();
        nothing(&of_udp(&random));
    }
}
