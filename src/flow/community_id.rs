//! Community ID v1: one string for a flow that other tools compute too.
//!
//! Reference: Community ID flow hashing specification, version 1 (corelight/community-id-spec). Seed 0.

use super::key::{SCTP, icmp_counterpart, icmp6_counterpart};
use super::{FiveTuple, Protocol};
use data_encoding::BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::net::IpAddr;

/// The identifier, as `1:` and the Base64 of a SHA-1; the same for both directions.
///
/// One-way ICMP types are the exception the specification makes: they keep their direction.
#[must_use]
pub fn community_id(tuple: &FiveTuple) -> String {
    let forward = one_way(tuple) || (tuple.orig.ip, tuple.orig.port) <= (tuple.resp.ip, tuple.resp.port);
    let (a, b) = if forward { (tuple.orig, tuple.resp) } else { (tuple.resp, tuple.orig) };
    let mut input = Vec::with_capacity(40);
    input.extend_from_slice(&[0, 0]);
    push_ip(&mut input, a.ip);
    push_ip(&mut input, b.ip);
    input.extend_from_slice(&[tuple.proto.0, 0]);
    if has_ports(tuple.proto) {
        input.extend_from_slice(&a.port.to_be_bytes());
        input.extend_from_slice(&b.port.to_be_bytes());
    }
    let mut text = String::with_capacity(30);
    text.push_str("1:");
    BASE64.encode_append(digest(&SHA1_FOR_LEGACY_USE_ONLY, &input).as_ref(), &mut text);
    text
}

fn has_ports(proto: Protocol) -> bool {
    matches!(proto, Protocol::TCP | Protocol::UDP | Protocol::ICMP | Protocol::ICMPV6 | Protocol(SCTP))
}

/// An ICMP type that nothing answers. Ports hold type and code then.
fn one_way(tuple: &FiveTuple) -> bool {
    let Ok(kind) = u8::try_from(tuple.orig.port) else { return false };
    match tuple.proto {
        Protocol::ICMP => icmp_counterpart(kind).is_none(),
        Protocol::ICMPV6 => icmp6_counterpart(kind).is_none(),
        _ => false,
    }
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Peer;

    fn id(proto: u8, a: &str, a_port: u16, b: &str, b_port: u16) -> String {
        let peer = |ip: &str, port| Peer { ip: ip.parse().unwrap(), port };
        community_id(&FiveTuple { orig: peer(a, a_port), resp: peer(b, b_port), proto: Protocol(proto) })
    }

    /// Values of the specification's baseline files.
    #[test]
    fn equals_the_reference() {
        assert_eq!(id(6, "128.232.110.120", 34855, "66.35.250.204", 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(id(6, "66.35.250.204", 80, "128.232.110.120", 34855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(id(17, "192.168.1.52", 54585, "8.8.8.8", 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
        assert_eq!(id(1, "192.168.0.89", 8, "192.168.0.1", 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        assert_eq!(id(1, "192.168.0.1", 0, "192.168.0.89", 8), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
    }
}
