//! Remote desktops of which no real capture was at hand, or not of this side of them: RDP's rarer openings, RDP beside its
//! UDP transport, SPICE with SASL, indirect XDMCP, rexec, a login by Telnet without negotiation.

use super::{Client, Server, Tape, named, noise, nothing, tcp, udp};
use farmlight::base::Link;
use farmlight::session::Session;

fn said<'s>(session: &'s Session, key: &str) -> Option<&'s str> {
    session.attributes.iter().find(|(k, _)| *k == key).map(|(_, value)| &value[..])
}

/// An X.224 TPDU of a connection in its TPKT.
fn x224(code: u8, body: &[u8]) -> Vec<u8> {
    let indicator = u8::try_from(body.len() + 6).unwrap();
    [&[3, 0, 0, indicator + 5, indicator, code, 0, 0, 0, 0, 0][..], body].concat()
}

/// A ClientHello and a ServerHello of TLS 1.2, as short as they can be.
fn hellos() -> (Vec<u8>, Vec<u8>) {
    let record = |kind: u8, tail: &[u8]| {
        let body = [&[3, 3][..], &[7; 32], tail].concat();
        let len = u8::try_from(body.len()).unwrap();
        [&[22, 3, 3, 0, len + 4, kind, 0, 0, len][..], &body].concat()
    };
    (record(1, &[0, 0, 2, 0xc0, 0x2f, 1, 0]), record(2, &[0, 0xc0, 0x2f, 0]))
}

/// [MS-RDPBCGR] 2.2.1.1: Entra ID sign-in asked for and granted, with Restricted Admin mode and correlation info.
#[test]
fn rdp_with_entra_sign_in_and_a_correlation_id() {
    let mut ask = vec![1, 9, 8, 0, 0x1b, 0, 0, 0, 6, 0, 36, 0];
    ask.extend([0x5a; 16]);
    ask.extend([0; 16]);
    let (client, server) = hellos();
    let turns: [(_, &[u8]); 4] = [
        (Client, &x224(0xe0, &ask)),
        (Server, &x224(0xd0, &[2, 0x1f, 8, 0, 16, 0, 0, 0])),
        (Client, &client),
        (Server, &server),
    ];
    let sessions = tcp(53_389, &turns);
    assert_eq!(named(&sessions), ("rdp", "confirmed"));
    assert_eq!(sessions[0].carrier, Some("tls"));
    for (key, value) in [
        ("rdp.requested_protocols", "tls,credssp,credssp-ex,rdsaad"),
        ("rdp.request_flags", "restricted-admin,correlation-info"),
        ("rdp.selected_protocol", "rdsaad"),
        ("rdp.correlation_id", &"5a".repeat(16)),
    ] {
        assert_eq!(said(&sessions[0], key), Some(value), "{key}");
    }
    assert!(sessions[0].links.contains(&Link::token("rdp", &[0x5a; 16])));
}

/// [MS-RDPEPS] 2.2.1.2: Hyper-V's console client names the virtual machine, and TLS follows without X.224.
#[test]
fn rdp_of_a_hyper_v_console() {
    let guid: Vec<u8> = "B3D5444C-2611-405A-9CA0-7AA8DA94DF0B\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let size = u8::try_from(guid.len() + 18).unwrap();
    let head = [size, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 37, 0];
    let (client, server) = hellos();
    let sessions = tcp(2_179, &[(Client, &[&head[..], &guid].concat()), (Client, &client), (Server, &server)]);
    assert_eq!(named(&sessions), ("rdp", "confirmed"));
    assert_eq!(sessions[0].carrier, Some("tls"));
    assert_eq!(said(&sessions[0], "rdp.preconnection"), Some("B3D5444C-2611-405A-9CA0-7AA8DA94DF0B"));
    // The same number of bytes in a record of somebody else's protocol, answered by something else.
    nothing(&tcp(2_179, &[(Client, &[&head[..], &noise(1, 74)].concat()), (Server, &noise(2, 200))]));
}

