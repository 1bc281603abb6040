//! Dialogues of VNC's less common kinds, of KVM boxes and of management controllers.
//!
//! `certificates/*.der` were made by `openssl` with the names that each box gives its own certificate: kvmd-gencert and
//! glkvm's `/C=US/O=…/OU=…/CN=localhost`, JetKVM's authority and leaf (its web_tls.go), and the published defaults of
//! iDRAC, iLO and Supermicro's BMC.

use super::{CLIENT, Client, SERVER, Server, Tape, Who, named, noise, nothing, tcp, udp};

const VERSION: &[u8] = b"RFB 003.008\n";
const INIT: &[u8] = b"\x05\x00\x03\x00................\x00\x00\x00\x04desk";

fn record(kind: u8, messages: &[u8]) -> Vec<u8> {
    let size = u16::try_from(messages.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &size, messages].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind][..], &size[1..], body].concat()
}

/// A ClientHello that asks for one name (RFC 5246, 7.4.1.2; RFC 6066, 3).
fn client_hello(name: &str) -> Vec<u8> {
    let list = |inner: &[u8]| [&u16::try_from(inner.len()).unwrap().to_be_bytes()[..], inner].concat();
    let server_name = list(&[&[0][..], &list(name.as_bytes())].concat());
    let extensions = list(&[&[0, 0][..], &list(&server_name)].concat());
    let body = [&[3, 3][..], &[7; 32], &[0], &list(&[0xc0, 0x2b]), &[1, 0], &extensions].concat();
    record(22, &handshake(1, &body))
}

/// The server's first flight in TLS 1.2 with one certificate.
fn server_flight(certificate: &[u8]) -> Vec<u8> {
    let hello = [&[3, 3][..], &[9; 32], &[0, 0xc0, 0x2b, 0]].concat();
    let list = |inner: &[u8]| [&u32::try_from(inner.len()).unwrap().to_be_bytes()[1..], inner].concat();
    let chain = list(&list(certificate));
    record(22, &[handshake(2, &hello), handshake(11, &chain), handshake(14, &[])].concat())
}

/// What is found of a visit to a server of that name with that certificate.
fn visit(name: &str, certificate: &[u8]) -> Vec<farmlight::session::Session> {
    let rest = [record(22, &handshake(16, &noise(3, 66))), record(20, &[1]), record(22, &noise(4, 40))].concat();
    let done = [record(20, &[1]), record(22, &noise(5, 40)), record(23, &noise(6, 900))].concat();
    tcp(443, &[(Client, &client_hello(name)), (Server, &server_flight(certificate)), (Client, &rest), (Server, &done)])
}

#[track_caller]
fn application(sessions: &[farmlight::session::Session]) -> &'static str {
    sessions[0].application.unwrap_or("-")
}

fn said(sessions: &[farmlight::session::Session], key: &str) -> Option<String> {
    sessions[0].attributes.iter().find(|(own, _)| *own == key).map(|(_, value)| value.clone())
}

#[test]
fn boxes_are_known_by_the_certificates_they_make() {
    for (certificate, name, confidence) in [
        (&include_bytes!("certificates/pikvm.der")[..], "pikvm", "confirmed"),
        (include_bytes!("certificates/glkvm.der"), "glinet-comet", "confirmed"),
        (include_bytes!("certificates/jetkvm.der"), "jetkvm", "confirmed"),
        (include_bytes!("certificates/idrac.der"), "idrac", "confirmed"),
        (include_bytes!("certificates/ilo.der"), "ilo", "confirmed"),
        (include_bytes!("certificates/supermicro.der"), "supermicro-bmc", "likely"),
    ] {
        let sessions = visit("192-0-2-9.example", certificate);
        assert_eq!(named(&sessions), (name, confidence));
        assert_eq!((sessions[0].carrier, application(&sessions)), (Some("tls"), name));
    }
}

#[test]
fn a_makers_site_is_a_visit_to_a_site() {
    let certificate = include_bytes!("certificates/localhost.der");
    for (name, program) in [
        ("pikvm.org", "pikvm"),
        ("docs.pikvm.org", "pikvm"),
        ("jetkvm.com", "jetkvm"),
        ("tinypilotkvm.com", "tinypilot"),
        ("cdn.sipeed.com", "nanokvm"),
        ("www.realvnc.com", "realvnc"),
        ("hb.services.vnc.com", "realvnc"),
        ("www.example.com", "-"),
    ] {
        let sessions = visit(name, certificate);
        assert_eq!((named(&sessions), application(&sessions)), (("tls", "confirmed"), program), "{name}");
        nothing(&sessions);
    }
}

