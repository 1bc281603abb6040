//! Tests of the file formats as a whole: every variant, damage, and any cut or changed byte.

use super::pcap::Order::{self, Big, Little};
use super::testkit::{Bytes, MICROS, MODIFIED, NANOS, NgFile, PcapFile, gzip, numbered, zstd};
use super::{CaptureReader, InputReport, Memory, MemoryFrame, Source};
use crate::base::{LinkType, Timestamp};
use proptest::prelude::*;

const T: Timestamp = Timestamp::from_parts(1_700_000_000, 123_456_000);

fn read(bytes: &[u8]) -> (Vec<MemoryFrame>, InputReport) {
    let mut reader = CaptureReader::new("test", bytes);
    let memory = Memory::collect(&mut reader);
    let report = reader.reports().remove(0);
    assert_eq!(report.frames, memory.frames().len() as u64);
    (memory.frames().to_vec(), report)
}

fn fault(bytes: &[u8]) -> (usize, u64, String) {
    let (frames, report) = read(bytes);
    let fault = report.error.expect("a fault");
    (frames.len(), fault.offset, fault.reason)
}

fn frame(at: Timestamp, link: LinkType, orig_len: u32, bytes: &[u8]) -> MemoryFrame {
    (at, link, orig_len, bytes.to_vec()).into()
}

#[test]
fn classic_in_all_magics_and_orders() {
    for order in [Little, Big] {
        for magic in [MICROS, NANOS, MODIFIED] {
            let mut file = PcapFile::new(order, magic, LinkType::LINUX_SLL);
            let late = Timestamp::from_parts(u32::MAX.into(), 999_999_000);
            file.frame(T, 60, b"one").frame(T, 0, b"").frame(late, 1514, &[7; 1514]);
            let (frames, report) = read(&file.finish());
            let link = LinkType::LINUX_SLL;
            let expected = [frame(T, link, 60, b"one"), frame(T, link, 0, b""), frame(late, link, 1514, &[7; 1514])];
            assert_eq!(frames, expected, "{order:?} {magic:x}");
            assert_eq!((report.start, report.end, report.error), (Some(T), Some(late), None));
            assert_eq!(report.bytes, file.finish().len() as u64);
        }
    }
}

#[test]
fn nanoseconds_are_kept() {
    let at = Timestamp::from_parts(5, 123_456_789);
    let (frames, _) = read(&PcapFile::new(Big, NANOS, LinkType::ETHERNET).frame(at, 1, b"x").finish());
    assert_eq!(frames[0].at, at);
}

#[test]
fn old_versions_with_lengths_the_other_way_round() {
    for (version, first, second) in
        [((2, 2), 60, 3), ((2, 3), 60, 3), ((2, 3), 3, 60), ((543, 0), 60, 3), ((2, 4), 3, 60), ((3, 0), 3, 60)]
    {
        let mut file = PcapFile::with_version(Little, MICROS, LinkType::RAW, version);
        file.record(T, first, second).bytes.raw(b"abc");
        assert_eq!(read(&file.finish()).0, [frame(T, LinkType::RAW, 60, b"abc")], "{version:?}");
    }
    let file = PcapFile::with_version(Little, MICROS, LinkType::RAW, (1, 0));
    assert_eq!(fault(&file.finish()), (0, 4, "pcap version 1.0 is not known".to_owned()));
}

#[test]
fn the_upper_half_of_the_link_type_field_is_not_the_link_type() {
    let mut file = PcapFile::new(Little, MICROS, LinkType::ETHERNET).frame(T, 1, b"x").finish();
    file[23] = 0x44; // a frame check sequence of four bytes follows each frame
    assert_eq!(read(&file).0[0].link, LinkType::ETHERNET);
}

#[test]
fn what_is_no_capture_is_told_at_offset_0() {
    let plain = fault(b"GIF89a, and so on");
    assert_eq!((plain.0, plain.1), (0, 0));
    assert!(plain.2.contains("neither pcap nor pcapng"));
    assert_eq!(fault(b""), (0, 0, "the input is empty".to_owned()));
    assert_eq!(
        fault(b"\xd4\xc3"),
        (0, 0, "neither pcap nor pcapng (editcap -F pcapng converts other formats)".to_owned())
    );
    assert_eq!(fault(&gzip(b"hello there")), (0, 0, "the gzip stream holds neither pcap nor pcapng".to_owned()));
    assert_eq!(fault(&zstd(b"")), (0, 0, "nothing inside the zstd stream".to_owned()));
    assert_eq!(fault(b"\xd4\xc3\xb2\xa1"), (0, 0, "the input ends within the file header".to_owned()));
    assert_eq!(fault(b"\x1f\x8b\x08\x00").1, 0);
}

#[test]
fn a_file_with_no_frames_is_fine() {
    for file in [PcapFile::new(Little, MICROS, LinkType::ETHERNET).finish(), NgFile::new(Big).out] {
        let (frames, report) = read(&file);
        assert_eq!((frames.len(), report.error, report.start), (0, None, None));
    }
}

