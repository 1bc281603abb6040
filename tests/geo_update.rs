//! `farmlight geo update` against a server of our own on the loopback interface: what is good takes the old database's
//! place, anything else is refused with its reason and leaves the old one.
//!
//! The databases are made here, byte by byte: a tree of one node whose both records are the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may stop")]

use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

/// A value of the MaxMind DB format (2.0): maps, texts and numbers, all short.
enum Value {
    Text(&'static str),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(Vec<(&'static str, Value)>),
    Array(Vec<Value>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let byte = |n: usize| u8::try_from(n).expect("short");
        match self {
            Self::Text(text) => {
                assert!(text.len() < 29);
                out.push(2 << 5 | byte(text.len()));
                out.extend(text.as_bytes());
            }
            Self::U16(n) => out.extend([&[5 << 5 | 2][..], &n.to_be_bytes()].concat()),
            Self::U32(n) => out.extend([&[6 << 5 | 4][..], &n.to_be_bytes()].concat()),
            Self::U64(n) => out.extend([&[8, 2][..], &n.to_be_bytes()].concat()),
            Self::Map(entries) => {
                out.push(7 << 5 | byte(entries.len()));
                for (key, value) in entries {
                    Self::Text(key).write(out);
                    value.write(out);
                }
            }
            Self::Array(values) => {
                out.extend([byte(values.len()), 4]);
                values.iter().for_each(|value| value.write(out));
            }
        }
    }
}

/// A database of that type and age that says the same of every IPv4 address, or nothing of any.
fn database(kind: &'static str, built: u64, empty: bool) -> Vec<u8> {
    // One node of two 24-bit records: 1 means "no data", 1 + 16 the first byte of the data section.
    let record: u32 = if empty { 1 } else { 17 };
    let mut out = [&record.to_be_bytes()[1..], &record.to_be_bytes()[1..], &[0; 16]].concat();
    Value::Map(vec![("autonomous_system_number", Value::U32(64_500))]).write(&mut out);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(built)),
        ("database_type", Value::Text(kind)),
        ("description", Value::Map(vec![("en", Value::Text("made for a test"))])),
        ("ip_version", Value::U16(4)),
        ("languages", Value::Array(vec![Value::Text("en")])),
        ("node_count", Value::U32(1)),
        ("record_size", Value::U16(24)),
    ])
    .write(&mut out);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn tar_gz(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in [("GeoLite2/LICENSE.txt", &b"a licence"[..]), (name, bytes)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, path, content).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

/// What the server gives for a path.
#[derive(Clone)]
enum Answer {
    Whole(Vec<u8>),
    /// So many bytes of what was promised, then the end.
    Short(Vec<u8>, usize),
    Status(&'static str),
    /// Nothing, for longer than anybody waits.
    Never,
    /// Only to who says this.
    Login(&'static str, Vec<u8>),
}

const OLD: u64 = 1_700_000_000;
const NEW: u64 = 1_760_000_000;

fn answers() -> HashMap<&'static str, Answer> {
    let asn = database("Test-ASN", NEW, false);
    HashMap::from([
        ("/good.mmdb", Answer::Whole(asn.clone())),
        ("/good.mmdb.gz", Answer::Whole(gzip(&asn))),
        ("/good.tar.gz", Answer::Whole(tar_gz("GeoLite2/GeoLite2-ASN.mmdb", &asn))),
        ("/login.mmdb", Answer::Login("Basic MTIzOnNlY3JldA==", asn.clone())),
        ("/cut.mmdb", Answer::Short(asn.clone(), asn.len() / 2)),
        ("/short.mmdb", Answer::Whole(asn[..asn.len() - 40].to_vec())),
        ("/short.mmdb.gz", Answer::Whole(gzip(&asn)[..60].to_vec())),
        ("/city.mmdb", Answer::Whole(database("Test-City", NEW, false))),
        ("/older.mmdb", Answer::Whole(database("Test-ASN", OLD - 1, false))),
        ("/empty.mmdb", Answer::Whole(database("Test-ASN", NEW, true))),
        ("/page.html", Answer::Whole(b"<html>Please log in</html>".to_vec())),
        ("/gone.mmdb", Answer::Status("404 Not Found")),
        ("/broken.mmdb", Answer::Status("500 Internal Server Error")),
        ("/slow.mmdb", Answer::Never),
    ])
}

/// Serves until the process ends; gives the port and the certificate to trust.
fn serve() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).unwrap();
                answer(&mut rustls::StreamOwned::new(connection, socket));
            });
        }
    });
    (port, made.cert.pem())
}

