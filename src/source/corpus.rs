//! The real captures, where they are at hand: frame counts as capinfos counts them.

use super::{CaptureReader, Memory, Next, Source};
use crate::base::Timestamp;
use std::path::PathBuf;

/// Captures that capinfos 4.0 refuses or gives up on: frames read here, and whether there is a fault.
const DEVIATIONS: [(&str, u64, bool); 14] = [
    // Versions that do not exist: capinfos gives up at the same place and prints no count.
    ("formats/gopacket__pcapgo.tests.le__test901.pcapng", 1, true),
    ("formats/libpcap__pcapng-invalid-vers-1.pcapng", 0, true),
    ("formats/libpcap__pcapng-invalid-vers-2.pcapng", 0, true),
    // Link types that capinfos does not know. They are carried along here: another room says what it cannot decode.
    ("link-layers/libpcap__filter__brcm-tag-stp.pcap", 4, false),
    ("link-layers/libpcap__filter__brcm-tag.pcap", 15, false),
    ("link-layers/tcpdump__brcm-tag.pcap", 23, false),
    ("link-layers/tcpdump__dsa-high-vid.pcap", 4, false),
    ("malformed/fuzz/tcpdump__frf16_magic_ie-oobr.pcap", 1, false),
    ("malformed/fuzz/tcpdump__vtp_asan.pcap", 5, false),
    // Reserved bits set beside the link type: capinfos refuses; only the low half is read here.
    ("link-layers/libpcap__linktype-reserved-field-not-zero.pcap", 0, false),
    ("link-layers/tcpdump__juniper_es_oobr.pcap", 1, false),
    // Cut short after the first frame: the same count with a fault, as capinfos prints a warning.
    ("malformed/fuzz/dpkt__truncated_dns_2.pcap", 1, true),
    // A record of 4 MB: capinfos gives up after the same six frames and prints no count.
    ("tls-quic/suri__bug-1450-04__tls_DER-incomplete-header.pcap", 6, true),
    ("tls-quic/suri__bug-1450-05__tls_DER-incomplete-content.pcap", 6, true),
];

fn captures() -> Option<PathBuf> {
    let shared = std::env::var_os("FARMLIGHT_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let captures = shared.join("captures");
    captures.join("MANIFEST.tsv").is_file().then_some(captures)
}

#[test]
fn frame_counts_are_those_of_capinfos() {
    let Some(captures) = captures() else {
        println!("skipped: no ../shared/captures");
        return;
    };
    let manifest = std::fs::read_to_string(captures.join("MANIFEST.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for line in manifest.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (path, expected) = (columns[0], columns[6].parse::<u64>().ok());
        let Ok(file) = std::fs::File::open(captures.join(path)) else { continue };
        let mut reader = CaptureReader::new(path, file);
        let frames = Memory::collect(&mut reader).frames().len() as u64;
        let report = reader.reports().remove(0);
        checked += 1;
        let known = DEVIATIONS.iter().find(|(name, ..)| *name == path);
        let (expected, fault) = known.map_or((expected, false), |(_, frames, fault)| (Some(*frames), *fault));
        if Some(frames) != expected || report.error.is_some() != fault {
            wrong.push(format!("{path}: {frames}, expected {expected:?}; {:?}", report.error));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    println!("{checked} captures");
}

/// Whether libpcap, whose reader shares nothing with ours, sees the same bytes at the same times.
#[test]
fn frames_are_those_of_libpcap() {
    let Some(captures) = captures() else {
        println!("skipped: no ../shared/captures");
        return;
    };
    let manifest = std::fs::read_to_string(captures.join("MANIFEST.tsv")).unwrap();
    let (mut files, mut frames) = (0, 0);
    for path in manifest.lines().skip(1).filter_map(|line| line.split('\t').next()) {
        // It reads no compressed files.
        let Ok(mut peer) = pcap::Capture::from_file_with_precision(captures.join(path), pcap::Precision::Nano) else {
            continue;
        };
        let Ok(file) = std::fs::File::open(captures.join(path)) else { continue };
        let mut reader = CaptureReader::new(path, file);
        // Where libpcap gives up (an interface of another link type, say) the comparison ends.
        while let Ok(packet) = peer.next_packet() {
            let Next::Frame(frame) = reader.next() else { panic!("{path}: ours ended after {frames} frames") };
            let header = packet.header;
            let at = Timestamp::from_parts(header.ts.tv_sec, header.ts.tv_usec);
            // A simple packet block has no time: libpcap gives it 0, we the time of the frame before.
            // Fuzzed files: seconds beyond 2038 are negative there, and a fraction of more than a second overflows.
            let comparable = at > Timestamp::default() && (0..1_000_000_000).contains(&header.ts.tv_usec);
            let at = if comparable { at } else { frame.at };
            assert_eq!((frame.at, frame.orig_len), (at, header.len), "{path}, frame {}", reader.report().frames);
            // libpcap cuts frames to the snap length in the file header, which some writers get wrong.
            assert!(frame.bytes.starts_with(packet.data), "{path}, frame {}", reader.report().frames);
            frames += 1;
        }
        files += 1;
    }
    println!("{files} captures, {frames} frames");
}
