//! Dialogues of proxies and tunnels: relays known from their source and documents only, their look-alikes, and what the
//! captures of SSH were made for.

use super::{Client, Server, Tape, Who, common, named, noise, nothing, tcp, udp};
use farmlight::session::Session;
use std::path::Path;

fn value<'s>(session: &'s Session, key: &str) -> Option<&'s str> {
    session.attributes.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_str())
}

/// A ClientHello of TLS 1.2 for that name, without ALPN, in its record.
fn client_hello(name: &str, groups: &[u16]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let host = [&[0][..], &sized(name.as_bytes())].concat();
    let groups: Vec<u8> = groups.iter().flat_map(|group| group.to_be_bytes()).collect();
    let extension = |kind: u16, body: Vec<u8>| [&kind.to_be_bytes()[..], &sized(&body)].concat();
    let extensions = [extension(0, sized(&host)), extension(10, sized(&groups))].concat();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 4, 0xc0, 0x2f, 0, 0x2f, 1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[0x16, 3, 1][..], &sized(&message)].concat()
}

fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[9; 32], &[0, 0xc0, 0x2f, 0, 0, 0]].concat();
    let message = [&[2, 0, 0][..], &[u8::try_from(body.len()).unwrap()], &body].concat();
    [&[0x16, 3, 3, 0][..], &[u8::try_from(message.len()).unwrap()], &message].concat()
}

fn tls(name: &str, groups: &[u16]) -> Vec<Session> {
    tcp(443, &[(Client, &client_hello(name, groups)), (Server, &server_hello())])
}

#[test]
fn agents_of_tunnels_are_told_from_visits() {
    for (host, protocol, confidence, application) in [
        ("connect.ngrok-agent.com", "ngrok", "likely", "ngrok"),
        ("h2.cftunnel.com", "cloudflared", "likely", "cloudflared"),
        ("euw-data.rel.tunnels.api.visualstudio.com", "dev-tunnels", "likely", "dev-tunnels"),
        ("snowflake-broker.torproject.net", "tor", "likely", "tor"),
        ("shop.ngrok-free.app", "tls", "confirmed", "ngrok"),
        ("quiet-river.trycloudflare.com", "tls", "confirmed", "cloudflared"),
        ("x7-3000.euw.devtunnels.ms", "tls", "confirmed", "dev-tunnels"),
        ("www.torproject.org", "tls", "confirmed", "tor"),
    ] {
        let sessions = tls(host, &[29, 23]);
        assert_eq!((named(&sessions), sessions[0].application), ((protocol, confidence), Some(application)), "{host}");
    }
    for host in ["ngrok.com.example", "www.cloudflare.com", "marketplace.visualstudio.com"] {
        let sessions = tls(host, &[29, 23]);
        assert_eq!((named(&sessions), sessions[0].application), (("tls", "confirmed"), None), "{host}");
    }
}

#[test]
fn a_made_up_name_is_tors_only_with_its_curve() {
    assert_eq!(named(&tls("www.fksgmdeeu2agezc.com", &[23, 29, 21])), ("tor", "likely"));
    for (host, groups) in
        [("www.fksgmdeeu2agezc.com", &[29, 23][..]), ("www.w3schools.com", &[29, 23]), ("www.google.com", &[23, 21])]
    {
        assert_eq!(named(&tls(host, groups)), ("tls", "confirmed"), "{host}");
    }
}