fn syn(acknowledged: u32, flags: u16, initial: u32) -> Vec<u8> {
    let mut out = acknowledged.to_be_bytes().to_vec();
    out.extend([0, 64]);
    out.extend(flags.to_be_bytes());
    out.extend(initial.to_be_bytes());
    out.extend([4, 0xd0, 4, 0xd0]);
    if flags & 0x0800 != 0 {
        out.extend([[0x5a; 16], [0; 16]].concat());
    }
    out.resize(1_232, 0);
    out
}

/// [MS-RDPEUDP] 3.1.5: the UDP transport names the same correlation identifier as the TCP connection, and both say that
/// they are one session.
#[test]
fn rdp_over_tcp_and_udp_are_one_session() {
    let mut tape = Tape::default();
    let ask = [&[1, 8, 8, 0, 1, 0, 0, 0, 6, 0, 36, 0][..], &[0x5a; 16], &[0; 16]].concat();
    let (client, server) = hellos();
    tape.tcp(
        (50_001, 3_389),
        &[
            (Client, &x224(0xe0, &ask)),
            (Server, &x224(0xd0, &[2, 0, 8, 0, 1, 0, 0, 0])),
            (Client, &client),
            (Server, &server),
        ],
    );
    // Error correction: a datagram that holds no bytes of its own.
    let fec = [&200u32.to_be_bytes()[..], &[4, 0, 0, 0x18, 0, 0, 0, 9, 0, 0, 0, 8, 1, 0, 0, 0], &noise(3, 60)].concat();
    tape.udp(
        (50_002, 3_389),
        &[(Client, &syn(u32::MAX, 0x0801, 100)), (Server, &syn(100, 0x0005, 200)), (Client, &fec)],
    );
    let sessions = tape.sessions();
    assert_eq!(named(&sessions), ("rdp", "confirmed"));
    let session = &sessions[0];
    assert!(session.links.contains(&Link::Pair("rdp")) && session.links.contains(&Link::token("rdp", &[0x5a; 16])));
    assert_eq!(session.parts.iter().map(|tuple| tuple.orig.port).collect::<Vec<_>>(), [50_002]);
    assert_eq!((said(session, "rdp_udp.version"), said(session, "rdp_udp.fec")), (Some("1"), Some("true")));
}

/// What begins with all ones, or has TLS in it, and is not RDP.
#[test]
fn look_alikes_of_rdp_udp() {
    nothing(&udp(
        27_015,
        &[(Client, b"\xff\xff\xff\xffTSource Engine Query\0"), (Server, b"\xff\xff\xff\xff\x49\x11server\0")],
    ));
    let (client, server) = hellos();
    nothing(&udp(443, &[(Client, &client), (Server, &server)]));
    for seed in 0..200 {
        nothing(&udp(40_000, &[(Client, &noise(seed, 1_232)), (Server, &noise(seed + 500, 1_232))]));
    }
}

/// SPICE protocol, link stage: a server that asks for SASL, and a channel of a session that was begun elsewhere.
#[test]
fn spice_with_sasl_and_a_usb_channel() {
    let link = |body: &[u8]| {
        let size = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&b"REDQ\x02\0\0\0\x02\0\0\0"[..], &size, body].concat()
    };
    let ask = link(&[&[7, 0, 0, 0, 9, 0][..], &[1, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0], &[13, 0, 0, 0]].concat());
    let reply = link(&[&[0; 4][..], &[0x30; 162], &[1, 0, 0, 0, 0, 0, 0, 0, 178, 0, 0, 0, 13, 0, 0, 0]].concat());
    let sessions = tcp(
        5_900,
        &[
            (Client, &ask),
            (Server, &reply),
            (Client, &[2, 0, 0, 0]),
            (Server, b"\x06\0\0\0GSSAPI"),
            (Client, &noise(5, 300)),
        ],
    );
    assert_eq!(named(&sessions), ("spice", "confirmed"));
    for (key, value) in [("spice.channel", "usbredir"), ("spice.auth", "sasl"), ("spice.sasl_mechanisms", "GSSAPI")] {
        assert_eq!(said(&sessions[0], key), Some(value), "{key}");
    }
    assert!(sessions[0].links.contains(&Link::at_server("spice", &[7, 0, 0, 0])));
    // Somebody else's letters.
    nothing(&tcp(5_900, &[(Client, b"REDQUEEN to all\r\n"), (Server, b"hello\r\n")]));
}

