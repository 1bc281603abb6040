//! Calls: what Microsoft's relays speak over TCP, which no capture at hand shows, after [MS-TURN]; the orders in which a
//! call's protocols may share a flow; and look-alikes.

use crate::tools::hellos;
use crate::{CLIENT, Client, Server, Tape, Who, named, noise, nothing, tcp, udp};

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

/// SIP with ICE in both descriptions (RFC 3261, RFC 8839), and the call itself.
#[test]
fn sip_that_sets_up_a_call_is_one_session_with_it() {
    let sip = |first: &str, fragment: &str| {
        let body = format!("v=0\r\ns=-\r\na=ice-ufrag:{fragment}\r\na=ice-pwd:0123456789abcdefghijkl\r\n");
        let head = format!("{first}\r\nCall-ID: 7@a\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n");
        [head, body].concat().into_bytes()
    };
    for (answer, together) in [("wxyz", true), ("stuv", false)] {
        let mut tape = Tape::default();
        let invite = sip("INVITE sip:bob@192.0.2.9 SIP/2.0", "abcd");
        tape.udp((5060, 5060), &[(Client, &invite), (Server, &sip("SIP/2.0 200 OK", answer))]);
        let check = [(Client, message(1, 5, CHECK)), (Server, message(0x101, 5, b""))];
        let hellos = [(Client, client_hello()), (Server, server_hello())];
        for (who, bytes) in [check, hellos].concat() {
            tape.udp((50_000, 40_000), &[(who, &bytes)]);
        }
        let sessions = tape.sessions();
        let call = sessions.iter().find(|session| session.protocol == Some("dtls")).unwrap();
        assert_eq!((sessions.len() == 1, call.parts.len() == 1), (together, together), "{answer}");
        let sip = |key| sessions.iter().any(|session| session.attributes.iter().any(|(known, _)| *known == key));
        assert!(sip("sip.method") && sip("sip.status"));
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

/// A call between the client and a peer: checks, hellos, pictures from the ends that send them, protected data.
fn call(tape: &mut Tape, pictures: &[Who], data: &[Who]) {
    const PEER: [u8; 4] = [203, 0, 113, 80];
    let sealed = |seed| [&[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 40][..], &noise(seed, 40)].concat();
    let mut turns = vec![
        (Client, message(1, 5, CHECK)),
        (Server, message(0x101, 5, b"")),
        (Client, client_hello()),
        (Server, server_hello()),
    ];
    // Change of cipher and the finished messages, which only stand for themselves.
    for who in [Client, Server] {
        turns.push((who, record(20, 0, &[1])));
        turns.push((who, [&[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 40][..], &noise(1, 40)].concat()));
    }
    for i in 0..8 {
        turns.extend(pictures.iter().map(|who| (*who, media(i))));
        turns.extend(data.iter().map(|who| (*who, sealed(u64::from(i)))));
    }
    for (who, bytes) in turns {
        let (src, dst) =
            if who == Client { ((CLIENT, 40_001), (PEER, 40_002)) } else { ((PEER, 40_002), (CLIENT, 40_001)) };
        tape.udp_between(src, dst, &bytes);
    }
}

/// A connection to a service, then a call.
fn after_talking_to(name: &str, pause_ms: i64, pictures: &[Who], data: &[Who]) -> Vec<farmlight::session::Session> {
    let (hello, answer) = hellos(name, "h2");
    let mut tape = Tape::default();
    tape.tcp((50_123, 443), &[(Client, &hello), (Server, &answer)]);
    tape.wait(pause_ms);
    call(&mut tape, pictures, data);
    tape.sessions()
}

const SERVICE: &str = "remotedesktop-pa.googleapis.com";

#[test]
fn a_screen_and_the_service_that_set_it_up_are_one_session() {
    for (viewer, host) in [(Client, Server), (Server, Client)] {
        let sessions = after_talking_to(SERVICE, 20_000, &[host], &[viewer, host]);
        assert_eq!(named(&sessions), ("chrome-remote-desktop", "likely"));
        assert_eq!((sessions[0].carrier, sessions[0].parts.len()), (Some("dtls"), 1));
        assert_eq!(sessions[0].category, Some(farmlight::protocol::Category::RemoteDesktop));
        let method = |m: &&farmlight::base::RttSample| m.layer == farmlight::base::Layer::TcpHandshake;
        // Of the service's own round trips the client's alone are the session's.
        assert!(sessions[0].samples.iter().filter(method).all(|s| s.side == farmlight::base::Side::Client));
    }
}

#[test]
fn a_call_beside_the_service_stays_a_call() {
    let both: &[Who] = &[Client, Server];
    for (name, pause, pictures, data) in [
        // A meeting: both ends speak. A stream that is watched, or only heard: nobody types.
        (SERVICE, 20_000, both, both),
        (SERVICE, 20_000, &[Server], &[]),
        (SERVICE, 20_000, &[Server], &[Server]),
        // A game's channel of data without pictures; the service long before; its web site alone.
        (SERVICE, 20_000, &[], both),
        (SERVICE, 400_000, &[Server], both),
        ("remotedesktop.google.com", 20_000, &[Server], both),
        ("meet.google.com", 20_000, &[Server], both),
    ] {
        let sessions = after_talking_to(name, pause, pictures, data);
        assert_eq!(sessions.len(), 2, "{name} {pause} {pictures:?} {data:?}");
        assert!(sessions.iter().any(|s| s.protocol == Some("dtls") && s.application == Some("webrtc")));
    }
}

/// A frame of text.
fn text(who: Who, text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap();
    assert!(len < 126);
    match who {
        Client => [&[0x81, 0x80 | len, 0, 0, 0, 0][..], text.as_bytes()].concat(),
        Server => [&[0x81, len][..], text.as_bytes()].concat(),
    }
}

#[test]
fn a_call_and_the_websocket_that_set_it_up_are_one_session() {
    let ask = b"GET /janus/ws HTTP/1.1\r\nHost: 192.0.2.9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (offered, flows) in [("abcd", 1), ("efgh", 2)] {
        let offer = text(Server, &format!(r#"{{"jsep":{{"type":"offer","sdp":"v=0\r\na=ice-ufrag:{offered}\r\n"}}}}"#));
        let answer = text(Client, r#"{"jsep":{"type":"answer","sdp":"v=0\r\na=ice-ufrag:wxyz\r\n"}}"#);
        let mut tape = Tape::default();
        tape.tcp((50_123, 8188), &[(Client, ask), (Server, accept), (Server, &offer), (Client, &answer)]);
        call(&mut tape, &[Server], &[]);
        let sessions = tape.sessions();
        assert_eq!(sessions.len(), flows, "{offered}");
        let joined = sessions.iter().find(|s| s.protocol == Some("dtls")).unwrap();
        assert_eq!((joined.application, joined.parts.len()), (Some("webrtc"), 2 - flows));
    }
}
