//! Dialogues of this group.

use super::{Client, Server, Tape, Who, named, noise, nothing, tcp, udp};
use farmlight::session::Session;

fn blob(field: u8, bytes: &[u8]) -> Vec<u8> {
    let tag = u32::from(field) << 3 | 2;
    [varint(tag), varint(u32::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

fn varint(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

/// RustDesk's frame (`bytes_codec.rs`).
fn frame(content: &[u8]) -> Vec<u8> {
    let head = u16::try_from(content.len() << 2).unwrap().to_le_bytes();
    match content.len() {
        ..0x40 => [&head[..1], content].concat(),
        _ => [&[head[0] | 1, head[1]], content].concat(),
    }
}

/// `AddrMangle` of 203.0.113.5:50321, made when the clock's microseconds were 0x12345678.
fn caller() -> Vec<u8> {
    let (address, micros) = (u128::from(u32::from_le_bytes([203, 0, 113, 5])), 0x1234_5678u128);
    let number = (address + micros) << 49 | micros << 17 | (50_321 + (micros & 0xffff));
    let bytes = number.to_le_bytes();
    bytes[..bytes.iter().rposition(|b| *b != 0).unwrap() + 1].to_vec()
}

fn attribute<'s>(sessions: &'s [Session], key: &str) -> Option<&'s str> {
    sessions.iter().flat_map(|s| &s.attributes).find(|(k, _)| *k == key).map(|(_, value)| value.as_str())
}

const SESSION: &[u8] = b"123e4567-e89b-12d3-a456-426614174000";

/// A self-hosted server on ports of its own: the shape tells, not the port.
#[test]
fn a_rustdesk_registration_on_any_port_and_a_call() {
    let register = blob(6, &[blob(1, b"123456789"), vec![0x10, 0x02]].concat());
    let punch = blob(9, &[blob(1, &caller()), blob(2, b"relay.example.net:21117")].concat());
    let turns: [(Who, &[u8]); 5] =
        [(Client, &register), (Server, b"\x3a\x00"), (Client, &register), (Server, b"\x3a\x00"), (Server, &punch)];
    for port in [21_116, 443, 40_000] {
        let sessions = udp(port, &turns);
        assert_eq!(named(&sessions), ("rustdesk", "confirmed"));
        assert_eq!(attribute(&sessions, "rustdesk.role"), Some("rendezvous"));
        assert_eq!(attribute(&sessions, "rustdesk.peer_address"), Some("203.0.113.5:50321"));
        assert_eq!(attribute(&sessions, "rustdesk.relay_server"), Some("relay.example.net:21117"));
        assert!(sessions[0].rtt().iter().any(|rtt| rtt.method == "register" && rtt.n == 2));
    }
}

#[test]
fn a_rustdesk_session_through_a_relay_is_timed_end_to_end() {
    let id_pk = [blob(1, b"123456789"), blob(2, &noise(1, 32))].concat();
    let signed = frame(&blob(3, &blob(1, &[noise(2, 64), id_pk].concat())));
    let public = frame(&blob(4, &[blob(1, &noise(3, 32)), blob(2, &noise(4, 48))].concat()));
    let join = frame(&blob(18, &blob(2, SESSION)));
    let sealed = frame(&noise(5, 200));
    let device: [(Who, &[u8]); 4] = [(Client, &join), (Client, &signed), (Server, &public), (Client, &sealed)];
    for port in [21_117, 8_443] {
        let sessions = tcp(port, &device);
        assert_eq!(named(&sessions), ("rustdesk", "confirmed"));
        assert_eq!(attribute(&sessions, "rustdesk.role"), Some("relay"));
        assert_eq!(attribute(&sessions, "rustdesk.id"), Some("123456789"));
        let methods: Vec<_> = sessions[0].rtt().iter().map(|rtt| rtt.method).collect();
        assert!(methods.contains(&"signed-id") && methods.contains(&"public-key"), "{methods:?}");
    }
    // Without the relay the device is the one that was connected to.
    let direct: [(Who, &[u8]); 3] = [(Server, &signed), (Client, &public), (Server, &sealed)];
    let sessions = tcp(50_000, &direct);
    assert_eq!((named(&sessions), attribute(&sessions, "rustdesk.role")), (("rustdesk", "confirmed"), Some("peer")));
}

#[test]
fn a_rustdesk_call_over_a_websocket_on_any_port() {
    let ask = b"GET / HTTP/1.1\r\nHost: 192.0.2.9:21118\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let request = blob(8, &[blob(1, b"123456789"), blob(3, b"k"), vec![0x20, 0], blob(6, b"1.4.2")].concat());
    let answer = blob(
        19,
        &[blob(1, &caller()), blob(2, b"123e4567-e89b-12d3-a456-426614174000"), blob(3, b"192.0.2.44")].concat(),
    );
    let masked = [&[0x82, 0x80 | u8::try_from(request.len()).unwrap(), 0, 0, 0, 0][..], &request].concat();
    let plain = [&[0x82, u8::try_from(answer.len()).unwrap()][..], &answer].concat();
    for port in [21_118, 443, 8_080] {
        let sessions = tcp(port, &[(Client, ask), (Server, accept), (Client, &masked), (Server, &plain)]);
        assert_eq!(named(&sessions), ("rustdesk", "confirmed"));
        assert_eq!(sessions[0].carrier, Some("websocket"));
        assert_eq!(attribute(&sessions, "rustdesk.target"), Some("123456789"));
        assert_eq!(attribute(&sessions, "rustdesk.relay_server"), Some("192.0.2.44"));
    }
}

#[test]
fn a_rustdesk_request_over_tcp() {
    let request = [blob(1, b"123456789"), vec![0x10, 1], blob(3, &[b'k'; 44]), blob(6, b"1.4.2")].concat();
    let request = frame(&blob(8, &request));
    let answer = frame(&blob(11, &[blob(1, &caller()), blob(2, &noise(1, 140)), blob(4, b"192.0.2.44")].concat()));
    let sessions = tcp(21_116, &[(Client, &request), (Server, &answer)]);
    assert_eq!(named(&sessions).0, "rustdesk");
    assert_eq!(attribute(&sessions, "rustdesk.target"), Some("123456789"));
    assert_eq!(attribute(&sessions, "rustdesk.kind"), Some("desktop"));
    assert_eq!(attribute(&sessions, "rustdesk.peer_address"), Some("203.0.113.5:50321"));
}

/// Other protobufs, frames of one length byte, counters that look like tags.
#[test]
fn what_looks_like_rustdesk_is_not() {
    let grpc = [blob(1, b"123456789"), blob(2, b"name"), vec![0x18, 1]].concat();
    nothing(&udp(40_000, &[(Client, &grpc), (Server, &grpc), (Client, &grpc)]));
    nothing(&tcp(40_000, &[(Client, &frame(&grpc)), (Server, &frame(&grpc))]));
    let other = blob(6, &[blob(1, b"123456789"), blob(2, b"a text where a number is due")].concat());
    nothing(&udp(40_000, &[(Client, &other), (Server, b"\x3a\x00")]));
    nothing(&tcp(40_000, &[(Client, &frame(&blob(18, b"no session"))), (Server, b"ok\r\n")]));
    for seed in 0..64 {
        nothing(&udp(40_000, &[(Client, &noise(seed, 64)), (Server, &noise(seed + 99, 80))]));
        nothing(&tcp(40_000, &[(Client, &noise(seed, 300)), (Server, &noise(seed + 99, 300))]));
    }
}

fn teamviewer_old(command: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_le_bytes();
    [&[0x17, 0x24, command][..], &len, content].concat()
}

#[test]
fn teamviewer_over_http() {
    let get = b"GET /din.aspx?s=00000000&id=0&client=DynGate&rnd=7&p=10000001 HTTP/1.1\r\nAccept: */*\r\n\
        User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; DynGate)\r\nHost: 192.0.2.9\r\n\r\n";
    let ok = [&b"HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n"[..], &teamviewer_old(10, &[0; 32])].concat();
    for port in [80, 443, 7_777] {
        let sessions = tcp(port, &[(Client, get), (Server, &ok)]);
        assert_eq!(named(&sessions), ("teamviewer", "confirmed"));
        assert_eq!(sessions[0].carrier, Some("http"));
    }
    let page = b"GET /din.aspx?s=1 HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    let sessions = tcp(80, &[(Client, page), (Server, b"HTTP/1.1 200 OK\r\n\r\n")]);
    assert_eq!(named(&sessions), ("http", "confirmed"));
}

#[test]
fn what_looks_like_teamviewer_is_not() {
    // TLS records, the same first byte; a length that is not the datagram's; a command and then something else.
    nothing(&tcp(5_939, &[(Client, &[&b"\x17\x03\x03\x00\x40"[..], &noise(1, 64)].concat()), (Server, &noise(2, 50))]));
    let odd = [&[0; 11][..], &teamviewer_old(71, &[0; 80]), b"x"].concat();
    nothing(&udp(5_939, &[(Client, &odd), (Server, &odd)]));
    let begins = [teamviewer_old(10, &[0; 32]), noise(3, 200)].concat();
    nothing(&tcp(5_939, &[(Client, &begins), (Server, &noise(4, 100))]));
}

/// A ClientHello with this name and ALPN, and the answer to it.
pub fn hellos(name: &str, alpn: &str) -> (Vec<u8>, Vec<u8>) {
    let u16s = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &u16s(body.len()), body].concat();
    let list = |body: &[u8]| [&u16s(body.len())[..], body].concat();
    let mut extensions = extension(0, &list(&[&[0][..], &list(name.as_bytes())].concat()));
    if !alpn.is_empty() {
        let one = [&[u8::try_from(alpn.len()).unwrap()], alpn.as_bytes()].concat();
        extensions.extend(extension(16, &list(&one)));
    }
    let record = |kind: u8, body: &[u8]| {
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[kind][..], &len[1..], body].concat();
        [&[0x16, 3, 1][..], &u16s(message.len()), &message].concat()
    };
    let client = [&[3, 3][..], &noise(1, 32), &[0, 0, 2, 0xc0, 0x2f, 1, 0], &list(&extensions)].concat();
    let server = [&[3, 3][..], &noise(2, 32), &[0, 0xc0, 0x2f, 0]].concat();
    (record(1, &client), record(2, &server))
}