#[test]
fn classic_lengths_are_bounded_by_link_type() {
    for (link, len, fits) in [(1, 262_144, true), (1, 262_145, false), (249, 262_145, true), (249, u32::MAX, false)] {
        let mut file = PcapFile::new(Little, MICROS, LinkType(link));
        file.frame(T, 1, b"x").record(T, len, len);
        let (frames, offset, reason) = fault(&file.finish());
        assert_eq!((frames, offset), (1, 41));
        assert_eq!(reason.contains("ends within a frame"), fits, "{link} {len}: {reason}");
    }
    let big = vec![5; 262_144];
    let (frames, report) =
        read(PcapFile::new(Little, MICROS, LinkType::ETHERNET).frame(T, 9, &big).finish().as_slice());
    assert_eq!((frames[0].bytes == big, report.error), (true, None));
}

#[test]
fn pcapng_sections_interfaces_and_blocks() {
    let mut file = NgFile::new(Little);
    file.interface(LinkType::ETHERNET, 4, &[(2, b"eth0"), (9, &[9]), (14, &10_i64.to_le_bytes()), (0, b"")]);
    file.interface(LinkType::RAW, 0, &[(9, &[0x80 | 20])]);
    file.interface(LinkType::NULL, 0, &[(9, &[12])]);
    file.block(0x0bad, b"custom").enhanced(0, 5, 100, b"abc").enhanced(1, 3 << 19, 4, b"four");
    file.enhanced(2, 7_999, 1, b"x");
    let simple = file.body(|b| {
        b.u32(6).raw(b"simple");
    });
    file.block(3, &simple);
    let obsolete = file.body(|b| {
        b.u16(1).u16(9).u32(0).u32(1 << 20).u32(3).u32(5).raw(b"old");
    });
    file.block(2, &obsolete);
    file.section(Big).interface(LinkType::IPV4, 0, &[(14, &(-1_i64).to_be_bytes())]).enhanced(0, 1_000_001, 2, b"be");
    let link = LinkType::ETHERNET;
    let expected = [
        frame(Timestamp::from_parts(10, 5), link, 100, b"abc"),
        frame(Timestamp::from_parts(1, 500_000_000), LinkType::RAW, 4, b"four"),
        frame(Timestamp::from_nanos(7), LinkType::NULL, 1, b"x"),
        frame(Timestamp::from_nanos(7), link, 6, b"simp"),
        frame(Timestamp::from_parts(1, 0), LinkType::RAW, 5, b"old"),
        frame(Timestamp::from_nanos(1_000), LinkType::IPV4, 2, b"be"),
    ];
    let (frames, report) = read(&file.out);
    assert_eq!((frames.as_slice(), report.error), (&expected[..], None));
}

#[test]
fn any_time_resolution_is_survived() {
    for resolution in 0..=255 {
        let mut file = NgFile::new(Little);
        file.interface(LinkType::RAW, 0, &[(9, &[resolution]), (14, &i64::MAX.to_le_bytes())]);
        file.interface(LinkType::RAW, 0, &[(9, &[resolution])]);
        file.enhanced(0, u64::MAX, 1, b"x").enhanced(1, 1_u64 << 33, 1, b"x");
        let (frames, _) = read(&file.out);
        assert_eq!(frames[0].at, Timestamp::MAX);
        let exponent = f64::from(resolution & 0x7f);
        let tick = if resolution > 127 { 0.5_f64.powf(exponent) } else { 0.1_f64.powf(exponent) };
        let expected = (2_f64.powi(33) * tick * 1e9).min(i64::MAX as f64);
        let error = (frames[1].at.nanos() as f64 - expected).abs();
        assert!(error <= expected * 1e-9 + 1.0, "{resolution}: {:?} {expected}", frames[1].at);
    }
}

#[test]
fn damaged_pcapng_ends_where_the_damage_is() {
    let mut good = NgFile::new(Little);
    good.interface(LinkType::ETHERNET, 0, &[]).enhanced(0, 1, 3, b"abc");
    let at = good.out.len() as u64;
    let with = |tail: &[u8]| fault(&[&good.out[..], tail].concat());
    let block = |kind: u32, length: u32, body: &[u8], again: u32| {
        let mut b = Bytes::new(Little);
        b.u32(kind).u32(length).raw(body).u32(again);
        b.out
    };
    for (tail, why) in [
        (block(6, 0, &[], 0), "claims 0 bytes"),
        (block(0x99, 0, &[0; 64], 0), "claims 0 bytes"),
        (block(0x99, 14, &[0; 64], 14), "claims 14 bytes"),
        (block(0x99, 16, &[0; 4], 20), "16 bytes at its start and 20 at its end"),
        (block(6, u32::MAX - 3, &[0; 64], 0), "more than the 16777216"),
        (block(0x99, u32::MAX - 3, &[0; 64], 0), "ends within a block"),
        (block(6, 36, &[0; 20], 36), "ends within a block"),
        (block(6, 16, &[0; 4], 16), "too short for its own fields"),
        (block(1, 16, &[0; 4], 16), "too short for its own fields"),
        (
            block(6, 32, &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 32),
            "interface 7, which is not described (1 are)",
        ),
        (
            block(6, 32, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 32),
            "a packet of 1 bytes in a block of 32",
        ),
        (block(6, 32, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0], 32), "more than the 262144"),
        (block(0x0a0d_0d0a, 28, &[0; 16], 28), "without a byte-order magic"),
        (b"\x06\0\0\0\x20".to_vec(), "ends within a block header"),
    ] {
        let (frames, offset, reason) = with(&tail);
        assert_eq!((frames, offset), (1, at), "{reason}");
        assert!(reason.contains(why), "{reason} / {why}");
    }
    let mut bare = NgFile::new(Big);
    let simple = bare.body(|b| {
        b.u32(1).raw(b"x");
    });
    bare.block(3, &simple);
    assert_eq!(fault(&bare.out).2, "a packet of interface 0, which is not described (0 are)");
}

