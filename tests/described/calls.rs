//! Calls: STUN, ICE, TURN, DTLS and RTP as their RFCs say they look, and datagrams that only look a little like them.

use super::{CLIENT, Client, SERVER, Server, Tape, Who, named, noise, nothing, tcp, udp};
use farmlight::session::{Confidence, Session};

/// RFC 8489 section 5.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

fn sized(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}

/// A STUN attribute with its padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    [&kind.to_be_bytes()[..], &sized(value), value, &padding].concat()
}

fn stun(kind: u16, transaction: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let body = attributes.concat();
    [&kind.to_be_bytes()[..], &sized(&body), &COOKIE, &[transaction; 12], &body].concat()
}

/// The value of a masked address (RFC 8489 section 14.2).
fn masked(ip: [u8; 4], port: u16) -> Vec<u8> {
    let ip: Vec<u8> = ip.iter().zip(COOKIE).map(|(byte, mask)| byte ^ mask).collect();
    [&[0, 1][..], &(port ^ 0x2112).to_be_bytes(), &ip].concat()
}

/// A connectivity check (RFC 8445 section 7.2.2), and its answer.
fn check(transaction: u8, username: &[u8], role: u16) -> Vec<u8> {
    let parts = [attribute(0x0006, username), attribute(0x0024, &[0x6e, 0, 1, 0xff]), attribute(role, &[7; 8])];
    stun(BINDING, transaction, &parts)
}

fn answer(transaction: u8) -> Vec<u8> {
    stun(BINDING_SUCCESS, transaction, &[attribute(0x0020, &masked(CLIENT, 50_123))])
}

const CONTROLLED: u16 = 0x8029;
const CONTROLLING: u16 = 0x802a;

/// Checks from both ends, as ICE begins.
fn ice() -> Vec<(Who, Vec<u8>)> {
    vec![
        (Client, check(1, b"abcd:WXYZ", CONTROLLING)),
        (Server, answer(1)),
        (Server, check(2, b"WXYZ:abcd", CONTROLLED)),
        (Client, answer(2)),
    ]
}

/// A DTLS record (RFC 6347 section 4.1).
fn record(kind: u8, epoch: u8, number: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, number][..], &sized(content), content].concat()
}

/// A handshake message in one fragment (section 4.2.2).
fn message(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = sized(body);
    [&[kind, 0, high, low, 0, sequence, 0, 0, 0, 0, high, low][..], body].concat()
}

fn client_hello(sequence: u8, cookie: &[u8], srtp: bool) -> Vec<u8> {
    let mut body = [&[0xfe, 0xfd][..], &[5; 32], &[0, u8::try_from(cookie.len()).unwrap()], cookie].concat();
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    let groups = attribute_of_tls(10, &[0, 2, 0, 29]);
    let profiles = attribute_of_tls(14, &[0, 4, 0, 7, 0, 1, 0]);
    let extensions = if srtp { [groups, profiles].concat() } else { groups };
    body.extend(sized(&extensions));
    body.extend(extensions);
    record(22, 0, sequence, &message(1, sequence, &body))
}

fn attribute_of_tls(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(value), value].concat()
}

fn server_hello(sequence: u8, srtp: bool) -> Vec<u8> {
    let mut body = [&[0xfe, 0xfd][..], &[6; 32], &[0, 0xc0, 0x2b, 0]].concat();
    let extensions = if srtp { attribute_of_tls(14, &[0, 2, 0, 7, 0]) } else { attribute_of_tls(0xff01, &[0]) };
    body.extend(sized(&extensions));
    body.extend(extensions);
    let done = record(22, 0, sequence + 1, &message(14, sequence + 1, &[]));
    [record(22, 0, sequence, &message(2, sequence, &body)), done].concat()
}

