//! IKE over TCP, L2TP version 3, EoIP, ESP, AH and SSL VPNs in clear, as RFCs and public descriptions say they look.

use super::{Client, Server, Tape, Who, named, noise, nothing, tcp, udp};
use farmlight::base::Link;
use farmlight::session::Session;

const I: u64 = 0x1122_3344_5566_7788;
const R: u64 = 0x8877_6655_4433_2211;

/// AES-CBC 256, HMAC-SHA2-256 and group 19 (RFC 7296 3.3).
const PROPOSAL: &[u8] = &[
    0, 0, 0, 44, 1, 1, 0, 4, 3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0, 3, 0, 0, 8, 2, 0, 0, 5, 3, 0, 0, 8, 3, 0, 0, 12,
    0, 0, 0, 8, 4, 0, 0, 19,
];

/// A message of IKEv2: SPIs, exchange and flags, number, payloads (RFC 7296 3.1, 3.2).
fn ike(spis: (u64, u64), head: [u8; 2], id: u32, payloads: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = [spis.0.to_be_bytes(), spis.1.to_be_bytes()].concat();
    out.extend([payloads[0].0, 0x20, head[0], head[1]]);
    out.extend(id.to_be_bytes());
    let length: usize = 28 + payloads.iter().map(|p| 4 + p.1.len()).sum::<usize>();
    out.extend(u32::try_from(length).unwrap().to_be_bytes());
    for (i, (_, body)) in payloads.iter().enumerate() {
        out.extend([payloads.get(i + 1).map_or(0, |p| p.0), 0]);
        out.extend(u16::try_from(4 + body.len()).unwrap().to_be_bytes());
        out.extend(*body);
    }
    out
}

/// The first exchange, then authentication.
fn exchange() -> Vec<(Who, Vec<u8>)> {
    let first = [(33, PROPOSAL), (34, &[7; 72]), (40, &[9; 32])];
    vec![
        (Client, ike((I, 0), [34, 0x08], 0, &first)),
        (Server, ike((I, R), [34, 0x20], 0, &first)),
        (Client, ike((I, R), [35, 0x08], 1, &[(46, &noise(1, 220))])),
        (Server, ike((I, R), [35, 0x20], 1, &[(46, &noise(2, 180))])),
    ]
}

fn borrowed(turns: &[(Who, Vec<u8>)]) -> Vec<(Who, &[u8])> {
    turns.iter().map(|(who, bytes)| (*who, bytes.as_slice())).collect()
}

fn said<'s>(session: &'s Session, key: &str) -> Option<&'s str> {
    session.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
}

fn methods(sessions: &[Session]) -> Vec<&'static str> {
    sessions.iter().flat_map(Session::rtt).map(|rtt| rtt.method).collect()
}

/// Security parameter index, number, and what nobody can read.
fn esp(spi: u32, number: u32) -> Vec<u8> {
    [&spi.to_be_bytes()[..], &number.to_be_bytes(), &noise(u64::from(number), 96)].concat()
}

#[test]
fn ike_on_any_port_and_over_tcp() {
    let sessions = udp(12_345, &borrowed(&exchange()));
    assert_eq!(named(&sessions), ("ike", "confirmed"));
    assert!(methods(&sessions).contains(&"sa-init") && methods(&sessions).contains(&"auth"));
    // RFC 9329: the prefix once, then frames with their length, and the marker where ESP has its SPI.
    let frame = |bytes: &[u8], marker: &[u8]| {
        let length = u16::try_from(2 + marker.len() + bytes.len()).unwrap();
        [&length.to_be_bytes()[..], marker, bytes].concat()
    };
    let mut turns: Vec<_> = exchange().into_iter().map(|(who, bytes)| (who, frame(&bytes, &[0; 4]))).collect();
    turns[0].1.splice(0..0, *b"IKETCP");
    turns.extend((1..40).map(|n| (Client, frame(&esp(0xc000_0001, n), b""))));
    let sessions = tcp(4500, &borrowed(&turns));
    assert_eq!(named(&sessions), ("ike", "confirmed"));
    assert_eq!(said(&sessions[0], "ike.encapsulation"), Some("tcp"));
    assert_eq!(said(&sessions[0], "ike.esp"), Some("in-tcp"));
    let chosen = "encryption=aes-cbc-256 prf=hmac-sha2-256 integrity=hmac-sha2-256-128 group=ecp-256";
    assert_eq!(said(&sessions[0], "ike.chosen"), Some(chosen));
}

