//! The table of remote tools holds what public reports and the market name, each with what it is and who says so.
#![allow(clippy::panic, reason = "a test stops by panicking")]

use farmlight::protocol::{Category, named};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Remote management and remote control that companies, helpdesks and their attackers use most: the names of LOLRMM, the
/// makers' own, as entries are called here.
const MOST_USED: &[&str] = &[
    "action1",
    "aeroadmin",
    "alpemix",
    "ammyy-admin",
    "anydesk",
    "anyviewer",
    "ard",
    "atera",
    "beyondtrust",
    "chrome-remote-desktop",
    "connectwise-automate",
    "dameware",
    "datto-rmm",
    "deskin",
    "distant-desktop",
    "dwservice",
    "fastviewer",
    "fixme-it",
    "fleetdeck",
    "getscreen",
    "goto-resolve",
    "gotoassist",
    "gotohttp",
    "gotomypc",
    "guacamole",
    "helpwire",
    "hoptodesk",
    "instant-housecall",
    "iperius-remote",
    "isl-online",
    "jump-desktop",
    "jumpcloud-assist",
    "kaseya",
    "level",
    "litemanager",
    "logmein",
    "logmein-rescue",
    "meshcentral",
    "mikogo",
    "netop",
    "netsupport",
    "ninjaone",
    "nomachine",
    "parsec",
    "pcvisit",
    "pulseway",
    "quick-assist",
    "radmin",
    "rdp",
    "realvnc",
    "remotecall",
    "remotepc",
    "remoteview",
    "remotix",
    "remote-utilities",
    "rfb",
    "rudesktop",
    "rustdesk",
    "screenconnect",
    "screenmeet",
    "showmypc",
    "simplehelp",
    "splashtop",
    "ssh",
    "sunlogin",
    "supremo",
    "syncro",
    "tactical-rmm",
    "take-control",
    "teamviewer",
    "todesk",
    "trustconnect",
    "ultraviewer",
    "xeox",
    "zoho-assist",
];

/// What public reports on such schemes name, and which report.
const REPORTED: &[(&str, Category, &str)] = &[
    ("anydesk", Category::RemoteDesktop, "Mandiant 2025; Insikt PurpleDelta; Ballena Azul 2026; Jasper Sleet 2025"),
    ("anyviewer", Category::RemoteDesktop, "Microsoft, Jasper Sleet 2025"),
    ("astrill", Category::Vpn, "Mandiant 2025; LevelBlue 2026"),
    ("chrome-remote-desktop", Category::RemoteDesktop, "CrowdStrike, Ballena Azul 2026"),
    ("dev-tunnels", Category::Proxy, "ATT&CK T1219.001"),
    ("jetkvm", Category::Kvm, "ATT&CK T1219.003"),
    ("jump-desktop", Category::RemoteDesktop, "Microsoft, Jasper Sleet 2025 (JumpConnect)"),
    ("nanokvm", Category::Kvm, "ATT&CK T1219.003"),
    ("pikvm", Category::Kvm, "Microsoft, Jasper Sleet 2025; ATT&CK T1219.003"),
    ("rdp", Category::RemoteDesktop, "ATT&CK T1021.001"),
    ("rfb", Category::RemoteDesktop, "ATT&CK T1021.005"),
    ("rustdesk", Category::RemoteDesktop, "Microsoft, Jasper Sleet 2025"),
    ("teamviewer", Category::RemoteDesktop, "Microsoft, Jasper Sleet 2025"),
    ("tinypilot", Category::Kvm, "Microsoft, Jasper Sleet 2025; ATT&CK T1219.003"),
    ("zoom", Category::Conferencing, "Sygnia 2025"),
];

/// IP-KVMs, which no public list has.
const KVMS: &[&str] = &[
    "blikvm",
    "glinet-comet",
    "jetkvm",
    "nanokvm",
    "pikvm",
    "tinypilot",
    "idrac",
    "ilo",
    "supermicro-bmc",
    "intel-amt",
];

#[test]
fn the_most_used_tools_are_there() {
    let distinct: BTreeSet<_> = MOST_USED.iter().collect();
    assert!(distinct.len() == MOST_USED.len() && distinct.len() >= 60, "{}", distinct.len());
    let missing: Vec<_> = MOST_USED.iter().filter(|name| named(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let remote = [Category::RemoteDesktop, Category::RemoteShell];
    let odd: Vec<_> =
        MOST_USED.iter().filter(|name| named(name).is_none_or(|tool| !remote.contains(&tool.category))).collect();
    assert!(odd.is_empty(), "of another class: {odd:?}");
}

#[test]
fn every_tool_of_a_public_report_is_there_with_its_class() {
    for (name, category, report) in REPORTED {
        let tool = named(name);
        assert_eq!(tool.map(|tool| tool.category), Some(*category), "{name} ({report})");
    }
    for name in KVMS {
        assert_eq!(named(name).map(|tool| tool.category), Some(Category::Kvm), "{name}");
    }
}

/// An entry without a sign, a probe or a port could never be met; one without a page names no source.
#[test]
fn every_tool_can_be_met_and_has_a_page_that_names_its_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocols");
    let pages: Vec<String> = fs::read_dir(folder)
        .expect("the pages are there")
        .map(|page| fs::read_to_string(page.expect("a folder can be listed").path()).expect("a page is text"))
        .collect();
    for name in MOST_USED.iter().chain(KVMS).chain(REPORTED.iter().map(|(name, ..)| name)) {
        let tool = named(name).unwrap_or_else(|| panic!("{name} is not there"));
        assert!(!tool.signs.is_empty() || !tool.carriers.is_empty(), "{name} can't be met");
        let sourced = pages.iter().any(|page| page.contains(name) && page.contains("## Captures"));
        assert!(sourced, "no page tells where {name} comes from");
    }
}