/// XDMCP 1.1: an indirect query that is declined, and a keep-alive.
#[test]
fn xdmcp_declined() {
    let sessions = udp(
        40_177,
        &[
            (Client, b"\0\x01\0\x03\0\x01\0"),
            (Server, b"\0\x01\0\x06\0\x0e\0\x04host\0\x06closed"),
            (Client, b"\0\x01\0\x0d\0\x06\0\x01\0\0\0\x07"),
            (Server, b"\0\x01\0\x0e\0\x05\x01\0\0\0\x07"),
        ],
    );
    assert_eq!(named(&sessions), ("xdmcp", "confirmed"));
    assert_eq!(said(&sessions[0], "xdmcp.result"), Some("unwilling"));
    assert_eq!(said(&sessions[0], "xdmcp.status"), Some("closed"));
    assert_eq!(sessions[0].rtt().len(), 2);
    // A binding request of STUN has the same first four bytes.
    let stun = [&b"\0\x01\0\x08\x21\x12\xa4\x42"[..], &noise(9, 12), b"\0\x03\0\x04\0\0\0\0"].concat();
    nothing(&udp(3_478, &[(Client, &stun)]));
}

/// rexecd(8): port, user, password, command.
#[test]
fn rexec_without_its_password() {
    let sessions = tcp(40_512, &[(Client, b"0\0ann\0sesame\0uptime\0"), (Server, b"\0 10:00 up 3 days\n")]);
    assert_eq!(named(&sessions), ("rexec", "confirmed"));
    assert_eq!(said(&sessions[0], "rexec.user"), Some("ann"));
    assert!(!format!("{:?}", sessions[0].attributes).contains("sesame"));
    // Four strings that are answered by something else are not confirmed.
    let other = tcp(40_512, &[(Client, b"0\0ann\0sesame\0uptime\0"), (Server, b"500 what?\r\n")]);
    assert_ne!(named(&other).1, "confirmed");
}

/// RFC 854 asks for no negotiation, and without one there is only text.
#[test]
fn text_is_no_telnet() {
    nothing(&tcp(23, &[(Server, b"login: "), (Client, b"ann\r\n"), (Server, b"Password: ")]));
    // An image, a byte order mark, sound: all begin with 255.
    for bytes in [&b"\xff\xd8\xff\xe0\0\x10JFIF\0"[..], b"\xff\xfeh\0i\0", b"\xff\xfb\x90\x64\0\0\0\0"] {
        nothing(&tcp(23, &[(Client, bytes), (Server, bytes)]));
    }
}

/// [MS-TSGU] 2.2.3: where a gateway's methods are asked of a web server, nobody is at a desktop.
#[test]
fn a_web_server_asked_for_a_gateway_is_none() {
    let ask = b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\nHost: www.example\r\n\r\n";
    nothing(&tcp(80, &[(Client, ask), (Server, b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")]));
    // Exchange's RPC over HTTP is mail.
    let mail = b"RPC_IN_DATA /rpc/rpcproxy.dll?mail.example:6001 HTTP/1.1\r\nHost: mail.example\r\n\r\n";
    let sessions = tcp(80, &[(Client, mail), (Server, b"HTTP/1.1 200 OK\r\n\r\n")]);
    assert_eq!(named(&sessions), ("http", "confirmed"));
    // A port of HTTP says nothing of gateways.
    for port in [80, 8080, 8000, 3128, 5985] {
        let unknown = tcp(port, &[(Client, &noise(11, 200)), (Server, &noise(12, 200))]);
        assert_ne!(unknown[0].protocol, Some("rd-gateway"));
    }
}