#[test]
fn all_flows_of_ipsec_between_two_addresses_are_one_session() {
    let mut tape = Tape::default();
    tape.udp((500, 500), &borrowed(&exchange()[..2]));
    for n in 1..5 {
        tape.ip(Client, 50, &esp(0xc000_0001, n));
        tape.ip(Server, 50, &esp(0xd000_0001, n));
        tape.ip(Client, 51, &[&[6, 4, 0, 0][..], &esp(0xe000_0001, n)].concat());
    }
    let sessions = tape.sessions();
    assert_eq!(named(&sessions), ("ike", "confirmed"));
    let mut parts: Vec<u8> = sessions[0].parts.iter().map(|tuple| tuple.proto.0).collect();
    parts.sort_unstable();
    assert_eq!(parts, [50, 51]);
    assert_eq!(sessions[0].ends.orig.packets + sessions[0].ends.resp.packets, 2 + 12);
}

#[test]
fn esp_in_udp_without_ike_is_likely() {
    let turns: Vec<_> = (70..80).flat_map(|n| [(Client, esp(0xc000_0001, n)), (Server, esp(0xd000_0001, n))]).collect();
    for port in [4500, 4501] {
        let sessions = udp(port, &borrowed(&turns));
        assert_eq!(named(&sessions), ("esp", "likely"));
        assert_eq!(sessions[0].links, [Link::Pair("ike")]);
    }
    nothing(&udp(4502, &borrowed(&turns)));
}

#[test]
fn what_else_runs_at_the_ports_of_ipsec_is_not_taken_for_it() {
    // Noise, media with a counter of two bytes, text, and a counter that stands still.
    let media = |n: u16| [&[0x80, 96][..], &n.to_be_bytes(), &[0, 0, 9, 1, 7, 7, 7, 7], &noise(3, 100)].concat();
    let still = esp(0xc000_0001, 9);
    let dialogues: [Vec<(Who, Vec<u8>)>; 4] = [
        (0..12).map(|n| (Client, noise(n, 96))).collect(),
        (0..12).map(|n| (Client, media(n))).collect(),
        (0..12).map(|_| (Client, b"status please, and a line more of it".to_vec())).collect(),
        (0..12).map(|_| (Client, still.clone())).collect(),
    ];
    for turns in dialogues {
        for port in [500, 4500, 4501, 1701] {
            nothing(&udp(port, &borrowed(&turns)));
        }
    }
}

#[test]
fn l2tp_version_3_over_ip_and_its_data() {
    let avp = |kind: u8, value: &[u8]| {
        let head = 0x8000 | u16::try_from(6 + value.len()).unwrap();
        [&head.to_be_bytes()[..], &[0, 0, 0, kind], value].concat()
    };
    // RFC 3931 3.2.1, 4.1.1.2: session 0, flags, length, connection, Ns, Nr.
    let control = |ns: u8, nr: u8, avps: &[u8]| {
        let length = u16::try_from(12 + avps.len()).unwrap();
        [&[0, 0, 0, 0, 0xc8, 3][..], &length.to_be_bytes(), &[0, 0, 0, 9, 0, ns, 0, nr], avps].concat()
    };
    let mut tape = Tape::default();
    tape.ip(Client, 115, &control(0, 0, &[avp(0, &[0, 1]), avp(7, b"lac.example.org")].concat()));
    tape.ip(
        Server,
        115,
        &control(0, 1, &[avp(0, &[0, 2]), avp(7, b"lns.example.org"), avp(8, b"Cisco Systems")].concat()),
    );
    tape.ip(Client, 115, &control(1, 1, &avp(0, &[0, 3])));
    tape.ip(Client, 115, &[&[0, 0, 1, 7][..], &noise(4, 80)].concat());
    let sessions = tape.sessions();
    assert_eq!(named(&sessions), ("l2tp", "confirmed"));
    assert_eq!(said(&sessions[0], "l2tp.server_host"), Some("lns.example.org"));
    assert_eq!(said(&sessions[0], "l2tp.data"), Some("over-ip"));
    assert_eq!(sessions[0].application, Some("cisco"));
    assert_eq!(methods(&sessions), ["start-reply", "start-request"]);
}

