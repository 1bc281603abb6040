//! Dialogues of thin clients and game streams, as their descriptions have them, and what must not be taken for them.

use super::{Client, Server, Tape, Who, named, noise, nothing, tcp, udp};
use farmlight::base::Link;

const SIGNATURE: &[u8] = b"\x7f\x7fICA\0";
const GREETING: &[u8] = b"\x1aCGP/01\x05\0\x01\0\0\0\0";

/// EDT's handshake: dialect, the socket it goes to, request, own socket.
fn handshake(dialect: u8, to: u32, request: u32, own: u32) -> Vec<u8> {
    let mut out = vec![0x80, 0, 0, dialect, 0, 0, 0, 0, 0, 0, 0, 0];
    for word in [to, 4, 1, 0x40ab_8156, 1_500, 0x4000, request, own, 0, 0, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out
}

fn edt_data(to: u32, payload: &[u8]) -> Vec<u8> {
    [&b"\x40\xab\x81\x56\xc0\0\0\x01\0\0\x1b\x02"[..], &to.to_be_bytes(), payload].concat()
}

fn edt() -> Vec<(Who, Vec<u8>)> {
    vec![
        (Client, handshake(5, 0, 1, 7)),
        (Server, handshake(5, 7, 1, 8)),
        (Client, handshake(4, 8, u32::MAX, 7)),
        (Server, handshake(0, 7, u32::MAX, 9)),
        (Client, edt_data(9, GREETING)),
        (Server, edt_data(7, GREETING)),
        (Server, edt_data(7, &noise(5, 900))),
    ]
}

fn turns(dialogue: &[(Who, Vec<u8>)]) -> Vec<(Who, &[u8])> {
    dialogue.iter().map(|(who, bytes)| (*who, &bytes[..])).collect()
}

#[test]
fn citrix_over_tcp_is_ica_with_and_without_cgp() {
    for (port, opening) in [(1494, SIGNATURE), (2598, GREETING), (8000, GREETING)] {
        let sessions = tcp(port, &[(Server, opening), (Client, opening), (Server, &noise(1, 500))]);
        assert_eq!(named(&sessions), ("ica", "confirmed"));
    }
}

#[test]
fn citrix_over_udp_is_edt_and_belongs_to_its_tcp() {
    assert_eq!(named(&udp(2598, &turns(&edt()))), ("edt", "confirmed"));
    // The client tries both transports at once.
    let mut tape = Tape::default();
    tape.tcp((50_001, 2598), &[(Client, GREETING), (Server, GREETING)]);
    tape.udp((50_002, 2598), &turns(&edt()));
    let sessions = tape.sessions();
    assert!(!sessions.is_empty());
    for session in &sessions {
        assert!(session.links.contains(&Link::Pair("ica")), "{session:#?}");
    }
}

#[test]
fn other_users_of_udt_are_not_citrix() {
    let plain = [
        (Client, handshake(0, 0, 1, 7)),
        (Server, handshake(0, 7, 1, 8)),
        (Client, edt_data(8, &noise(2, 300))),
        (Server, edt_data(7, &noise(3, 300))),
    ];
    for port in [1494, 2598, 9000] {
        nothing(&udp(port, &turns(&plain)));
        nothing(&udp(port, &[(Client, &noise(4, 64)), (Server, &noise(5, 64))]));
        nothing(&tcp(port, &[(Client, b"\x7fELF\x02\x01\x01\0"), (Server, b"ok")]));
    }
}

#[test]
fn guacd_is_told_where_to_go() {
    let sessions = tcp(
        4822,
        &[
            (Client, b"6.select,3.vnc;"),
            (Server, b"4.args,13.VERSION_1_5_0,8.hostname,4.port,8.password;"),
            (Client, b"4.size,4.1024,3.768,2.96;7.connect,13.VERSION_1_5_0,10.203.0.113.,4.5900,6.secret;"),
            (Server, b"5.ready,5.$a-b0;"),
        ],
    );
    assert_eq!(named(&sessions), ("guacamole", "confirmed"));
    assert!(!format!("{sessions:?}").contains("secret"));
}

#[test]
fn streams_of_games_and_cameras_are_told_apart() {
    let ask = b"OPTIONS rtsp://192.0.2.9:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\n\r\n";
    let answer = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n";
    assert_eq!(named(&tcp(48010, &[(Client, ask), (Server, answer)])), ("gamestream", "confirmed"));
    let camera = b"OPTIONS rtsp://192.0.2.9:48010 RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: VLC\r\n\r\n";
    nothing(&tcp(48010, &[(Client, camera), (Server, answer)]));
}

#[test]
fn dameware_says_its_version_on_both_sides() {
    let message = |version: f64| {
        let mut out = b"\x30\x11\0\0\0\0\0\0".to_vec();
        out.extend(version.to_le_bytes());
        out.resize(40, 0);
        out
    };
    let sessions = tcp(6129, &[(Server, &message(12.1)), (Client, &message(12.1))]);
    assert_eq!(named(&sessions), ("dameware", "confirmed"));
    nothing(&tcp(6129, &[(Server, &noise(6, 40)), (Client, &noise(7, 40))]));
}

#[test]
fn nomachine_is_told_by_its_two_versions() {
    let sessions = tcp(4000, &[(Client, b"NXSH-8.10.1\n"), (Server, b"NXD-8.10.1\n")]);
    assert_eq!(named(&sessions), ("nomachine", "confirmed"));
    nothing(&tcp(4000, &[(Client, b"NXSH-eight\n"), (Server, b"NXD-8.10.1\n")]));
}

#[test]
fn radmin_is_told_by_a_question_and_its_answer() {
    let mut properties = b"\x01\0\0\0\x25\0\0\x02\x12\x08\x02\0\0\x0a".to_vec();
    properties.resize(46, 0);
    let hello = tcp(4899, &[(Client, b"\x01\0\0\0\x01\0\0\0\x08\x08"), (Server, &properties)]);
    assert_eq!(named(&hello), ("radmin", "confirmed"));
    let question = b"\x01\0\0\0\x05\0\0\x02\x27\x27\x02\0\0\0";
    let answer = b"\x01\0\0\0\x05\0\0\0\x27\x27\0\0\0\0";
    assert_eq!(named(&tcp(40_000, &[(Client, question), (Server, answer)])), ("radmin", "confirmed"));
    nothing(&tcp(4899, &[(Client, question), (Server, b"\x01\0\0\0\x05\0\0\0\x28\x27\0\0\0\0")]));
}

#[test]
fn neighbours_are_not_thin_clients() {
    let others: [(&[u8], &[u8]); 5] = [
        (b"GET / HTTP/1.1\r\nHost: desk.example\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04desk", b"\x20\x02\0\0"),
        (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        // Minecraft: handshake and status request, and the answer's beginning.
        (b"\x10\0\xff\x05\x09localhost\x63\xdd\x01\x01\0", b"\x0d\0\x0b{\"a\":\"b\"}"),
        // Steam's connection manager.
        (b"\x20\0\0\0VT01\x17\x05\0\0", b"\x20\0\0\0VT01\x17\x05\0\0"),
    ];
    for port in [1494, 2598, 4000, 4172, 4822, 4899, 6129, 14_500, 22_443] {
        for (question, answer) in others {
            nothing(&tcp(port, &[(Client, question), (Server, answer)]));
        }
    }
}

#[test]
fn a_door_to_virtual_machines_is_no_desktop() {
    let greeting = b"220 VMware Authentication Daemon Version 1.10: SSL Required, MKSDisplayProtocol:VNC\r\n";
    let sessions = tcp(902, &[(Server, greeting), (Client, b"USER root\r\n"), (Server, b"331 Password\r\n")]);
    assert_eq!(named(&sessions), ("vmware-authd", "confirmed"));
    nothing(&sessions);
    let mail = tcp(902, &[(Server, b"220 mail.example ESMTP\r\n"), (Client, b"EHLO client.example\r\n")]);
    nothing(&mail);
}

#[test]
fn first_bytes_of_others_on_these_ports_are_nothing() {
    for port in [1494, 4000, 4172, 4822, 4899, 6129, 14_500, 48_010] {
        nothing(&tcp(port, &[(Client, &noise(8, 200)), (Server, &noise(9, 400))]));
        nothing(&udp(port, &[(Client, &noise(10, 200)), (Server, &noise(11, 400))]));
        nothing(&tcp(port, &[(Client, b"\x01\0\0\0\x10\0\0\0\x20"), (Server, b"\x01\0\0\0\x10\0\0\0\x20")]));
        nothing(&tcp(port, &[(Client, b"PING\r\n"), (Server, b"PONG\r\n")]));
    }
}
