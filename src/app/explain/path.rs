//! The path of an endpoint in words.
//!
//! Reads: the `path` of an endpoint's record, as `docs/path.md` tells it. Emits: labelled lines. Fields that this version
//! has no words for are told as they stand. Does not: draw.

use super::page::value_words;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Lines with their labels.
pub(super) fn path_words(path: &Fields) -> Vec<(String, String)> {
    let told = [hops(path), hop_changes(path), size(path), clamped(path), causes(path), datagram(path), stack(path)];
    let mut lines: Vec<(String, String)> = told.into_iter().flatten().map(|(l, t)| (l.to_owned(), t)).collect();
    lines.extend([clock(path), machines(path)].into_iter().flatten().map(|(l, t)| (l.to_owned(), t)));
    for (key, value) in path.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())) {
        if let Some(text) = value_words(value) {
            lines.push(("also".to_owned(), format!("{}: {text}", key.replace('_', " "))));
        }
    }
    lines
}

/// Fields told above, or by others of them.
const KNOWN: [&str; 18] = [
    "hops",
    "hops_range",
    "hops_candidates",
    "hops_seen",
    "hop_changes",
    "mss",
    "mtu",
    "max_packet",
    "overhead",
    "overhead_candidates",
    "mss_clamped",
    "mtu_changes",
    "datagram",
    "stack",
    "stack_family",
    "stacks",
    "clock_hz",
    "hosts",
];

fn number(path: &Fields, key: &str) -> Option<f64> {
    path.get(key).and_then(Value::as_f64)
}

fn words<'a>(path: &'a Fields, key: &str) -> Vec<&'a str> {
    path.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn hops(path: &Fields) -> Option<(&'static str, String)> {
    let hops = number(path, "hops")?;
    let range = path.get("hops_range").and_then(Value::as_array).map(|ends| ends.iter().filter_map(Value::as_u64));
    let range: Vec<u64> = range.into_iter().flatten().collect();
    let text = match range.as_slice() {
        [least, most] => {
            format!("{least} to {most} routers away, mostly {hops:.0}, as its packets' time to live tells")
        }
        _ => format!("{hops:.0} routers away, as its packets' time to live tells"),
    };
    Some(("hops", text))
}

fn changes(path: &Fields, key: &str) -> Option<String> {
    let list = path.get(key).and_then(Value::as_array).filter(|list| !list.is_empty())?;
    let one = |change: &Value| {
        let at = change.get("at").and_then(Value::as_str)?.get(..16)?.replace('T', " ");
        Some(format!("from {} to {} at {at}", change.get("from")?, change.get("to")?))
    };
    Some(list.iter().take(3).filter_map(one).collect::<Vec<_>>().join(", "))
}

fn hop_changes(path: &Fields) -> Option<(&'static str, String)> {
    Some(("", format!("changed for good {}", changes(path, "hop_changes")?)))
}

fn size(path: &Fields) -> Option<(&'static str, String)> {
    let mtu = number(path, "mtu")?;
    let mss = number(path, "mss").map(|mss| format!(", segments of {mss:.0}")).unwrap_or_default();
    let means = match path.get("overhead").and_then(Value::as_str) {
        Some("none") => ": the full size of Ethernet. No tunnel shows; that proves nothing.",
        Some("access") => ": what access lines take off (PPPoE, IPv6 transition, mobile). Common among honest homes.",
        Some("tunnel") => {
            ": what a tunnel takes off (WireGuard, OpenVPN, IPsec). Some routers and mobile networks do the same."
        }
        _ => "",
    };
    let changed = changes(path, "mtu_changes").map(|text| format!(" It changed {text}.")).unwrap_or_default();
    Some(("size", format!("packets of up to {mtu:.0} bytes{mss}{means}{changed}")))
}

fn clamped(path: &Fields) -> Option<(&'static str, String)> {
    let n = number(path, "mss_clamped").filter(|n| *n > 0.0)?;
    Some(("", format!("in {n:.0} connections a router on the way has made the segments smaller")))
}

