//! Real captures through the decoder: none stops it, and the innermost packets are those that tshark sees.
//!
//! Skipped where the captures aren't there. The expected packets were taken from tshark 4.0 (last occurrence of each field).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr, missing_docs)] // A test.

use farmlight::base::{Frame, LinkType, Timestamp};
use farmlight::wire::{Decoded, Decoder, Packet, Transport, Unread, Wrapper};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn captures() -> Option<PathBuf> {
    let shared = std::env::var_os("FARMLIGHT_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let captures = shared.join("captures");
    if captures.is_dir() {
        return Some(captures);
    }
    eprintln!("skipped: no captures at {}", captures.display());
    None
}

/// Every frame of a capture that libpcap can open, decoded in turn, with its number from 1.
fn decode_file(path: &Path, mut seen: impl FnMut(usize, Decoded<'_>)) -> Option<Decoder> {
    let mut capture = pcap::Capture::from_file(path).ok()?;
    let link = LinkType(u16::try_from(capture.get_datalink().0).ok()?);
    let mut decoder = Decoder::default();
    let mut number = 0;
    while let Ok(packet) = capture.next_packet() {
        number += 1;
        let at = Timestamp::from_parts(packet.header.ts.tv_sec, packet.header.ts.tv_usec * 1000);
        seen(number, decoder.decode(&Frame { at, link, orig_len: packet.header.len, bytes: packet.data }));
    }
    Some(decoder)
}

fn files_below(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_some_and(|e| e != "gz" && e != "tsv" && e != "md") {
            files.push(path);
        }
    }
}

#[test]
fn no_capture_stops_the_decoder() {
    let Some(captures) = captures() else { return };
    let mut files = Vec::new();
    files_below(&captures, &mut files);
    let (mut opened, mut frames, mut packets) = (0, 0, 0);
    let mut unread: BTreeMap<Unread, u32> = BTreeMap::new();
    for path in &files {
        let decoder = decode_file(path, |_, decoded| {
            frames += 1;
            match decoded {
                Decoded::Packet(p) => {
                    packets += 1;
                    assert!(p.payload.len() <= p.payload_len as usize && p.payload_len < p.ip_len, "{path:?} {p:?}");
                }
                Decoded::Fragment => {}
                Decoded::NotUnderstood(why) => *unread.entry(why).or_default() += 1,
            }
        });
        if let Some(decoder) = decoder {
            opened += 1;
            let f = decoder.fragments();
            assert!(f.reassembled <= f.seen && f.held <= f.seen, "{path:?} {f:?}");
        }
    }
    eprintln!("{opened} files, {frames} frames, {packets} packets, not understood: {unread:?}");
    assert!(opened > 0 && packets * 10 > frames * 9, "{packets} packets in {frames} frames");
}

/// `src > dst`, transport, payload length on the wire, wrappers.
fn told(p: &Packet<'_>) -> String {
    let (src, dst) = (p.src, p.dst);
    let transport = match p.transport {
        Transport::Tcp(t) => format!("{src}:{} > {dst}:{} tcp seq {}", t.src_port, t.dst_port, t.seq),
        Transport::Udp { src_port, dst_port } => format!("{src}:{src_port} > {dst}:{dst_port} udp"),
        Transport::Icmp { kind, code } => format!("{src} > {dst} icmp {kind}/{code}"),
        Transport::Other(number) => format!("{src} > {dst} ip {number}"),
    };
    let wrappers: Vec<String> = p.encapsulation.iter().map(name).collect();
    format!("{transport} len {} [{}]", p.payload_len, wrappers.join(" "))
}

fn name(wrapper: Wrapper) -> String {
    match wrapper {
        Wrapper::Vlan(id) => format!("vlan:{id}"),
        Wrapper::Mpls(label) => format!("mpls:{label}"),
        Wrapper::Pppoe(id) => format!("pppoe:{id}"),
        Wrapper::Gre => "gre".to_owned(),
        Wrapper::Erspan1 => "erspan1".to_owned(),
        Wrapper::Erspan2(id) => format!("erspan2:{id}"),
        Wrapper::Erspan3(id) => format!("erspan3:{id}"),
        Wrapper::Vxlan(id) => format!("vxlan:{id}"),
        Wrapper::Geneve(id) => format!("geneve:{id}"),
        Wrapper::Gtp(id) => format!("gtp:{id}"),
        Wrapper::Ipv4InIp => "ipv4".to_owned(),
        Wrapper::Ipv6InIp => "ipv6".to_owned(),
    }
}

/// Capture, frame, and its innermost packet by tshark.
const EXPECTED: &[(&str, usize, &str)] = &[
    (
        "link-layers/arkime__twovlan.pcap",
        1,
        "10.0.0.1:54422 > 10.0.0.2:80 tcp seq 3240623591 len 0 [vlan:201 vlan:200]",
    ),
    ("link-layers/zeek__mixed-vlan-mpls.pcap", 1, "10.1.2.1:11001 > 10.34.0.1:23 tcp seq 2553417723 len 0 [mpls:29]"),
    (
        "link-layers/zeek__mpls-in-vlan.pcap",
        2,
        "65.65.65.65:80 > 65.65.65.65:32828 tcp seq 408724638 len 1448 [vlan:0 mpls:16106]",
    ),
    (
        "link-layers/zeek__pppoe-over-qinq.pcap",
        4,
        "1.1.1.1:20394 > 2.2.2.2:443 tcp seq 3618128214 len 517 [vlan:3704 vlan:2474 pppoe:3847]",
    ),
    ("link-layers/packetnet__gre_nvgre.pcap", 1, "10.0.0.1:1001 > 10.0.0.2:1002 tcp seq 0 len 2 [gre]"),
    (
        "link-layers/ndpi__5ffff1b7__gre_v0.pcapng",
        12,
        "172.28.2.3:22 > 66.59.111.190:40264 tcp seq 4183186840 len 0 [gre]",
    ),
    ("link-layers/zeek__tunnels__gre-within-gre.pcap", 1, "10.10.25.1 > 192.168.1.2 icmp 8/0 len 76 [gre gre]"),
    (
        "link-layers/tcpdump__wccp_redirect_gre.pcap",
        1,
        "10.254.127.195:1291 > 10.254.108.228:445 tcp seq 2206441866 len 188 [gre]",
    ),
    (
        "link-layers/tcpdump__erspan-type-i-2.pcap",
        1,
        "10.52.128.233 > 10.52.128.234 icmp 8/0 len 60 [erspan1 vlan:101]",
    ),
    (
        "mixed/suri__bug-5437-01__input.pcap",
        1,
        "183.171.100.129:59938 > 1.19.8.213:80 tcp seq 2853849603 len 240 [erspan2:6]",
    ),
    (
        "link-layers/zeek__tunnels__gre-erspan3-dot1q.pcap",
        1,
        "172.31.10.31 > 172.31.10.2 icmp 8/0 len 60 [erspan3:0 vlan:10]",
    ),
    (
        "link-layers/ndpi__vxlan.pcap",
        9,
        "157.240.224.35:443 > 10.10.20.4:45226 tcp seq 3435839283 len 0 [vlan:5 vxlan:1111]",
    ),
    (
        "link-layers/tcpdump__gso-ipv6-geneve-ipv4.pcap",
        1,
        "192.168.1.2:36991 > 192.168.1.1:41507 tcp seq 1242530197 len 6890 [geneve:5001]",
    ),
    ("link-layers/zeek__tunnels__4in6.pcap", 1, "70.55.213.211:31337 > 192.88.99.1:80 tcp seq 0 len 0 [ipv4]"),
    (
        "link-layers/ndpi__6in4tunnel.pcap",
        26,
        "2a03:2880:1010:6f03:face:b00c:0:2:443 > 2001:470:1f17:13f:3e97:eff:fe73:4dec:53234 tcp seq 3417509062 len 0 [ipv6]",
    ),
    ("link-layers/zeek__tunnels__6in6in6.pcap", 1, "dead::beef:30000 > cafe::babe:13000 udp len 4 [ipv6 ipv6]"),
    (
        "link-layers/ndpi__4in4tunnel.pcap",
        5,
        "10.10.100.25:62367 > 10.10.101.2:17000 udp len 100 [vlan:1624 vlan:505 ipv4]",
    ),
    ("link-layers/lwerdna__simple_http_sll2.pcap", 1, "127.0.0.1:37614 > 127.0.0.1:8000 tcp seq 139636242 len 0 []"),
    (
        "link-layers/ppp__SllPacket.pcap",
        1,
        "2404:6800:8004::68:80 > 2404:138:4002:4000:230:48ff:fedd:53:50243 tcp seq 1458244160 len 1208 []",
    ),
    ("link-layers/packetnet__linktype_null_capture.pcap", 2, "::1:49160 > ::1:58322 tcp seq 821113719 len 15 []"),
    ("link-layers/ndpi__BGP_Cisco_hdlc_slarp.pcap", 1, "100.16.1.2:18324 > 100.16.1.1:179 tcp seq 3169482193 len 0 []"),
    ("link-layers/zeek__nflog-http.pcap", 1, "10.0.2.15:49762 > 93.184.216.34:80 tcp seq 1060289233 len 0 []"),
    ("mixed/zeek__cisco-fabric-path.pcap", 2, "1.1.1.6:57005 > 2.2.2.2:48879 udp len 0 []"),
    (
        "link-layers/tcpdump__bigtcp-ipv6-hbh.pcap",
        1,
        "2604:1380:4091:ce00::d:41851 > 2604:1380:4091:ce00::b:43913 tcp seq 592820498 len 80000 []",
    ),
    // Fragments: the frame that makes the packet whole.
    (
        "malformed/fragments/ppp__frag_http_req.pcap",
        11,
        "172.16.133.54:64415 > 216.137.33.81:80 tcp seq 2290951306 len 1460 []",
    ),
    (
        "malformed/fragments/suri__defrag.bug-6887-defrag-ipv6-tcp__frag-ip-tcp.pcap",
        3,
        "::1:12345 > ::1:8080 tcp seq 1 len 1000 []",
    ),
    (
        "malformed/fragments/suri__defrag.bug-6942-6887-defrag-eth-ip-gre-ppp-ip-udp-data__eth-ip-gre-ppp-max-ip-packet.pcap",
        1024,
        "1.1.1.1:11111 > 2.2.2.2:9999 udp len 65507 [gre]",
    ),
];

#[test]
fn innermost_packets_are_those_that_tshark_sees() {
    let Some(captures) = captures() else { return };
    for (file, frame, want) in EXPECTED {
        let mut got = String::from("no such frame");
        decode_file(&captures.join(file), |number, decoded| {
            if number == *frame {
                got = match decoded {
                    Decoded::Packet(p) => told(&p),
                    other => format!("{other:?}"),
                };
            }
        });
        assert_eq!(&got, want, "{file} frame {frame}");
    }
}