#[test]
fn a_packet_of_an_interface_of_the_section_before_is_a_fault() {
    let mut file = NgFile::new(Little);
    file.interface(LinkType::ETHERNET, 0, &[]).enhanced(0, 1, 3, b"abc").section(Big).enhanced(0, 1, 3, b"abc");
    assert_eq!(fault(&file.out).0, 1);
}

#[test]
fn compressed_captures_in_pieces() {
    let mut file = PcapFile::new(Little, MICROS, LinkType::ETHERNET);
    for n in 0..3_000 {
        file.frame(T, 100, &numbered(n, 300));
    }
    let plain = file.finish();
    let (expected, _) = read(&plain);
    let (a, b) = plain.split_at(400_001);
    for packed in [[gzip(a), gzip(b)].concat(), [zstd(a), zstd(b)].concat()] {
        let (frames, report) = read(&packed);
        assert_eq!((frames == expected, report.error), (true, None));
        assert_eq!(report.bytes, packed.len() as u64);
        let (frames, report) = read(&packed[..packed.len() - 9]);
        assert!(expected.starts_with(&frames) && frames.len() > 1_000, "{}", frames.len());
        let reason = report.error.unwrap().reason;
        assert!(reason.starts_with("gzip: ") || reason.starts_with("zstd: "), "{reason}");
    }
}

/// One of the formats, with `count` frames of different lengths; and where in the plain file each frame ends.
fn sample(format: u8, count: u32) -> (Vec<u8>, Vec<usize>) {
    let order = if format & 1 == 0 { Order::Little } else { Order::Big };
    let mut ends = Vec::new();
    if format & 2 == 0 {
        let magic = [MICROS, NANOS, MODIFIED][usize::from(format / 4 % 3)];
        let mut file = PcapFile::new(order, magic, LinkType::ETHERNET);
        for n in 0..count {
            file.frame(T, 2_000, &numbered(n, (n as usize * 37) % 400));
            ends.push(file.bytes.out.len());
        }
        return (file.finish(), ends);
    }
    let mut file = NgFile::new(order);
    file.interface(LinkType::ETHERNET, 0, &[(9, &[6])]).interface(LinkType::RAW, 100, &[(9, &[9])]);
    for n in 0..count {
        file.enhanced(n % 2, u64::from(n) << 20, 2_000, &numbered(n, (n as usize * 37) % 400));
        ends.push(file.out.len());
        if n % 7 == 3 {
            file.block(5, &numbered(n, 20)).section(order).interface(LinkType::RAW, 0, &[]);
            file.interface(LinkType::NULL, 0, &[]);
        }
    }
    (file.out, ends)
}

proptest! {
    #[test]
    fn every_frame_before_a_cut_is_delivered(format in 0..12_u8, packed in 0..3_u8, cut in 0.0..1.0_f64) {
        let (plain, ends) = sample(format, 60);
        let (all, _) = read(&plain);
        prop_assert_eq!(all.len(), 60);
        let cut = (plain.len() as f64 * cut) as usize;
        let before = ends.iter().filter(|end| **end <= cut).count();
        let part = &plain[..cut];
        let part = match packed { 0 => part.to_vec(), 1 => gzip(part), _ => zstd(part) };
        let (frames, report) = read(&part);
        prop_assert_eq!(&frames[..], &all[..before]);
        if let Some(fault) = report.error {
            let last = if before == 0 { 0 } else { ends[before - 1] };
            prop_assert!(fault.offset <= cut as u64 && (fault.offset >= last as u64 || before == 0));
        }
    }

    #[test]
    fn no_damage_stops_the_reader_or_touches_what_is_before(
        format in 0..12_u8,
        packed in 0..3_u8,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (plain, ends) = sample(format, 40);
        let (all, _) = read(&plain);
        let mut bad = match packed { 0 => plain, 1 => gzip(&plain), _ => zstd(&plain) };
        let mut first = usize::MAX;
        for (at, byte) in damage {
            first = first.min(at.index(bad.len()));
            let at = at.index(bad.len());
            bad[at] = byte;
        }
        let (frames, _) = read(&bad);
        prop_assert!(frames.len() < 10_000);
        if packed == 0 {
            let before = ends.iter().filter(|end| **end <= first).count();
            prop_assert_eq!(&frames[..before], &all[..before]);
        }
    }
}
