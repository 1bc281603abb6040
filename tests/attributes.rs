//! The vocabulary of attributes stays tidy: what a session says is declared in the registry, and what is declared has a
//! page that tells of it.

mod common;

use common::{analyze, shared};
use farmlight::protocol::{IDENTITY_KEYS, REGISTRY};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of outside captures in which something is said in clear.
const FOLDERS: [&str; 4] = ["ssh", "remote-desktop", "vpn", "tls-quic"];

fn declared() -> BTreeSet<&'static str> {
    REGISTRY.iter().flat_map(|protocol| protocol.attributes).copied().collect()
}

/// Adds the captures at or below a folder.
fn find(folder: &Path, captures: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, captures);
        } else if path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng" || ext == "cap") {
            captures.push(path);
        }
    }
}

/// Each key that sessions of these captures have, with one capture that shows it; and whether all keys are declared.
fn keys_of(folders: &[PathBuf]) -> BTreeMap<&'static str, PathBuf> {
    let mut captures = Vec::new();
    folders.iter().for_each(|folder| find(folder, &mut captures));
    captures.sort();
    assert!(!captures.is_empty(), "no captures in {folders:?}");
    let mut seen = BTreeMap::new();
    for path in captures {
        for session in analyze(&path, 1).sessions {
            for (key, _) in session.attributes {
                seen.entry(key).or_insert_with(|| path.clone());
            }
        }
    }
    let declared = declared();
    for (key, path) in &seen {
        assert!(declared.contains(key), "{key}, as in {}, is declared by no protocol", path.display());
    }
    seen
}

#[test]
fn every_key_in_our_captures_is_declared() {
    let seen = keys_of(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")]);
    assert!(seen.contains_key("tls.sni") && seen.contains_key("ssh.hassh"), "{seen:?}");
}

#[test]
fn every_key_in_outside_captures_is_declared() {
    let Some(folder) = shared() else { return };
    let seen = keys_of(&FOLDERS.map(|name| folder.join("captures").join(name)));
    let silent: Vec<_> = declared().into_iter().filter(|key| !seen.contains_key(key)).collect();
    println!("{} keys seen; declared and not seen: {}", seen.len(), silent.join(" "));
    assert!(seen.len() > 30, "{seen:?}");
}

#[test]
fn every_declared_key_is_named_like_one_and_has_a_page_that_tells_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocols");
    let pages: String = fs::read_dir(folder)
        .expect("the pages are there")
        .map(|page| fs::read_to_string(page.expect("a folder can be listed").path()).expect("a page is text"))
        .collect();
    for key in declared() {
        let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let parts: Vec<&str> = key.split('.').collect();
        assert!(parts.len() == 2 && parts.iter().all(|part| word(part)), "{key} is not protocol.field");
        assert!(pages.contains(&format!("`{key}`")), "no page in docs/protocols tells of {key}");
    }
}

/// Words in a key that may mean that its value names a person or a machine.
const NAMING: [&str; 29] = [
    "account",
    "cookie",
    "device",
    "display",
    "displays",
    "domain",
    "email",
    "hardware",
    "host",
    "hostname",
    "id",
    "identity",
    "login",
    "mac",
    "machine",
    "mail",
    "name",
    "nas",
    "node",
    "owner",
    "peer",
    "person",
    "serial",
    "subject",
    "target",
    "user",
    "username",
    "uuid",
    "workstation",
];

/// Keys that sound like a name and name nobody, each with what they hold.
const HARMLESS: &[(&str, &str)] = &[
    ("dtls.connection_id", "that there is one"),
    ("dtls.cookie", "true"),
    ("guacamole.target", "what is asked for of a gateway: a protocol or a connection's number"),
    ("http.host", "the server asked for"),
    ("http.user_agent", "a program"),
    ("sip.user_agent", "a program"),
    ("l2tp.server_host", "a server's name"),
    ("pptp.server_host", "a server's name"),
    ("proxy.target", "the server asked for"),
    ("quic.user_agent", "a program"),
    ("radius.nas", "an access server"),
    ("rd_gateway.connection_id", "a connection's random number"),
    ("rdp.correlation_id", "a connection's random number"),
    ("rdp.routing_target", "a server's address"),
    ("rdp_udp.correlation_id", "a connection's random number"),
    ("rustdesk.peer_address", "an address"),
    ("ssh.host_key_algorithm", "an algorithm"),
    ("ssh.mac", "an algorithm"),
    ("tls.cert_subject", "a server's certificate"),
    ("turn.peer_address", "an address"),
    ("wireguard.cookie", "that there was one"),
    ("xdmcp.display_addresses", "addresses"),
    ("xdmcp.display_class", "a make"),
];

/// Who adds a key that sounds like a name must say whether it is one: else `--hash-identities` would let it through.
#[test]
fn every_key_that_sounds_like_a_name_is_hashed_or_said_harmless() {
    let sounds = |key: &&str| {
        let field = key.split('.').nth(1).unwrap_or_default();
        field.split('_').any(|part| NAMING.contains(&part))
    };
    let harmless = |key: &&str| HARMLESS.iter().any(|(known, _)| known == key);
    let open: Vec<_> =
        declared().into_iter().filter(|k| sounds(k) && !IDENTITY_KEYS.contains(k) && !harmless(k)).collect();
    assert!(open.is_empty(), "to IDENTITY_KEYS in src/protocol/mod.rs, or to HARMLESS here with the reason: {open:?}");
    for key in IDENTITY_KEYS.iter().chain(HARMLESS.iter().map(|(key, _)| key)) {
        assert!(declared().contains(key), "{key} is declared by no protocol");
    }
    for (key, _) in HARMLESS {
        assert!(sounds(key) && !IDENTITY_KEYS.contains(key), "{key} needs no excuse");
    }
    assert!(IDENTITY_KEYS.is_sorted(), "in alphabetical order, so that two additions do not meet");
}
