//! `farmlight intel`: what the outside knows, imported into a folder and looked up.
//!
//! The folder holds two tables: `tools.csv` (remote-management tools by host name) and `networks.csv` (networks by
//! label). Both are text, so that a person can read, keep and mend them.

use super::{Outcome, Wrong};
use crate::base::{Shows, Sign};
use crate::cli::{Intel, IntelImport, IntelLookup};
use crate::intel::{Label, LeftOut, Listed, Lists, Places, Tools};
use crate::protocol::{Protocol, REGISTRY};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;

/// The tables of an intel folder.
pub(super) const TOOLS: &str = "tools.csv";
/// See [`TOOLS`].
pub(super) const NETWORKS: &str = "networks.csv";

/// Both.
pub(super) const TABLES: [&str; 2] = [TOOLS, NETWORKS];

/// Rejected lines that are printed; more are counted.
const SHOWN: usize = 40;

pub(super) fn run(args: &Intel) -> anyhow::Result<Outcome> {
    let text = match args {
        Intel::Import(import) => run_import(import)?,
        Intel::Lookup(lookup) => run_lookup(lookup)?,
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

/// Tables of a folder; what it doesn't hold is empty.
pub(super) fn read(folder: &Path) -> anyhow::Result<(Tools, Lists)> {
    if !folder.is_dir() {
        return Err(Wrong(format!("--intel {}: no such folder", folder.display())).into());
    }
    let wrong = |error: String| Wrong(format!("--intel: {error}"));
    let path = folder.join(TOOLS);
    let tools = if path.is_file() { Tools::read(&path).map_err(|e| wrong(e.to_string()))? } else { Tools::default() };
    let mut lists = Lists::default();
    let path = folder.join(NETWORKS);
    if path.is_file() {
        lists.read_csv(&path).map_err(|e| wrong(e.to_string()))?;
        if let ([first, ..], _) = lists.left_out() {
            return Err(wrong(format!("{}:{}: '{}' {}", path.display(), first.line, first.text, first.reason)).into());
        }
    }
    Ok((tools, lists))
}

fn run_import(import: &IntelImport) -> anyhow::Result<String> {
    match import {
        IntelImport::Lolrmm { path, into } => import_tools(path, into),
        IntelImport::X4bnet { path, into, keep_relays } => {
            import_networks(into, |lists| Ok(lists.read_x4bnet(path, *keep_relays)?))
        }
        IntelImport::List { path, into, label, name } => {
            let label: Label = label.parse().map_err(|e: crate::intel::ListError| Wrong(format!("--label: {e}")))?;
            import_networks(into, |lists| Ok(lists.read_plain(path, label, name.as_deref())?))
        }
        IntelImport::Csv { path, into } => import_networks(into, |lists| Ok(lists.read_csv(path)?)),
    }
}

fn import_tools(path: &Path, into: &Path) -> anyhow::Result<String> {
    let tools = Tools::import_lolrmm(path)?;
    write(into, TOOLS, tools.to_csv().as_bytes())?;
    let (hosts, with_hosts, shared) = tools.counts();
    let mut text = format!(
        "{}: {} tools, {with_hosts} of them with {hosts} host names\n",
        into.join(TOOLS).display(),
        tools.tools().len(),
    );
    if shared > 0 {
        let _ = writeln!(text, "{shared} host names are shared hosting: kept, but never ground for a verdict");
    }
    let refused = tools.refused();
    let _ = writeln!(text, "{} entries left out{}", refused.len(), if refused.is_empty() { "" } else { ":" });
    for entry in refused {
        let file = entry.file.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "  {file}: {} ({})", entry.entry, entry.reason);
    }
    Ok(text)
}

/// Reads new lists, and keeps from the folder's table what they don't replace: lists of other names.
fn import_networks(into: &Path, read: impl FnOnce(&mut Lists) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut lists = Lists::default();
    read(&mut lists)?;
    let before = into.join(NETWORKS);
    let replaced: Vec<String> = lists.sources().iter().map(|source| source.name.clone()).collect();
    let mut kept = Lists::default();
    if before.is_file() {
        kept.read_csv(&before)?;
        lists.take_from(&kept, |listed| !replaced.iter().any(|name| name == listed.source));
    }
    let subtracted = lists.subtract_relays();
    write(into, NETWORKS, to_csv(&lists).as_bytes())?;
    let mut text = format!("{}: {} networks\n", into.join(NETWORKS).display(), lists.len());
    for source in lists.sources() {
        let _ = writeln!(text, "  {}: {} networks", source.name, source.networks);
    }
    if subtracted > 0 {
        let _ = writeln!(
            text,
            "{subtracted} networks taken out of the VPN lists: they are the egress of a relay, which everybody with \
             such a browser uses"
        );
    }
    left_out(&mut text, lists.left_out());
    Ok(text)
}

fn left_out(text: &mut String, (lines, count): (&[LeftOut], usize)) {
    let _ = writeln!(text, "{count} lines left out{}", if count == 0 { "" } else { ":" });
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "  {}:{}: {} ({})", line.file.display(), line.line, line.text, line.reason);
    }
    if count > SHOWN {
        let _ = writeln!(text, "  and {} more", count - SHOWN);
    }
}