#[test]
fn services_of_boxes_are_likely() {
    let certificate = include_bytes!("certificates/localhost.der");
    for (name, protocol) in [("api.jetkvm.com", "jetkvm"), ("gk.tinypilotkvm.com", "tinypilot")] {
        assert_eq!(named(&visit(name, certificate)), (protocol, "likely"), "{name}");
    }
}

fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 192.0.2.9\r\n{more}\r\n").into_bytes()
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
const ACCEPT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const VIDEO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n--b\r\n";

#[test]
fn boxes_are_likely_by_the_paths_of_their_video_and_signalling() {
    let stream = tcp(80, &[(Client, &get("/streamer/stream?key=x", "")), (Server, VIDEO)]);
    assert_eq!((named(&stream), stream[0].carrier), (("pikvm", "likely"), Some("http")));
    assert_eq!(named(&tcp(80, &[(Client, &get("/api/stream/mjpeg", "")), (Server, VIDEO)])), ("nanokvm", "likely"));
    let hello = b"\x81\x04ping";
    let signal = get("/webrtc/signaling/client", UPGRADE);
    let jetkvm = tcp(80, &[(Client, &signal), (Server, ACCEPT), (Server, hello)]);
    assert_eq!((named(&jetkvm), jetkvm[0].carrier), (("jetkvm", "likely"), Some("websocket")));
    // A camera's video, and a chat.
    let camera = tcp(80, &[(Client, &get("/video.mjpg", "")), (Server, VIDEO)]);
    assert_eq!(named(&camera), ("http", "confirmed"));
    let chat = tcp(80, &[(Client, &get("/api/ws", UPGRADE)), (Server, ACCEPT), (Server, b"\x81\x0bRFB 003.008")]);
    assert_eq!((named(&chat), chat[0].carrier), (("websocket", "confirmed"), Some("http")));
    nothing(&chat);
}

/// A frame of less than 126 bytes, a client's with a mask of zeros.
fn frame(from: Who, first: u8, payload: &[u8]) -> Vec<u8> {
    let size = u8::try_from(payload.len()).unwrap();
    match from {
        Server => [&[first, size][..], payload].concat(),
        Client => [&[first, size | 0x80, 0, 0, 0, 0][..], payload].concat(),
    }
}

#[test]
fn a_desktop_in_base64_messages_is_one() {
    let turns = [
        (Server, frame(Server, 0x81, b"UkZCIDAwMy4wMDgK")),
        (Client, frame(Client, 0x81, b"UkZCIDAwMy4wMDgK")),
        (Server, frame(Server, 0x81, b"AQI=")),
    ];
    let request = get("/websockify", UPGRADE);
    let mut all: Vec<(Who, &[u8])> = vec![(Client, &request), (Server, ACCEPT)];
    all.extend(turns.iter().map(|(from, bytes)| (*from, bytes.as_slice())));
    let sessions = tcp(6080, &all);
    assert_eq!((named(&sessions), sessions[0].carrier), (("rfb", "confirmed"), Some("websocket")));
    assert_eq!(said(&sessions, "rfb.security_types").as_deref(), Some("vnc-auth"));
}

#[test]
fn apple_ultravnc_and_realvnc_say_who_they_are() {
    let apple = tcp(5900, &[(Server, b"RFB 003.889\n"), (Client, b"RFB 003.889\n"), (Server, &[3, 30, 33, 36])]);
    assert_eq!((named(&apple), application(&apple)), (("rfb", "confirmed"), "apple-remote-desktop"));
    let realvnc = tcp(5900, &[(Server, b"RFB 005.000\n"), (Client, b"RFB 005.000\n"), (Server, &[2, 129, 13])]);
    assert_eq!((named(&realvnc), application(&realvnc)), (("rfb", "confirmed"), "realvnc"));
    let (asked, answer) = ([3; 24], [4; 328]);
    let ultra = tcp(
        5900,
        &[
            (Server, VERSION),
            (Client, VERSION),
            (Server, &[2, 17, 2]),
            (Client, &[17]),
            (Server, &[255, 255, 255, 255, 1, 113]),
            (Client, &[113]),
            (Server, &asked),
            (Client, &answer),
            (Server, &[0; 4]),
            (Client, &[1]),
            (Server, INIT),
        ],
    );
    assert_eq!((named(&ultra), application(&ultra)), (("rfb", "confirmed"), "ultravnc"));
    assert_eq!(said(&ultra, "rfb.security_subtype").as_deref(), Some("ms-logon-2"));
    assert_eq!(said(&ultra, "rfb.desktop_name").as_deref(), Some("desk"));
}