fn tls(name: &str, alpn: &str) -> Vec<Session> {
    let (client, server) = hellos(name, alpn);
    tcp(443, &[(Client, &client), (Server, &server)])
}

#[test]
fn a_name_of_a_service_is_likely_and_a_site_is_a_visit() {
    for (name, tool) in [
        ("relay-0a1b2c3d.net.anydesk.com", "anydesk"),
        ("router15.teamviewer.com", "teamviewer"),
        ("kessel-ws.parsec.app", "parsec"),
        ("remotedesktop-pa.googleapis.com", "chrome-remote-desktop"),
        ("st-v3.relay.splashtop.com", "splashtop"),
        ("node123456.dwservice.net", "dwservice"),
        ("client.oray.net", "sunlogin"),
    ] {
        let sessions = tls(name, "");
        assert_eq!(named(&sessions), (tool, "likely"), "{name}");
        assert_eq!((sessions[0].carrier, sessions[0].application), (Some("tls"), Some(tool)));
    }
    for (name, tool) in [
        ("www.teamviewer.com", "teamviewer"),
        ("anydesk.com", "anydesk"),
        ("www.splashtop.com", "splashtop"),
        ("acme.screenconnect.com", "screenconnect"),
        ("remotedesktop.google.com", "chrome-remote-desktop"),
        ("www.todesk.com", "todesk"),
        ("www.anyviewer.com", "anyviewer"),
    ] {
        let sessions = tls(name, "");
        assert_eq!(named(&sessions), ("tls", "confirmed"), "{name}");
        assert_eq!(sessions[0].application, Some(tool), "{name}");
        nothing(&sessions);
    }
}