#[test]
fn l2tp_data_is_known_by_the_beginning_of_ppp() {
    let lcp = |id: u8| [&[0, 2, 0, 5, 0, 6, 0xff, 3, 0xc0, 0x21, 1, id, 0, 8, 1, 4, 5, 0xb4][..]].concat();
    let sessions = udp(1701, &borrowed(&[(Client, lcp(1)), (Server, lcp(2))]));
    assert_eq!(named(&sessions), ("l2tp", "likely"));
}

#[test]
fn ethernet_of_mikrotik_in_gre() {
    let mut tape = Tape::default();
    for n in 0..3 {
        let frame = noise(n, 60);
        tape.ip(Client, 47, &[&[0x20, 1, 0x64, 0, 0, 60, 7, 0][..], &frame].concat());
    }
    let sessions = tape.sessions();
    assert_eq!(named(&sessions), ("gre", "confirmed"));
    assert_eq!(sessions[0].application, Some("mikrotik"));
    assert_eq!(said(&sessions[0], "gre.key"), Some("7"));
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A request of these lines behind a TLS terminator, and who that is taken for.
fn request(head: &str) -> (&'static str, &'static str) {
    let sessions = tcp(8080, &[(Client, format!("{head}\r\n\r\n").as_bytes()), (Server, OK)]);
    named(&sessions)
}

#[test]
fn ssl_vpns_behind_a_tls_terminator_are_known_by_their_programs() {
    let agents = [
        ("PAN GlobalProtect/6.0.7-372 (Microsoft Windows 10 Enterprise)", "globalprotect"),
        ("Mozilla/5.0 SV1", "fortinet"),
        ("Pulse-Secure/9.1.15.15819 (Windows 10) Pulse/9.1.15.15819", "pulse-secure"),
        ("SonicWALL NetExtender for Linux 8.1.789", "netextender"),
        ("TRAC/986105022", "check-point"),
        ("AnyConnect Windows 4.10.06079", "anyconnect"),
        ("Open AnyConnect VPN Agent v9.01", "anyconnect"),
    ];
    for (agent, expected) in agents {
        let head = format!("POST /login HTTP/1.1\r\nHost: gate.example.org\r\nUser-Agent: {agent}");
        assert_eq!(request(&head), (expected, "likely"), "{agent}");
    }
    let upgrade = "GET / HTTP/1.1\r\nHost: gate.example.org\r\nContent-Length: 0\r\nUpgrade: IF-T/TLS 1.0";
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: IF-T/TLS 1.0\r\n\r\n";
    let sessions = tcp(8443, &[(Client, format!("{upgrade}\r\n\r\n").as_bytes()), (Server, switching)]);
    assert_eq!(named(&sessions), ("pulse-secure", "confirmed"));
    let sstp = "SSTP_DUPLEX_POST /sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/ HTTP/1.1\r\nHost: gate.example.org";
    assert_eq!(request(sstp), ("sstp", "confirmed"));
    let softether = "POST /vpnsvc/connect.cgi HTTP/1.1\r\nContent-Type: image/jpeg\r\nContent-Length: 0";
    assert_eq!(named(&tcp(992, &[(Client, format!("{softether}\r\n\r\n").as_bytes()), (Server, OK)])).0, "softether");
}

#[test]
fn a_browser_at_the_same_gates_is_a_browser() {
    let hosts = ["www.fortinet.com", "www.paloaltonetworks.com", "www.softether.org", "vpn.example.org"];
    for host in hosts {
        let head = format!(
            "GET /remote/login HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"
        );
        assert_eq!(request(&head), ("http", "confirmed"), "{host}");
    }
}