#[test]
fn a_repeater_shows_whom_the_viewer_wants() {
    let mut target = b"ID:4711".to_vec();
    target.resize(250, 0);
    let viewer = tcp(
        5901,
        &[
            (Server, b"RFB 000.000\n"),
            (Client, &target),
            (Server, VERSION),
            (Client, VERSION),
            (Server, &[1, 1]),
            (Client, &[1]),
            (Server, &[0; 4]),
            (Client, &[1]),
            (Server, INIT),
        ],
    );
    assert_eq!((named(&viewer), application(&viewer)), (("rfb", "confirmed"), "vnc-repeater"));
    assert_eq!(said(&viewer, "rfb.repeater_target").as_deref(), Some("ID:4711"));
    // Text that only begins so.
    let text = b"ID:4711 ready\r\n";
    nothing(&tcp(5901, &[(Client, text), (Server, b"OK\r\n")]));
}

#[test]
fn a_version_line_in_mail_and_chat_is_neither() {
    let mail: [(Who, &[u8]); 3] =
        [(Server, b"220 mail.example ESMTP\r\n"), (Client, b"EHLO a\r\n"), (Server, b"250 RFB 003.008\r\n")];
    nothing(&tcp(25, &mail));
    nothing(&tcp(6667, &[(Client, b"PRIVMSG #vnc :RFB 003.008\n"), (Server, b":a PRIVMSG #vnc :RFB 003.008\n")]));
    nothing(&tcp(5900, &[(Client, b"\x16\x03\x01\x00\x05hello"), (Server, VERSION)]));
}

#[test]
fn amt_hands_its_desktop_on() {
    let turns: [(Who, &[u8]); 10] = [
        (Client, b"\x10\x01\0\0KVMR"),
        (Server, &[0x11, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        (Client, b"\x13\0\0\0\0\0\0\0\0"),
        (Server, b"\x14\0\0\0\0\x01\0\0\0\x04"),
        (Client, b"\x13\0\0\0\x04\x02\0\0\0xx"),
        (Server, b"\x14\0\0\0\x04\0\0\0\0"),
        (Client, b"\x40\0\0\0\0\0\0\0"),
        (Server, b"\x41\0\0\0\0\0\0\0RFB 004.000\n"),
        (Client, b"RFB 003.008\n"),
        (Server, &[1, 1]),
    ];
    let sessions = tcp(16_994, &turns);
    assert_eq!(named(&sessions), ("intel-amt", "confirmed"));
    assert_eq!(said(&sessions, "amt.service").as_deref(), Some("kvm"));
    assert_eq!(said(&sessions, "rfb.server_version").as_deref(), Some("004.000"));
    nothing(&tcp(16_994, &[(Client, b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id"), (Server, b"\x20\x02\0\0")]));
}

#[test]
fn apples_control_protocol_needs_its_answer() {
    let mut answer = vec![0, 1, 3, 0xea, 0, 0x31];
    answer.resize(1_006, 0);
    assert_eq!(named(&udp(3283, &[(Client, b"\0\x14\0\x01\x03"), (Server, &answer)])), ("ard", "confirmed"));
    nothing(&udp(3283, &[(Client, b"\0\x14\0\x01\x03")]));
    nothing(&udp(9, &[(Client, &noise(7, 1_006)), (Server, &noise(8, 1_006))]));
}

#[test]
fn a_device_that_calls_itself_a_kvm_is_mentioned() {
    let mut message = vec![1, 1, 6, 0, 0, 0, 0, 7];
    message.resize(236, 0);
    message.extend(b"\x63\x82\x53\x63\x35\x01\x01\x0c\x06jetkvm\xff");
    let mut tape = Tape::default();
    tape.udp_between((CLIENT, 68), (SERVER, 67), &message);
    let sessions = tape.sessions();
    assert_eq!((named(&sessions), application(&sessions)), (("dhcp", "likely"), "jetkvm"));
    nothing(&sessions);
}

#[test]
fn a_box_that_announces_itself_in_the_local_network_is_mentioned() {
    let service = b"\x07_jetkvm\x04_tcp\x05local\0";
    let record = [&service[..], b"\0\x0c\0\x01\0\0\0\x78\0\x02\xc0\x0c"].concat();
    let message = [&b"\0\0\x84\0\0\0\0\x01\0\0\0\0"[..], &record].concat();
    let mut tape = Tape::default();
    tape.udp_between((CLIENT, 5353), ([224, 0, 0, 251], 5353), &message);
    let sessions = tape.sessions();
    assert_eq!((named(&sessions), application(&sessions)), (("mdns", "likely"), "jetkvm"));
    assert_eq!(said(&sessions, "dns.announced").as_deref(), Some("_jetkvm._tcp.local"));
    nothing(&sessions);
}