/// A handshake with a cookie, or as calls have it without one, up to the first data.
fn handshake(cookie: bool, srtp: bool) -> Vec<(Who, Vec<u8>)> {
    let mut turns = vec![(Client, client_hello(0, b"", srtp))];
    if cookie {
        let request = [&[0xfe, 0xff, 20][..], &[8; 20]].concat();
        turns.push((Server, record(22, 0, 0, &message(3, 0, &request))));
        turns.push((Client, client_hello(1, &[8; 20], srtp)));
    }
    let n = u8::from(cookie);
    let finished = |who, seed| (who, [record(20, 0, 9, &[1]), record(22, 1, 0, &noise(seed, 40))].concat());
    turns.push((Server, server_hello(n, srtp)));
    let exchange = record(22, 0, n + 1, &message(16, n + 1, &noise(9, 33)));
    turns.push((Client, [exchange, finished(Client, 1).1].concat()));
    turns.push(finished(Server, 2));
    turns.push((Client, record(23, 1, 1, &noise(3, 60))));
    turns.push((Server, record(23, 1, 1, &noise(4, 60))));
    turns
}

/// RTP of one end (RFC 3550 section 5.1).
fn media(who: Who, payload_type: u8, count: u8) -> Vec<(Who, Vec<u8>)> {
    let ssrc = if who == Client { 0x1111_2222_u32 } else { 0x3333_4444 };
    let packet = |i: u8| {
        let ticks = 160 * u32::from(i);
        [&[0x80, payload_type, 0, i][..], &ticks.to_be_bytes(), &ssrc.to_be_bytes(), &noise(u64::from(i), 80)].concat()
    };
    (0..count).map(|i| (who, packet(i))).collect()
}

/// ChannelData (RFC 8656 section 12.4), with the padding that streams need.
fn channel(bytes: &[u8]) -> Vec<u8> {
    let padding = vec![0; bytes.len().next_multiple_of(4) - bytes.len()];
    [&[0x40, 1][..], &sized(bytes), bytes, &padding].concat()
}

/// A client gets an address lent, lets a peer in, and speaks with it in both of TURN's ways.
fn relayed() -> Vec<(Who, Vec<u8>)> {
    let peer = || attribute(0x0012, &masked([203, 0, 113, 5], 40_000));
    let transport = || attribute(0x0019, &[17, 0, 0, 0]);
    let realm = || attribute(0x0014, b"relay.example");
    let credentials = || [attribute(0x0006, b"ann"), realm(), attribute(0x0015, b"nonce")].concat();
    let refusal = [&[0, 0, 4, 1][..], b"Unauthorized"].concat();
    let lent = [attribute(0x0016, &masked(SERVER, 50_005)), attribute(0x0020, &masked(CLIENT, 50_123))].concat();
    vec![
        (Client, stun(0x0003, 1, &[transport()])),
        (Server, stun(0x0113, 1, &[attribute(0x0009, &refusal), realm(), attribute(0x0015, b"nonce")])),
        (Client, stun(0x0003, 2, &[transport(), credentials()])),
        (Server, stun(0x0103, 2, &[lent, attribute(0x8022, b"relay 1")])),
        (Client, stun(0x0008, 3, &[peer(), credentials()])),
        (Server, stun(0x0108, 3, &[])),
        (Client, stun(0x0016, 4, &[peer(), attribute(0x0013, &check(20, b"abcd:WXYZ", CONTROLLING))])),
        (Server, stun(0x0017, 5, &[peer(), attribute(0x0013, &answer(20))])),
        (Client, stun(0x0009, 6, &[attribute(0x000c, &[0x40, 1, 0, 0]), peer(), credentials()])),
        (Server, stun(0x0109, 6, &[])),
        (Client, channel(&check(21, b"abcd:WXYZ", CONTROLLING))),
        (Server, channel(&answer(21))),
    ]
}

fn borrowed(turns: &[(Who, Vec<u8>)]) -> Vec<(Who, &[u8])> {
    turns.iter().map(|(who, bytes)| (*who, bytes.as_slice())).collect()
}

fn of(port: u16, turns: &[(Who, Vec<u8>)]) -> Vec<Session> {
    udp(port, &borrowed(turns))
}

fn said<'s>(session: &'s Session, key: &str) -> Option<&'s str> {
    session.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
}

/// Method and number of the round trips, in the order of their names.
fn loops(session: &Session) -> Vec<(&'static str, u64)> {
    let mut loops: Vec<_> = session.rtt().iter().map(|rtt| (rtt.method, rtt.n)).collect();
    loops.sort_unstable();
    loops
}

