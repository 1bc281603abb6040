//! Methods whose answer is known: captures of real programs between two delay lines, and ping from the capture point to
//! both ends (`captures/protocols/how/known-rtt.sh`, `captures/protocols/RTT.tsv`).
//!
//! No round trip may be shorter than the fixed delay of its line; the least of each method has to come as close to the
//! least ping as what its program does in between allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops by panicking"
)]

mod common;

use common::{analyze, table};
use farmlight::base::{Layer, Side};
use farmlight::session::Session;
use std::path::Path;

/// The delay lines to the client and to the server, there and back, in ms.
const LINES: [(Side, f64); 2] = [(Side::Client, 32.0), (Side::Server, 54.0)];
/// What the clock may take away.
const CLOCK_MS: f64 = 0.05;

/// A method that the capture has to show, at least so often, and how far its least may be beyond ping's, in ms.
struct Known {
    capture: &'static str,
    layer: Layer,
    side: Side,
    method: &'static str,
    n: u64,
    beyond_ms: f64,
}

const fn known(
    capture: &'static str,
    layer: Layer,
    side: Side,
    (method, n, beyond_ms): (&'static str, u64, f64),
) -> Known {
    Known { capture, layer, side, method, n, beyond_ms }
}

const ALL: &[Known] = &[
    known("known-quic.pcap", Layer::Quic, Side::Client, ("retry", 1, 5.0)),
    // The rest of the server's flight, and a program in Python.
    known("known-quic.pcap", Layer::Quic, Side::Client, ("handshake", 1, 25.0)),
    known("known-quic.pcap", Layer::Quic, Side::Client, ("spin", 20, 2.0)),
    known("known-quic.pcap", Layer::Quic, Side::Server, ("initial", 2, 5.0)),
    known("known-quic.pcap", Layer::Quic, Side::Server, ("spin", 20, 2.0)),
    known("known-dtls.pcap", Layer::Dtls, Side::Client, ("hello-verify", 1, 15.0)),
    known("known-dtls.pcap", Layer::Dtls, Side::Client, ("server-hello-done", 1, 35.0)),
    known("known-dtls.pcap", Layer::Dtls, Side::Server, ("client-hello", 2, 10.0)),
    known("known-dtls.pcap", Layer::Dtls, Side::Server, ("client-finished", 1, 5.0)),
    known("known-stun.pcap", Layer::Stun, Side::Client, ("binding", 5, 2.0)),
    known("known-stun.pcap", Layer::Stun, Side::Server, ("binding", 5, 2.0)),
    known("known-openvpn.pcap", Layer::OpenVpn, Side::Client, ("server-reset", 1, 12.0)),
    known("known-openvpn.pcap", Layer::OpenVpn, Side::Client, ("control-ack", 3, 2.0)),
    known("known-openvpn.pcap", Layer::OpenVpn, Side::Server, ("client-reset", 1, 2.0)),
    known("known-openvpn.pcap", Layer::OpenVpn, Side::Server, ("control-ack", 3, 2.0)),
    known("known-wireguard.pcap", Layer::WireGuard, Side::Client, ("handshake-response", 5, 2.0)),
    known("known-wireguard.pcap", Layer::WireGuard, Side::Server, ("handshake-init", 5, 2.0)),
    known("known-ike.pcap", Layer::Ike, Side::Client, ("auth", 1, 5.0)),
    known("known-ike.pcap", Layer::Ike, Side::Client, ("informational", 5, 2.0)),
    known("known-ike.pcap", Layer::Ike, Side::Server, ("sa-init", 4, 2.0)),
    known("known-ike.pcap", Layer::Ike, Side::Server, ("informational", 5, 2.0)),
    // A key exchange, on a busy machine.
    known("known-ike.pcap", Layer::Ike, Side::Server, ("create-child-sa", 4, 15.0)),
    known("known-ssh.pcap", Layer::Ssh, Side::Client, ("banner", 6, 2.0)),
    // Post-quantum keys and signatures, on a busy machine.
    known("known-ssh.pcap", Layer::Ssh, Side::Client, ("kex-reply", 6, 50.0)),
    known("known-ssh.pcap", Layer::Ssh, Side::Client, ("service-accept", 6, 2.0)),
    known("known-ssh.pcap", Layer::Ssh, Side::Server, ("kex-init", 6, 30.0)),
    known("known-ssh.pcap", Layer::Ssh, Side::Server, ("service-request", 6, 2.0)),
    known("known-ssh.pcap", Layer::Ssh, Side::Server, ("echo", 50, 2.0)),
    known("known-ssh.pcap", Layer::TcpHandshake, Side::Client, ("syn-ack", 6, 5.0)),
    known("known-ssh.pcap", Layer::TcpHandshake, Side::Server, ("syn", 6, 5.0)),
    known("known-ssh.pcap", Layer::TcpData, Side::Client, ("lone-ack", 100, 1.0)),
    known("known-ssh.pcap", Layer::TcpData, Side::Server, ("lone-ack", 100, 1.0)),
    known("known-ssh.pcap", Layer::TcpData, Side::Client, ("timestamp", 5, 1.0)),
    known("known-ssh.pcap", Layer::TcpData, Side::Server, ("timestamp", 5, 1.0)),
    // Of six bodies that waited one waited in vain.
    known("known-http.pcap", Layer::Http, Side::Client, ("continue", 5, 2.0)),
    // Credentials are computed.
    known("known-http.pcap", Layer::Http, Side::Client, ("challenge", 5, 5.0)),
    known("known-http.pcap", Layer::Http, Side::Client, ("redirect", 15, 2.0)),
    known("known-websocket.pcap", Layer::WebSocket, Side::Client, ("ping", 10, 2.0)),
    known("known-websocket.pcap", Layer::WebSocket, Side::Server, ("ping", 10, 2.0)),
];

/// A method of which no capture is at hand would pass unseen.
#[test]
fn every_method_has_its_capture() {
    let rows = table(&Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/protocols/RTT.tsv"));
    for known in ALL {
        assert!(rows.iter().any(|row| row["capture"] == known.capture), "{} has no ping", known.capture);
    }
}

#[test]
fn the_least_of_each_method_is_pings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/protocols");
    for row in table(&folder.join("RTT.tsv")) {
        let analysis = analyze(&folder.join(&row["capture"]), 1);
        let rungs: Vec<_> = analysis.sessions.iter().flat_map(Session::rtt).filter(|rung| !rung.ambiguous).collect();
        for (side, line) in LINES {
            let ping: f64 = row[if side == Side::Client { "client_ms" } else { "server_ms" }].parse().unwrap();
            for rung in rungs.iter().filter(|rung| rung.side == side) {
                let ms = rung.min.as_secs_f64() * 1e3;
                assert!(ms >= line - CLOCK_MS, "{}: {} of {ms} ms is below {line}", row["capture"], rung.method);
            }
            for known in ALL.iter().filter(|k| k.capture == row["capture"] && k.side == side) {
                let of = rungs.iter().filter(|r| (r.side, r.layer, r.method) == (side, known.layer, known.method));
                let (n, least) = of
                    .fold((0, f64::INFINITY), |(n, least), rung| (n + rung.n, least.min(rung.min.as_secs_f64() * 1e3)));
                let what = format!("{} {} {}", known.capture, side.name(), known.method);
                assert!(n >= known.n, "{what}: {n} round trips");
                assert!(least <= ping + known.beyond_ms, "{what}: {least} ms where ping says {ping}");
            }
        }
    }
}
