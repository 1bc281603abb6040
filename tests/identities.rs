//! Who is where, on real software and on outside captures: every claim as an independent reader (tshark 4.0) shows the
//! fields it comes from.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]

mod common;

use common::{analyze, shared};
use farmlight::evidence::StayOf;
use std::path::Path;

/// A stay as one line: who at where (inside where), by whom, worth what, begun and ended, claims.
fn line(stay: &StayOf) -> String {
    let inner = stay.inner.map_or(String::new(), |inner| format!(" inside {inner}"));
    let (began, ended) = stay.complete;
    let marks = format!("{}{}", if began { " began" } else { "" }, if ended { " ended" } else { "" });
    format!(
        "{} {} at {}{inner} by {} {}{marks} x{}",
        stay.identity.kind.name(),
        stay.identity.name,
        stay.address,
        stay.source,
        stay.sureness.name(),
        stay.claims
    )
}

fn lines(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = analyze(path, 1).ledger.claims().in_order().iter().map(line).collect();
    lines.sort();
    lines
}

/// `captures/protocols/how/radius.sh` says what was done: alice accepted and accounted for, mallory rejected, bob's
/// accounting with a device, carol's with octets.
#[test]
fn freeradius_and_radclient_are_read_claim_by_claim() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/protocols/radius.pcapng");
    let mut expected = vec![
        "user alice at 198.51.100.7 inside 10.8.0.5 by radius-access accepted x1",
        "user alice at 10.8.0.5 by radius-access accepted x1",
        "user alice at 198.51.100.7 inside 10.8.0.5 by radius-accounting accepted began ended x3",
        "user alice at 10.8.0.5 by radius-accounting accepted began ended x3",
    ];
    expected.push("user carol at 198.51.100.9 inside 10.8.0.7 by radius-accounting accepted began ended x3");
    expected.push("user carol at 10.8.0.7 by radius-accounting accepted began ended x3");
    for (kind, name) in [("user", "bob"), ("device", "02-00-5e-10-00-01")] {
        for place in ["198.51.100.8 inside 10.8.0.6", "10.8.0.6", "2001:db8:8:6::"] {
            let line = format!("{kind} {name} at {place} by radius-accounting accepted began x1");
            expected.push(line.leak());
        }
    }
    expected.sort_unstable();
    assert_eq!(lines(&path), expected);
    // Acct-Input-Octets, Acct-Output-Octets and Acct-Output-Gigawords of the Stop, as tshark shows them.
    let ledger = analyze(&path, 1).ledger;
    let carol = |stay: &StayOf| (stay.identity.name == "carol").then_some(stay.octets);
    let octets: Vec<_> = ledger.claims().in_order().iter().filter_map(carol).collect();
    assert_eq!(octets, [[90_000, (1 << 32) + 1_000]; 2]);
    // Both ends of her tunnel name each other.
    let inner = ledger.claims().insides_of([198, 51, 100, 9].into());
    let outer = ledger.claims().outsides_of([10, 8, 0, 7].into());
    assert_eq!(
        (inner[0].address.to_string(), outer[0].address.to_string()),
        ("10.8.0.7".into(), "198.51.100.9".into())
    );
}

/// Those of the outside RADIUS captures that name a user and an address together: User-Name, Calling-Station-Id,
/// Framed-IP-Address and the answer's code, as tshark prints them. In the others there is no address to be at.
#[test]
fn the_outside_radius_captures_say_what_tshark_shows() {
    let Some(folder) = shared() else { return };
    for (file, expected) in [
        (
            "arkime__radius.pcap",
            &[
                "device 985AEB898000 at 10.0.0.3 by radius-accounting accepted x1",
                "user xxxxxxxxx at 10.0.0.3 by radius-accounting accepted x1",
            ][..],
        ),
        ("zeek__radius__radius_localhost.pcap", &["user steve at 172.16.3.33 by radius-access accepted x4"]),
        ("zeek__radius__radius.pcap", &[]),
        ("ppp__radius_1_2_11.pcap", &[]),
        ("ppp__radius_3.pcap", &[]),
        ("tcpdump__RADIUS.pcap", &[]),
        ("tcpdump__RADIUS-RFC5176.pcap", &[]),
        ("tcpdump__RADIUS-RFC5176-2.pcap", &[]),
        ("tcpdump__RADIUS-RFC5580.pcap", &[]),
        ("tcpdump__RADIUS-port1700.pcap", &[]),
        ("tcpdump__radius_rfc5447.pcap", &[]),
    ] {
        assert_eq!(lines(&folder.join("captures/radius").join(file)), expected, "{file}");
    }
}

/// `rdp.rt_cookie` and `rdp.client.name`; `dhcp.hw.mac_addr` and `dhcp.ip.your` of the acknowledgement (and the request
/// before it); `nbns.name` of registrations, refreshes and releases with `nbns.addr`, and the node status's unit; `dns.a` with
/// the cache-flush bit of mDNS; `ntlmssp.auth.*` in HTTP; `x509sat` of the client's certificate; an IKE aggressive exchange
/// whose identities are addresses names nobody.
#[test]
fn names_in_clear_are_what_tshark_shows() {
    let Some(folder) = shared() else { return };
    for (file, expected) in [
        (
            "remote-desktop/suri__rdp-protocol__RDP-003.pcap",
            &[
                "host ISD2-KM84178 at 10.226.41.226 by rdp-client-name said x1",
                "user A70067 at 10.226.41.226 by rdp-cookie said x1",
            ][..],
        ),
        ("mixed/ws__dhcp.pcap", &["device 00:0b:82:01:fc:42 at 192.168.0.10 by dhcp accepted x2"]),
        ("mixed/arkime__nbns.pcap", &["host MDJR98 at 192.168.239.129 by netbios said x12"]),
        (
            "mixed/ndpi__netbios.pcap",
            &[
                "device 00:1c:c4:10:79:0f at 10.0.4.24 by netbios said x4",
                "host GUNNAR at 10.0.4.24 by netbios said x5",
                "host GURU at 10.0.5.1 by netbios said x1",
            ],
        ),
        (
            "mixed/ndpi__webdav.pcap",
            &[
                "host ivan-Latitude-E6540 at 192.168.16.173 by ntlm said x7",
                "user www.dlp-test.com\\WebDAV at 192.168.16.173 by ntlm accepted x7",
            ],
        ),
        (
            "vpn/ndpi__anyconnect-vpn.pcap",
            &[
                "host 79d88e83-725c-b71b-bad0-5862d5b22386 at 10.0.0.149 by mdns said x2",
                "host LP-B043053-W764 at 10.0.0.227 by netbios said ended x6",
                "host LP-RKERUR-OSX at 10.0.0.227 by netbios said ended x3",
                "host nDPI at 10.0.0.227 by mdns said x2",
                "user lp-rkerur-osx at 10.0.0.227 by tls-client-certificate asked x1",
            ],
        ),
        ("mixed/ppp__Dhcp4.pcap", &[]),
        ("vpn/cl-ipsec__ipsec-ikev1-isakmp-aggressive-mode.pcap", &[]),
    ] {
        assert_eq!(lines(&folder.join("captures").join(file)), expected, "{file}");
    }
}