/// What goes to a relay through a proxy is the proxy's session, and mentions the tool.
#[test]
fn a_relay_behind_a_proxy_is_mentioned() {
    let ask = b"CONNECT instance-ra153n-relay.screenconnect.com:443 HTTP/1.1\r\nHost: x\r\n\r\n";
    let turns: [(Who, &[u8]); 4] =
        [(Client, ask), (Server, b"HTTP/1.1 200 OK\r\n\r\n"), (Client, &noise(1, 90)), (Server, &noise(2, 90))];
    let sessions = tcp(3_128, &turns);
    assert_eq!(named(&sessions), ("http-connect", "confirmed"));
    assert_eq!(sessions[0].application, Some("screenconnect"));
}

#[test]
fn an_alpn_of_ones_own_is_certain() {
    let sessions = tls("example.com", "anydesk/6.2.0/linux");
    assert_eq!(named(&sessions), ("anydesk", "confirmed"));
}

#[test]
fn a_question_in_dns_stays_a_question() {
    let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06router\x0ateamviewer\x03com\0\0\x01\0\x01".to_vec();
    let mut tape = Tape::default();
    tape.udp((50_123, 53), &[(Client, &query)]);
    query[2] = 0x81;
    query[3] = 0x83;
    tape.udp((50_123, 53), &[(Server, &query)]);
    let sessions = tape.sessions();
    assert_eq!(named(&sessions).0, "dns");
    assert_eq!(sessions[0].application, Some("teamviewer"));
}