fn answer(stream: &mut (impl Read + Write)) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => request.extend_from_slice(&buffer[..n]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let ok = |promised: usize, body: &[u8]| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\nConnection: close\r\n\r\n").as_bytes(), body]
            .concat()
    };
    let bytes = match answers().get(path).cloned().unwrap_or(Answer::Status("404 Not Found")) {
        Answer::Whole(body) => ok(body.len(), &body),
        Answer::Short(body, sent) => ok(body.len(), &body[..sent]),
        Answer::Login(login, body) if request.contains(login) => ok(body.len(), &body),
        Answer::Login(..) => b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        Answer::Status(status) => {
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
        }
        Answer::Never => {
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.flush();
}

struct Bed {
    port: u16,
    folder: tempfile::TempDir,
}

impl Bed {
    /// A server, and a folder with an old database.
    fn new() -> Self {
        let (port, certificate) = serve();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), certificate).unwrap();
        fs::create_dir(folder.path().join("geo")).unwrap();
        let bed = Self { port, folder };
        fs::write(bed.database(), database("Test-ASN", OLD, false)).unwrap();
        bed
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("geo/asn.mmdb")
    }

    fn update(&self, path: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_farmlight"))
            .args(["geo", "update", "--timeout-s", "2", "--asn-url"])
            .arg(format!("https://localhost:{}{path}", self.port))
            .arg("--into")
            .arg(self.folder.path().join("geo"))
            .arg("--ca")
            .arg(self.folder.path().join("ca.pem"))
            .args(more)
            .env("GEO_LOGIN", "123:secret")
            .env_remove("FARMLIGHT_LOG")
            .output()
            .unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("geo")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_is_good_takes_the_old_ones_place() {
    for (path, more) in [
        ("/good.mmdb", &[][..]),
        ("/good.mmdb.gz", &[]),
        ("/good.tar.gz", &[]),
        ("/login.mmdb", &["--login-env", "GEO_LOGIN"]),
    ] {
        let bed = Bed::new();
        let output = bed.update(path, more);
        assert_eq!(output.status.code(), Some(0), "{path}: {}", said(&output));
        assert!(said(&output).contains("Test-ASN, built 2025-10-09"), "{path}: {}", said(&output));
        assert_eq!(fs::read(bed.database()).unwrap(), database("Test-ASN", NEW, false), "{path}");
        assert_eq!(bed.files(), ["asn.mmdb"], "{path}: something was left behind");
    }
}

#[test]
fn what_is_not_good_is_refused_with_its_reason_and_the_old_one_stays() {
    let bed = Bed::new();
    for (path, reason) in [
        ("/cut.mmdb", "broke off"),
        ("/short.mmdb", "not a sound MaxMind database"),
        ("/short.mmdb.gz", "no sound gzip file"),
        ("/city.mmdb", "a database of type 'Test-City', not ASN"),
        ("/older.mmdb", "before the one that is there"),
        ("/empty.mmdb", "knows none of the addresses"),
        ("/page.html", "not a sound MaxMind database"),
        ("/gone.mmdb", "404"),
        ("/broken.mmdb", "500"),
        ("/slow.mmdb", "timeout"),
        ("/login.mmdb", "401"),
    ] {
        let output = bed.update(path, &[]);
        assert_eq!(output.status.code(), Some(1), "{path}: {}", said(&output));
        assert!(said(&output).contains(reason), "{path}: {}", said(&output));
        assert!(said(&output).contains("stays as it was"), "{path}: {}", said(&output));
        assert_eq!(fs::read(bed.database()).unwrap(), database("Test-ASN", OLD, false), "{path}");
        assert_eq!(bed.files(), ["asn.mmdb"], "{path}: something was left behind");
    }
}

#[test]
fn only_a_server_that_is_trusted_is_asked() {
    let bed = Bed::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_farmlight"));
    command.args(["geo", "update", "--timeout-s", "2", "--into"]).arg(bed.folder.path().join("geo")).arg("--asn-url");
    let output = command.arg(format!("https://localhost:{}/good.mmdb", bed.port)).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("certificate"), "{}", said(&output));
    let mut command = Command::new(env!("CARGO_BIN_EXE_farmlight"));
    command.args(["geo", "update", "--into"]).arg(bed.folder.path().join("geo"));
    let output = command.args(["--asn-url", "http://localhost/asn.mmdb"]).output().unwrap();
    assert!(said(&output).contains("only https:// is fetched"), "{}", said(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_configuration_names_what_is_fetched_and_the_status_tells_it() {
    let bed = Bed::new();
    let config = bed.folder.path().join("farmlight.toml");
    let geo = bed.folder.path().join("geo");
    let text = format!(
        "[geo]\ndir = {:?}\nasn-url = \"https://localhost:{}/good.mmdb\"\nca = {:?}\n",
        geo.display().to_string(),
        bed.port,
        bed.folder.path().join("ca.pem").display().to_string()
    );
    fs::write(&config, text).unwrap();
    let run = |words: &[&str], config: &Path| {
        Command::new(env!("CARGO_BIN_EXE_farmlight")).args(words).arg("--config").arg(config).output().unwrap()
    };
    let output = run(&["geo", "update"], &config);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = run(&["geo", "status"], &config);
    assert!(said(&output).contains("asn.mmdb: Test-ASN, built 2025-10-09, "), "{}", said(&output));
    fs::write(bed.database(), b"not a database").unwrap();
    let output = run(&["geo", "status"], &config);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    fs::write(&config, "[geo]\nplanet = 1\n").unwrap();
    let output = run(&["geo", "update"], &config);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("planet"), "{}", said(&output));
}