fn causes(path: &Fields) -> Option<(&'static str, String)> {
    let causes = words(path, "overhead_candidates");
    // Of the full size nothing more is to be said.
    let tells = !causes.is_empty() && path.get("overhead").and_then(Value::as_str) != Some("none");
    tells.then(|| ("", format!("left by one of these, which a size can't tell apart: {}", causes.join(", "))))
}

fn datagram(path: &Fields) -> Option<(&'static str, String)> {
    let datagram = path.get("datagram")?.as_object()?;
    let (bytes, causes) = (number(datagram, "bytes")?, words(datagram, "candidates"));
    let by = if causes.is_empty() { String::new() } else { format!(", as {} would leave", causes.join(", ")) };
    Some(("datagrams", format!("of {bytes:.0} bytes at most, again and again{by}")))
}

fn stack(path: &Fields) -> Option<(&'static str, String)> {
    let stack = path.get("stack").and_then(Value::as_str)?;
    let family = path
        .get("stack_family")
        .and_then(Value::as_str)
        .map_or_else(|| "TCP of no system for sure".to_owned(), |family| format!("TCP as {family} speaks it"));
    let others = path.get("stacks").and_then(Value::as_array).map_or(0, |all| all.len().saturating_sub(1));
    let others = if others == 0 { String::new() } else { format!(", and {others} others") };
    Some(("stack", format!("{family}: {stack}{others}")))
}

fn clock(path: &Fields) -> Option<(&'static str, String)> {
    let hertz = path.get("clock_hz").and_then(Value::as_array).filter(|list| !list.is_empty())?;
    let hertz: Vec<String> = hertz.iter().map(ToString::to_string).collect();
    Some(("clock", format!("its time stamps count {} to the second", hertz.join(" or "))))
}

fn machines(path: &Fields) -> Option<(&'static str, String)> {
    let hosts = path.get("hosts")?.as_object()?;
    let least = number(hosts, "at_least")?;
    let method = hosts.get("method").and_then(Value::as_str).unwrap_or("clocks").replace('-', " ");
    let basis = hosts.get("basis").and_then(Value::as_object);
    let n = basis.and_then(|basis| number(basis, "connections")).map(|n| format!(", from {n:.0} connections"));
    Some(("machines", format!("{least:.0} at least, by {method}{}", n.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(path: &Value) -> Vec<String> {
        path_words(path.as_object().unwrap()).into_iter().map(|(label, text)| format!("{label}: {text}")).collect()
    }

    #[test]
    fn each_field_has_words_and_no_label_is_cut() {
        let path = json!({
            "hops": 11, "hops_range": [10, 12], "hops_candidates": [{"initial_ttl": 64, "hops": 11}],
            "hop_changes": [{"at": "2026-11-23T13:08:20.000000000Z", "from": 11, "to": 13}],
            "mss": 1380, "mtu": 1420, "overhead": "tunnel", "overhead_candidates": ["wireguard", "gre"],
            "datagram": {"bytes": 1420, "candidates": ["wireguard"]},
            "stack": "v4.t64", "stack_family": "linux", "stacks": [{"stack": "v4.t64", "sessions": 9}],
            "clock_hz": [1000], "hosts": {"at_least": 3, "method": "clock-lines", "basis": {"connections": 9}},
            "colour": "blue"
        });
        assert_eq!(
            told(&path),
            [
                "hops: 10 to 12 routers away, mostly 11, as its packets' time to live tells",
                ": changed for good from 11 to 13 at 2026-11-23 13:08",
                "size: packets of up to 1420 bytes, segments of 1380: what a tunnel takes off (WireGuard, OpenVPN, IPsec). \
             Some routers and mobile networks do the same.",
                ": left by one of these, which a size can't tell apart: wireguard, gre",
                "datagrams: of 1420 bytes at most, again and again, as wireguard would leave",
                "stack: TCP as linux speaks it: v4.t64",
                "clock: its time stamps count 1000 to the second",
                "machines: 3 at least, by clock lines, from 9 connections",
                "also: colour: blue",
            ]
        );
        assert!(told(&json!({})).is_empty());
        assert_eq!(
            told(&json!({"mtu": 1500, "overhead": "none", "overhead_candidates": ["ethernet", "proxy"]})).len(),
            1
        );
    }
}