#[test]
fn tunnels_in_websockets_are_known_by_their_subprotocol() {
    let upgrade = |subprotocol: &str| {
        let ask = format!(
            "GET /v1/events HTTP/1.1\r\nHost: relay.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        let accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        tcp(8080, &[(Client, ask.as_bytes()), (Server, accept)])
    };
    let token = "v1, authorization.bearer.eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpZCI6IjAxOTMifQ.c2ln";
    assert_eq!(named(&upgrade("chisel-v3")), ("chisel", "confirmed"));
    assert_eq!(named(&upgrade(token)), ("wstunnel", "likely"));
    for other in ["mqtt", "graphql-transport-ws", "v1.kernel.websocket.jupyter.org", "chisel.v3"] {
        assert_eq!(named(&upgrade(other)), ("websocket", "confirmed"), "{other}");
    }
}

fn frp(kind: u8, json: &str) -> Vec<u8> {
    [&[kind][..], &u64::try_from(json.len()).unwrap().to_be_bytes(), json.as_bytes()].concat()
}

#[test]
fn frp_and_bore_log_in() {
    let login = frp(
        b'o',
        r#"{"version":"0.44.0","hostname":"","os":"windows","arch":"amd64","user":"","privilege_key":"k","timestamp":1}"#,
    );
    let answer = frp(b'1', r#"{"version":"0.44.0","run_id":"8f2c"}"#);
    let sessions = tcp(7000, &[(Client, &login), (Server, &answer)]);
    assert_eq!((named(&sessions), value(&sessions[0], "frp.os")), (("frp", "confirmed"), Some("windows")));
    let hidden = [&[0x17][..], &client_hello("relay.example", &[29])].concat();
    let sessions = tcp(7000, &[(Client, &hidden), (Server, &server_hello())]);
    assert_eq!((named(&sessions), sessions[0].carrier), (("frp", "confirmed"), Some("tls")));
    assert_eq!(value(&sessions[0], "tls.sni"), Some("relay.example"));
    let sessions = tcp(7835, &[(Client, b"{\"Hello\":0}\0"), (Server, b"{\"Hello\":41211}\0")]);
    assert_eq!(named(&sessions), ("bore", "confirmed"));
    // Without the relay's answer it may be anybody's.
    assert_eq!(named(&tcp(7000, &[(Client, &login)])), ("frp", "likely"));
    nothing(&tcp(7836, &[(Client, b"{\"Hello\":\"world\"}\0"), (Server, b"{}\0")]));
}

#[test]
fn a_desktop_through_a_proxy_is_the_proxys_cargo() {
    let greeting: [(Who, &[u8]); 4] = [
        (Client, &[5, 1, 0]),
        (Server, &[5, 0]),
        (Client, b"\x05\x01\0\x03\x0cdesk.example\x17\x0c"),
        (Server, &[5, 0, 0, 1, 192, 0, 2, 9, 0x9c, 0x40]),
    ];
    let mut turns = greeting.to_vec();
    turns.extend([(Server, &b"RFB 003.008\n"[..]), (Client, b"RFB 003.008\n"), (Server, &[1, 2]), (Client, &[2])]);
    let sessions = tcp(1080, &turns);
    assert_eq!(named(&sessions), ("socks", "confirmed"));
    let told = ["proxy.target", "proxy.cargo", "rfb.server_version"].map(|key| value(&sessions[0], key));
    assert_eq!(told, [Some("desk.example:5900"), Some("rfb"), Some("003.008")]);
    // A proxy behind a proxy, and one that carries nothing known.
    let mut chain = greeting.to_vec();
    chain.extend([(Client, &b"CONNECT b.example:22 HTTP/1.1\r\n\r\n"[..]), (Server, b"HTTP/1.1 200 OK\r\n\r\n")]);
    chain.extend([(Server, &b"SSH-2.0-OpenSSH_9.6\r\n"[..]), (Client, b"SSH-2.0-PuTTY_Release_0.80\r\n")]);
    let sessions = tcp(1080, &chain);
    assert_eq!((named(&sessions), value(&sessions[0], "proxy.cargo")), (("socks", "confirmed"), Some("http-connect")));
    assert_eq!(value(&sessions[0], "ssh.client_banner"), Some("SSH-2.0-PuTTY_Release_0.80"));
    let mut unknown = greeting.to_vec();
    unknown.push((Client, b"\x01\x02\x03\x04"));
    assert_eq!(value(&tcp(1080, &unknown)[0], "proxy.cargo"), None);
}

/// Every level of a proxy in a proxy costs the reader a level of its own, so there is an end to it.
#[test]
fn a_chain_of_many_proxies_is_left_at_some_point() {
    let ask = b"\x04\x01\x01\xbb\xc6\x33\x64\x01\0".repeat(150);
    let answer = [0, 0x5a, 0, 0, 0, 0, 0, 0].repeat(150);
    assert_eq!(named(&tcp(1080, &[(Client, &ask), (Server, &answer)])), ("socks", "confirmed"));
}

#[test]
fn what_looks_random_is_obfuscated_only_with_the_turns_of_a_proxy() {
    let random = |asked, answered| {
        tcp(8388, &[(Client, &noise(3, asked)), (Server, &noise(4, answered)), (Client, &noise(5, 90))])
    };
    assert_eq!(named(&random(350, 1_300)), ("obfuscated", "likely"));
    // BitTorrent's encryption, Telegram's first request, and a server that speaks first.
    nothing(&random(450, 500));
    nothing(&random(105, 200));
    nothing(&tcp(8388, &[(Server, &noise(4, 1_300)), (Client, &noise(3, 350)), (Server, &noise(5, 900))]));
    // A length in front, of either order.
    for length in [348u16.to_be_bytes(), 350u16.to_le_bytes()] {
        let ask = [&length[..], &noise(3, 348)].concat();
        nothing(&tcp(8388, &[(Client, &ask), (Server, &noise(4, 1_300)), (Client, &noise(5, 90))]));
    }
}

#[test]
fn a_tunnel_in_dns_needs_more_than_one_long_name() {
    let question = |name: &str| {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            out.push(u8::try_from(label.len()).unwrap());
            out.extend(label.as_bytes());
        }
        [&out[..], &[0, 0, 16, 0, 1]].concat()
    };
    let asked = |names: &[String]| {
        let asks: Vec<Vec<u8>> = names.iter().map(|name| question(name)).collect();
        let answers: Vec<Vec<u8>> = asks.iter().map(|ask| [&ask[..2], &[0x81, 0x80], &ask[4..]].concat()).collect();
        let turns: Vec<(Who, &[u8])> =
            asks.iter().zip(&answers).flat_map(|(ask, answer)| [(Client, &ask[..]), (Server, &answer[..])]).collect();
        udp(53, &turns)
    };
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    let message = |i: u64| -> String {
        let text: String = noise(i + 1, 58).iter().map(|b| char::from(letters[usize::from(*b) % 32])).collect();
        format!("{text}.t.example")
    };
    let messages: Vec<String> = (0..8).map(message).collect();
    assert_eq!(named(&asked(&messages)), ("dns-tunnel", "likely"));
    assert_eq!(named(&asked(&messages[..3])), ("dns", "confirmed"));
    assert_eq!(named(&asked(&vec![messages[0].clone(); 8])), ("dns", "confirmed"));
    let sessions = asked(&["vaaaakaurlm.t.example".to_owned()]);
    assert_eq!((named(&sessions), sessions[0].application), (("dns-tunnel", "confirmed"), Some("iodine")));
}

#[test]
fn every_run_of_ssh_shows_what_it_was_made_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/protocols");
    for (run, expected) in [
        ("interactive", "interactive"),
        ("local", "forward"),
        ("dynamic", "forward"),
        ("reverse", "reverse-forward"),
        ("reverse-shell", "reverse-forward"),
        ("bulk-up", "bulk-up"),
        ("bulk-down", "bulk-down"),
        ("idle", "idle"),
    ] {
        let sessions = common::analyze(&folder.join(format!("ssh-{run}.pcapng")), 1).sessions;
        let [session] = &sessions[..] else { panic!("{run}: {} sessions", sessions.len()) };
        assert_eq!(value(session, "ssh.behaviour"), Some(expected), "{run}");
    }
}

/// A flow whose beginning was not captured looks random wherever it is encrypted.
#[test]
fn the_middle_of_a_stream_is_not_obfuscated() {
    let mut tape = Tape::default();
    tape.middle_of_tcp((50_123, 22), &[(Client, &noise(3, 350)), (Server, &noise(4, 1_300)), (Client, &noise(5, 90))]);
    nothing(&tape.sessions());
}
