//! `farmlight slice` as a user meets it: the frames behind a finding, unchanged, in a file that other programs read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]

use farmlight::source::CaptureReader;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const RELAYED: &str = "198.18.1.120";
const HONEST: &str = "198.18.7.1";

fn farmlight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farmlight"));
    command.env_remove("FARMLIGHT_LOG").env("NO_COLOR", "1");
    command
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/home-proxy")
}

fn capture() -> PathBuf {
    folder().join("capture.pcap")
}

/// A folder with the records of a capture.
fn records(capture: &Path) -> TempDir {
    let out = tempfile::tempdir().unwrap();
    let output = farmlight()
        .arg("analyze")
        .arg(capture)
        .arg("--geo-csv")
        .arg(folder().join("geo.csv"))
        .args(["--site", "39.0438,-77.4874", "--internal", "192.0.2.0/24,2001:db8:c0::/48", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    out
}

fn slice(what: &str, from: &Path, out: &Path, inputs: &[&Path]) -> Output {
    farmlight().args(["slice", what, "--from"]).arg(from).arg("-o").arg(out).args(inputs).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn exits(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

/// Time, link type, length on the wire and bytes of each frame.
type Frames = Vec<(i64, u16, u32, Vec<u8>)>;

fn frames(path: &Path) -> Frames {
    let mut reader = CaptureReader::new("a capture", fs::File::open(path).unwrap());
    let mut all = Vec::new();
    while reader.advance().is_some() {
        let frame = reader.frame().unwrap();
        all.push((frame.at.nanos(), frame.link.0, frame.orig_len, frame.bytes.to_vec()));
    }
    assert_eq!(reader.report().error, None);
    all
}

/// Whether an IPv4 packet behind an Ethernet header has this address.
fn has(bytes: &[u8], address: &str) -> bool {
    let octets = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
    bytes[26..30] == octets || bytes[30..34] == octets
}

fn finding(from: &Path) -> Value {
    serde_json::from_str(fs::read_to_string(from.join("findings.jsonl")).unwrap().lines().next().unwrap()).unwrap()
}

#[test]
fn the_frames_of_an_address_come_out_as_they_went_in() {
    let from = records(&capture());
    let out = from.path().join("slice.pcapng");
    let output = slice(HONEST, from.path(), &out, &[&capture()]);
    exits(&output, 0);
    let expected: Frames = frames(&capture()).into_iter().filter(|(.., bytes)| has(bytes, HONEST)).collect();
    assert!(expected.len() > 100);
    assert_eq!(frames(&out), expected);
    let said = format!("{}: {} frames of 3 flows\n", out.display(), expected.len());
    assert_eq!(String::from_utf8_lossy(&output.stdout), said);
}

#[test]
fn a_finding_gives_the_flows_that_it_cites_and_they_give_the_finding() {
    let from = records(&capture());
    let finding = finding(from.path());
    let id = finding["id"].as_str().unwrap();
    let out = from.path().join("slice.pcapng");
    exits(&slice(&id[..5], from.path(), &out, &[&capture()]), 0);
    let again = records(&out);
    let sessions = fs::read_to_string(again.path().join("sessions.jsonl")).unwrap();
    let of_finding = finding["evidence"].as_array().unwrap().iter().flat_map(|e| e["cites"].as_array().unwrap());
    let mut cited: Vec<&str> = of_finding.map(|cite| cite.as_str().unwrap()).collect();
    cited.sort_unstable();
    cited.dedup();
    assert_eq!(sessions.lines().count(), cited.len());
    assert!(cited.iter().all(|cite| sessions.contains(cite)));
    let told = self::finding(again.path());
    assert_eq!((&told["id"], &told["verdict"]), (&finding["id"], &finding["verdict"]));
}

/// Each packet says which evidence cites it, and the one that closes a round trip says how long that took.
#[test]
fn comments_say_why_and_other_programs_show_them() {
    let from = records(&capture());
    let finding = finding(from.path());
    let out = from.path().join("slice.pcapng");
    exits(&slice(finding["id"].as_str().unwrap(), from.path(), &out, &[&capture()]), 0);
    let bytes = fs::read(&out).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let gap = &finding["evidence"][0];
    assert_eq!(gap["rule"], "cross-layer-gap");
    assert!(text.contains(gap["text"].as_str().unwrap()), "the section says nothing of the evidence");
    let cite = gap["cites"][0].as_str().unwrap();
    assert!(text.contains(&format!("cross-layer-gap, hello-lag: flow {cite}")));
    assert!(text.contains("closes a round trip to the client: tls (server-hello-done), 191.938 ms"));

    let shown = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).arg(&out).output().ok()?;
        assert!(output.status.success(), "{program}: {}", stderr(&output));
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(facts) = shown("capinfos", &["-M", "-c"]) else {
        println!("skipped: capinfos is not there");
        return;
    };
    assert!(facts.contains(&frames(&out).len().to_string()), "{facts}");
    let comments = shown("tshark", &["-T", "fields", "-e", "frame.comment", "-r"]).unwrap();
    assert_eq!(comments.lines().filter(|line| line.contains("farmlight: ")).count(), frames(&out).len());
    assert!(comments.contains("closes a round trip to the client: tls (server-hello-done)"));
}

/// One frame in VXLAN over UDP over IPv4, cut into so many fragments (RFC 7348, RFC 791).
fn tunnelled(frame: &[u8], id: u16, pieces: usize) -> Vec<Vec<u8>> {
    let mut udp = Vec::new();
    udp.extend_from_slice(&[0xc0, 0, 0x12, 0xb5]);
    udp.extend_from_slice(&u16::try_from(frame.len() + 16).unwrap().to_be_bytes());
    udp.extend_from_slice(&[0, 0, 8, 0, 0, 0, 0, 0, 7, 0]);
    udp.extend_from_slice(frame);
    let size = udp.len().div_ceil(pieces).next_multiple_of(8);
    let count = udp.chunks(size).count();
    let packet = |(i, part): (usize, &[u8])| {
        let more = if i + 1 < count { 0x2000 } else { 0 };
        let offset = u16::try_from(i * size / 8).unwrap() | more;
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        bytes.extend_from_slice(&u16::try_from(part.len() + 20).unwrap().to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&[64, 17, 0, 0, 203, 0, 113, 1, 203, 0, 113, 2]);
        bytes.extend_from_slice(part);
        bytes
    };
    udp.chunks(size).enumerate().map(packet).collect()
}

fn pcap(frames: &Frames) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 1_u32] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for (at, _, orig_len, bytes) in frames {
        let words = [at / 1_000_000_000, at % 1_000_000_000, bytes.len() as i64, i64::from(*orig_len)];
        words.iter().for_each(|word| out.extend_from_slice(&u32::try_from(*word).unwrap().to_le_bytes()));
        out.extend_from_slice(bytes);
    }
    out
}

#[test]
fn flows_in_tunnels_and_in_fragments_are_found_and_their_frames_left_alone() {
    let mut wrapped: Frames = Vec::new();
    let mut expected: Frames = Vec::new();
    // Pieces of two packets at a time lie between each other, where the two are close in time.
    let plain = frames(&capture());
    for group in plain.chunk_by(|a, b| b.0 - a.0 < 1_000_000_000).flat_map(|close| close.chunks(2)) {
        let rows = group.iter().enumerate().map(|(i, (at, _, _, bytes))| {
            let id = u16::try_from(wrapped.len() + i * 7).unwrap();
            (has(bytes, HONEST), *at, tunnelled(bytes, id, 3))
        });
        let rows: Vec<(bool, i64, Vec<Vec<u8>>)> = rows.collect();
        for i in 0..3 {
            for (wanted, at, pieces) in &rows {
                let Some(piece) = pieces.get(i) else { continue };
                let frame = (*at, 1, u32::try_from(piece.len()).unwrap(), piece.clone());
                wrapped.push(frame.clone());
                expected.extend(wanted.then_some(frame));
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrapped.pcap");
    fs::write(&path, pcap(&wrapped)).unwrap();
    let from = records(&path);
    let out = dir.path().join("slice.pcapng");
    exits(&slice(HONEST, from.path(), &out, &[&path]), 0);
    assert!(expected.len() > 300, "{}", expected.len());
    assert!(frames(&out) == expected, "{} frames, not {}", frames(&out).len(), expected.len());
    let bytes = fs::read(&out).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("farmlight: a fragment of a packet below"));
    // The packets inside are found by their finding, too.
    let id = finding(from.path())["id"].as_str().unwrap().to_owned();
    exits(&slice(&id, from.path(), &out, &[&path]), 0);
    assert!(!frames(&out).is_empty());
}

#[test]
fn every_way_in_and_standard_output_give_the_same() {
    let from = records(&capture());
    let out = from.path().join("slice.pcapng");
    exits(&slice(HONEST, from.path(), &out, &[&capture()]), 0);
    let expected = fs::read(&out).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&fs::read(capture()).unwrap()).unwrap();
    let zipped = from.path().join("capture.pcap.gz");
    fs::write(&zipped, gzip.finish().unwrap()).unwrap();
    exits(&slice(HONEST, from.path(), &out, &[&zipped]), 0);
    assert!(fs::read(&out).unwrap() == expected);
    // Its own output is an input like any other.
    let twice = from.path().join("twice.pcapng");
    exits(&slice(HONEST, from.path(), &twice, &[&out]), 0);
    assert!(fs::read(&twice).unwrap() == expected);
    let mut child = farmlight()
        .args(["slice", HONEST, "--from"])
        .arg(from.path())
        .args(["-o", "-", "-"])
        .stdin(fs::File::open(capture()).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut piped = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut piped).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(piped == expected);
}

#[test]
fn link_types_keep_their_own() {
    let from = records(&capture());
    let raw = from.path().join("raw.pcap");
    let bare: Frames =
        frames(&capture()).into_iter().map(|(at, _, len, b)| (at, 1, len - 14, b[14..].to_vec())).collect();
    let mut bytes = pcap(&bare);
    // LINKTYPE_RAW instead of Ethernet.
    bytes[20] = 101;
    fs::write(&raw, bytes).unwrap();
    let out = from.path().join("both.pcapng");
    exits(&slice(HONEST, from.path(), &out, &[&capture(), &raw]), 0);
    let frames = frames(&out);
    let (ethernet, bare): (Frames, Frames) = frames.into_iter().partition(|(_, link, ..)| *link == 1);
    assert!(ethernet.len() > 100 && ethernet.len() == bare.len());
    assert!(ethernet.iter().zip(&bare).all(|(a, b)| a.3[14..] == b.3[..] && b.1 == 101));
}

#[test]
fn an_output_that_would_destroy_its_source_is_refused() {
    let from = records(&capture());
    let input = from.path().join("input.pcap");
    fs::copy(capture(), &input).unwrap();
    let link = from.path().join("link.pcap");
    fs::hard_link(&input, &link).unwrap();
    let folder = from.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for out in [&input, &link, &from.path().join("findings.jsonl"), &folder, &from.path().join("no/where.pcapng")] {
        let output = slice(HONEST, from.path(), out, &[&input]);
        exits(&output, 2);
        assert!(stderr(&output).contains(out.file_name().unwrap().to_str().unwrap()) || stderr(&output).contains("-o"));
        assert!(output.stdout.is_empty());
    }
    assert!(fs::read(&input).unwrap() == fs::read(capture()).unwrap());
    // Any other file is replaced, whole.
    let other = from.path().join("other.pcapng");
    fs::write(&other, "something else").unwrap();
    exits(&slice(HONEST, from.path(), &other, &[&input]), 0);
    assert!(frames(&other).len() > 100);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing_behind() {
    let from = records(&capture());
    let out = from.path().join("slice.pcapng");
    let elsewhere = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/home-vpn/capture.pcap");
    let id = finding(from.path())["id"].as_str().unwrap().to_owned();
    for (what, input, said) in [
        ("0123456789abcdef", capture(), "no finding"),
        (id.as_str(), elsewhere.clone(), "none of its packets"),
        ("203.0.113.99", capture(), "none of its packets"),
        (HONEST, from.path().join("gone.pcap"), "gone.pcap"),
    ] {
        let output = slice(what, from.path(), &out, &[&input]);
        exits(&output, 1);
        assert!(stderr(&output).contains(said), "{what}: {}", stderr(&output));
        assert!(!out.exists(), "{what}");
    }
    let nowhere = slice(HONEST, Path::new("/nowhere/records"), &out, &[&capture()]);
    exits(&nowhere, 1);
    assert!(stderr(&nowhere).contains("/nowhere/records"));
    exits(&farmlight().args(["slice", HONEST, "--from", "/nowhere"]).output().unwrap(), 2);
    // What came before a cut is written, and the exit code says that there was one.
    let bytes = fs::read(capture()).unwrap();
    let cut = from.path().join("cut.pcap");
    fs::write(&cut, &bytes[..bytes.len() - 10]).unwrap();
    let output = slice(RELAYED, from.path(), &out, &[&cut]);
    exits(&output, 1);
    assert!(stderr(&output).contains("cut.pcap") && frames(&out).len() > 100, "{}", stderr(&output));
    let rest: Vec<_> = fs::read_dir(from.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(rest.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "{rest:?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let from = records(&capture());
    let mut child = farmlight()
        .args(["slice", RELAYED, "--from"])
        .arg(from.path())
        .args(["-o", "-"])
        .arg(capture())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    exits(&output, 0);
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}