#[test]
fn checks_of_ice_are_stun_and_measure_both_ends() {
    for port in [3478, 50_000] {
        let sessions = of(port, &ice());
        assert_eq!(named(&sessions), ("stun", "confirmed"));
        assert_eq!(loops(&sessions[0]), [("binding", 1), ("binding", 1)]);
        assert_eq!(said(&sessions[0], "stun.controlling"), Some("client"));
        assert_eq!(said(&sessions[0], "stun.username"), Some("abcd:WXYZ"));
        assert_eq!(said(&sessions[0], "stun.mapped_address"), Some("198.51.100.7:50123"));
        assert_eq!(sessions[0].application, None);
    }
}

#[test]
fn consent_of_a_long_call_leaves_room_for_other_round_trips() {
    let mut tape = Tape::default();
    for i in 0..2_000_u16 {
        let transaction = u8::try_from(i % 250).unwrap();
        let ask = check(transaction, b"abcd:WXYZ", CONTROLLING);
        let turns = [(Client, ask), (Server, answer(transaction))];
        tape.udp((50_123, 50_000), &borrowed(&turns));
        tape.wait(2_500);
    }
    let sessions = tape.sessions();
    assert_eq!(named(&sessions), ("stun", "confirmed"));
    let loops = loops(&sessions[0]);
    assert_eq!(loops, [("binding", 2_000)], "each is counted, and few are kept");
}

#[test]
fn one_direction_is_likely() {
    let asked: Vec<_> = ice().into_iter().filter(|(who, _)| *who == Client).collect();
    assert_eq!(named(&of(50_000, &asked)), ("stun", "likely"));
    let hello: Vec<_> = handshake(false, true).into_iter().filter(|(who, _)| *who == Client).collect();
    assert_eq!(named(&of(50_000, &hello)), ("dtls", "likely"));
    let answered: Vec<_> = handshake(false, true).into_iter().filter(|(who, _)| *who == Server).collect();
    assert_eq!(named(&of(50_000, &answered)), ("dtls", "likely"));
}

#[test]
fn turn_is_looked_into_and_keeps_its_name() {
    let sessions = of(3478, &relayed());
    let session = &sessions[0];
    assert_eq!(named(&sessions), ("turn", "confirmed"));
    let expected = [("allocate", 2), ("binding-through-relay", 2), ("channel-bind", 1), ("create-permission", 1)];
    assert_eq!(loops(session), expected);
    for (key, value) in [
        ("turn.username", "ann"),
        ("turn.realm", "relay.example"),
        ("turn.requested_transport", "udp"),
        ("turn.relayed_address", "192.0.2.9:50005"),
        ("turn.peer_address", "203.0.113.5:40000"),
        ("stun.software", "relay 1"),
        ("stun.username", "abcd:WXYZ"),
    ] {
        assert_eq!(said(session, key), Some(value), "{key}");
    }
    assert_eq!(said(session, "stun.error"), None);
}

#[test]
fn turn_in_tcp_is_the_same() {
    let sessions = tcp(3478, &borrowed(&relayed()));
    assert_eq!(named(&sessions), ("turn", "confirmed"));
    assert_eq!(said(&sessions[0], "turn.peer_address"), Some("203.0.113.5:40000"));
    assert!(loops(&sessions[0]).contains(&("binding-through-relay", 2)));
}

#[test]
fn checks_in_tcp_stand_behind_their_length() {
    let framed: Vec<_> = ice().into_iter().map(|(who, b)| (who, [&sized(&b)[..], &b].concat())).collect();
    let sessions = tcp(9, &borrowed(&framed));
    assert_eq!(named(&sessions), ("stun", "confirmed"));
    assert!(loops(&sessions[0]).contains(&("binding", 1)));
}

#[test]
fn dtls_with_a_cookie_is_no_call() {
    let sessions = of(4433, &handshake(true, false));
    assert_eq!(named(&sessions), ("dtls", "confirmed"));
    let expected = [("client-finished", 1), ("client-hello", 2), ("hello-verify", 1), ("server-hello-done", 1)];
    assert_eq!(loops(&sessions[0]), expected);
    assert_eq!(said(&sessions[0], "dtls.cookie"), Some("true"));
    assert_eq!((sessions[0].carrier, sessions[0].application), (None, None));
    nothing(&sessions);
}