fn to_csv(lists: &Lists) -> String {
    let mut out = String::from("cidr,label,source\n");
    for Listed { network, label, source } in lists.iter() {
        let quoted = if source.contains([',', '"', '\n']) {
            format!("\"{}\"", source.replace('"', "\"\""))
        } else {
            source.to_owned()
        };
        let _ = writeln!(out, "{network},{label},{quoted}");
    }
    out
}

/// Writes a file whole or not at all: a run that reads it meanwhile sees the old one.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let mut file = tempfile::Builder::new()
        .permissions(readable())
        .tempfile_in(folder)
        .with_context(|| format!("can't write {}", folder.display()))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let path = folder.join(name);
    file.persist(&path).with_context(|| format!("can't write {}", path.display()))?;
    Ok(())
}

/// What others may do with a table: read it.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

fn run_lookup(lookup: &IntelLookup) -> anyhow::Result<String> {
    let (tools, lists) = match &lookup.intel {
        Some(folder) => read(folder)?,
        None => Default::default(),
    };
    let mut text = String::new();
    match lookup.what.parse::<IpAddr>() {
        Ok(ip) => {
            let places = Places::open(lookup.geo_csv.as_deref(), lookup.geo_city.as_deref(), lookup.geo_asn.as_deref())
                .map_err(|error| Wrong(error.to_string()))?;
            address(&mut text, ip, &lists, &places);
        }
        Err(_) => name(&mut text, &lookup.what, &tools),
    }
    Ok(text)
}

fn address(text: &mut String, ip: IpAddr, lists: &Lists, places: &Places) {
    if let Some(Listed { network, label, source }) = lists.lookup(ip) {
        let _ = writeln!(text, "{ip}: {label}, in {network} ({source})");
    }
    if let Some(place) = places.lookup(ip) {
        let words = [&place.city, &place.region, &place.country].into_iter().flatten().cloned().collect::<Vec<_>>();
        let _ = writeln!(text, "{ip}: {} ({})", words.join(", "), place.located_by.map_or("no source", |by| by.name()));
        if let Some(asn) = place.asn {
            let _ = writeln!(text, "{ip}: AS{asn} {}, {}", place.org.as_deref().unwrap_or_default(), place.kind);
        }
    }
    if text.is_empty() {
        let _ = writeln!(text, "{ip}: nothing is known of it");
    }
}

fn name(text: &mut String, host: &str, tools: &Tools) {
    for (protocol, sign) in signs(host) {
        let shows = match sign.shows {
            Shows::Mention => "its maker's domain: no sign of a session",
            Shows::Likely => "its service: a connection there is likely a session",
            Shows::Certain => "nobody else uses it",
        };
        let _ = writeln!(text, "{host}: {} ({}), {shows} (built in)", protocol.name, protocol.category.name());
    }
    for hit in tools.lookup(host) {
        let shared = if hit.shared { ", shared hosting: never ground for a verdict" } else { "" };
        let _ = writeln!(
            text,
            "{host}: {} ({}){shared} ({}, {})",
            hit.tool.name, hit.tool.class, hit.domain, hit.tool.source
        );
    }
    if text.is_empty() {
        let _ = writeln!(text, "{host}: nothing is known of it");
    }
}

/// The entries that a server name gives away, the surest first, each once.
fn signs(host: &str) -> Vec<(&'static Protocol, &'static Sign)> {
    let mut found: Vec<(&Protocol, &Sign)> = Vec::new();
    for protocol in REGISTRY {
        let best = protocol.signs.iter().filter(|sign| sign.key.ends_with(".sni") || sign.key == "http.host");
        if let Some(sign) = best.filter(|sign| sign.fits(host)).max_by_key(|sign| sign.shows) {
            found.push((protocol, sign));
        }
    }
    found.sort_by_key(|(protocol, sign)| (std::cmp::Reverse(sign.shows), protocol.name));
    found
}