#[test]
fn a_screenconnect_page_is_a_page() {
    let page = b"HTTP/1.1 200 OK\r\nServer: ScreenConnect/24.1.5.8770-1234567890 Microsoft-HTTPAPI/2.0\r\n\r\n";
    let sessions =
        tcp(8_040, &[(Client, b"GET /Login HTTP/1.1\r\nHost: support.example.com:8040\r\n\r\n"), (Server, page)]);
    assert_eq!(named(&sessions), ("http", "confirmed"));
    assert_eq!(sessions[0].application, Some("screenconnect"));
}

#[test]
fn a_meshcentral_relay_behind_a_proxy() {
    let join =
        b"GET /meshrelay.ashx?p=2&id=k8d7f6s5a4 HTTP/1.1\r\nHost: mesh.example.com\r\nUpgrade: websocket\r\n\r\n";
    let yes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let sessions = tcp(4_430, &[(Client, join), (Server, yes)]);
    assert_eq!(named(&sessions), ("meshcentral", "confirmed"));
    assert_eq!(attribute(&sessions, "meshcentral.role"), Some("relay"));
    let page = b"GET /control.ashx HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    assert_eq!(named(&tcp(4_430, &[(Client, page), (Server, b"HTTP/1.1 200 OK\r\n\r\n")])), ("http", "confirmed"));
}

#[test]
fn a_gamestream_session() {
    let options =
        b"OPTIONS rtsp://192.0.2.9:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\nHost: 192.0.2.9\r\n\r\n";
    let ok = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n";
    assert_eq!(named(&tcp(48_010, &[(Client, options), (Server, ok)])), ("gamestream", "confirmed"));
    let camera = b"OPTIONS rtsp://192.0.2.9/cam RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: player\r\n\r\n";
    nothing(&tcp(554, &[(Client, camera), (Server, ok)]));
    let token = |n: u8| [&b"0123456789ABCDEF\0\0\0"[..], &[n]].concat();
    let video = [&[0x90, 0, 0, 1][..], &noise(1, 1_000)].concat();
    let sessions = udp(47_998, &[(Client, &token(1)), (Client, &token(2)), (Server, &video)]);
    assert_eq!(named(&sessions), ("gamestream", "confirmed"));
    // Any other RTP, and any other ping.
    nothing(&udp(5_004, &[(Client, &video), (Server, &video)]));
    nothing(&udp(9_987, &[(Client, b"PING"), (Server, b"PONG")]));
}