#[test]
fn a_call_is_dtls_over_stun() {
    let turns = [ice(), handshake(false, true), media(Client, 111, 12), media(Server, 111, 9)].concat();
    let sessions = of(50_000, &turns);
    let session = &sessions[0];
    assert_eq!(named(&sessions), ("dtls", "confirmed"));
    assert_eq!((session.carrier, session.application), (Some("stun"), Some("webrtc")));
    assert_eq!(session.category.map(farmlight::protocol::Category::name), Some("conferencing"));
    assert_eq!(said(session, "dtls.srtp_offered"), Some("SRTP_AEAD_AES_128_GCM,SRTP_AES128_CM_HMAC_SHA1_80"));
    assert_eq!(said(session, "dtls.srtp"), Some("SRTP_AEAD_AES_128_GCM"));
    assert_eq!(said(session, "rtp.client_sent"), Some("111:12:1104"));
    assert_eq!(said(session, "rtp.server_sent"), Some("111:9:828"));
}

#[test]
fn flows_of_one_ice_session_are_one_record_and_a_constant_joins_nothing() {
    for (username, records) in [(&b"abcd:WXYZ"[..], 1), (b"default:default", 2)] {
        let mut tape = Tape::default();
        for port in [50_000, 50_001] {
            let turns = [(Client, check(1, username, CONTROLLING)), (Server, answer(1))];
            tape.udp((50_123, port), &borrowed(&turns));
        }
        assert_eq!(tape.sessions().len(), records);
    }
}

#[test]
fn media_alone_is_likely_however_long() {
    let sessions = of(40_000, &[media(Client, 0, 60), media(Server, 8, 60)].concat());
    assert_eq!(named(&sessions), ("rtp", "likely"));
    assert_eq!(said(&sessions[0], "rtp.client_sent"), Some("0:60:5520"));
    assert_eq!(said(&sessions[0], "rtp.server_sent"), Some("8:60:5520"));
    let one = of(40_000, &[media(Client, 0, 40)].concat());
    assert_eq!(named(&one), ("rtp", "likely"));
}

#[test]
fn look_alikes_are_not_taken() {
    let query = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x07example\x03com\0\0\x01\0\x01"].concat();
    let quic = [&[0xc3, 0, 0, 0, 1, 8][..], &[9; 8], &[0, 0, 0x44, 0x9e], &noise(1, 1_178)].concat();
    let wireguard = [&[1, 0, 0, 0][..], &noise(2, 144)].concat();
    // A STUN header with a length that is not there, a DTLS record that is cut short, RTP that goes nowhere.
    let short = [&[0, 1, 0, 8][..], &COOKIE, &[1; 12]].concat();
    let cut = client_hello(0, b"", true)[..30].to_vec();
    let still: Vec<_> =
        (0..20).map(|i| [&[0x80, 0, 0, 7, 0, 0, 0, 0, 1, 1, 1, 1][..], &noise(i, 80)].concat()).collect();
    let leaps: Vec<_> = (0..20).map(|i| [&[0x80, 0][..], &noise(i, 90)].concat()).collect();
    // Nobody's sixteen random bytes, nobody's answer.
    let bare: Vec<u8> = [&[0, 1, 0, 0][..], &noise(5, 16)].concat();
    let channel = [&[0x40, 1, 0, 60][..], &noise(6, 60)].concat();
    let random: Vec<_> = (0..20).map(|i| noise(100 + i, 200)).collect();
    for datagrams in [
        vec![query],
        vec![quic],
        vec![wireguard],
        vec![short],
        vec![cut],
        still,
        leaps,
        vec![bare; 4],
        vec![channel; 8],
        random,
    ] {
        let turns: Vec<_> = datagrams.iter().map(|d| (Client, d.clone())).collect();
        for session in of(50_000, &turns) {
            let name = session.protocol.filter(|_| session.confidence > Some(Confidence::PortOnly));
            assert!(!matches!(name, Some("stun" | "turn" | "dtls" | "rtp")), "{session:#?}");
        }
    }
}
