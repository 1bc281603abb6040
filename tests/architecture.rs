//! The house itself: who may import whom, what stands in the registries, and what every file must have.
//!
//! Reads: the text of `src/` and the names in `docs/protocols/`. Fails with file and line.
//! Does not: expand macros or resolve names as the compiler does. It sees paths that begin with `crate::`, `super::` or
//! `self::`; forms that would get past it (`crate::{`, `super::super::`) are violations themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// The layer table: each room, lowest first, and the rooms it may import. Nothing else may be imported.
const ROOMS: &[(&str, &[&str])] = &[
    // L0
    ("base", &[]),
    // L1: base only, never each other
    ("source", &["base"]),
    ("wire", &["base"]),
    ("intel", &["base"]),
    ("simulate", &["base"]),
    ("protocol::codec", &["base"]),
    // L2
    ("flow", &["base", "wire"]),
    // L3: never each other
    ("protocol", &["base", "wire", "flow", "protocol::codec"]),
    ("meter", &["base", "wire", "flow"]),
    // L4
    ("session", &["base", "wire", "flow", "protocol", "meter"]),
    // L5
    ("fingerprint", &["base", "flow", "session"]),
    // L6
    ("evidence", &["base", "flow", "session", "fingerprint", "intel"]),
    // L7; sink writes what all rooms below made
    ("sink", &["base", "wire", "intel", "flow", "protocol", "session", "fingerprint", "evidence"]),
    ("pipeline", &["base", "wire", "intel", "flow", "protocol", "meter", "session", "fingerprint", "evidence"]),
    ("state", &["base", "evidence"]),
    // L8: everything
    ("cli", EVERYTHING),
    ("app", EVERYTHING),
    ("main", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "base",
    "source",
    "wire",
    "intel",
    "simulate",
    "flow",
    "protocol",
    "meter",
    "session",
    "fingerprint",
    "evidence",
    "sink",
    "pipeline",
    "state",
    "cli",
    "app",
];

/// Rooms with one thing a file: files in there never import each other, so that each can be read, added and removed
/// alone.
const LEAF_ROOMS: &[&str] = &["protocol", "meter", "evidence::rules", "sink"];

/// Rooms whose files nobody outside may name: they are reached through the registry in the room's `mod.rs`.
const REGISTERED: &[(&str, &str)] = &[("protocol", "REGISTRY")];

/// The most lines a file may have, tests not counted.
const MAX_LINES: usize = 800;

/// Something against the rules of the house.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// The sources, by path from the root of the repository; the pages in `docs/protocols/`, by file name; and the names
/// of the protocols that are registered.
#[derive(Debug, Default)]
struct House {
    sources: BTreeMap<String, String>,
    pages: BTreeSet<String>,
    protocols: BTreeSet<String>,
}

impl House {
    fn read(root: &Path) -> Self {
        let mut house = Self::default();
        let mut folders = vec![root.join("src")];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                    // What cannot be read has no head, and is told.
                    house.sources.insert(name, std::fs::read_to_string(&path).unwrap_or_default());
                }
            }
        }
        house.pages = entries(&root.join("docs/protocols"))
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        house.protocols = farmlight::protocol::REGISTRY.iter().map(|protocol| protocol.name.to_owned()).collect();
        house
    }

    fn violations(&self) -> Vec<Violation> {
        let files: Vec<File> = self.sources.iter().map(|(name, text)| File::parse(name, text)).collect();
        let test_only: BTreeSet<Vec<String>> = files.iter().flat_map(|file| file.test_modules.clone()).collect();
        let files: Vec<File> = files.into_iter().filter(|file| !test_only.contains(&file.module)).collect();
        let modules: BTreeSet<Vec<String>> = files.iter().map(|file| file.module.clone()).collect();

        let mut found = Vec::new();
        for file in &files {
            file.check_form(&mut found);
            file.check_imports(&modules, &mut found);
        }
        for (room, registry) in REGISTERED {
            self.check_registry(room, registry, &files, &mut found);
        }
        found.sort();
        found.dedup();
        found
    }

    /// Every file of the room stands in its registry and has a page; every page has a file, or a protocol of that name
    /// (a file may register several).
    fn check_registry(&self, room: &str, registry: &str, files: &[File], found: &mut Vec<Violation>) {
        let Some(hall) = files.iter().find(|file| file.module == segments(room)) else { return };
        let table = hall.code.split_once(&format!("{registry}:")).and_then(|(_, rest)| rest.split_once("];"));
        let table: String = table.map_or("", |(table, _)| table).split_whitespace().collect();
        let stems: BTreeSet<&str> = files
            .iter()
            .filter(|file| room_of(&file.module) == Some(room))
            .filter_map(|file| file.module.get(1).map(String::as_str))
            .collect();
        for stem in &stems {
            if !table.contains(&format!("&{stem}::")) {
                found.push(hall.violation(0, format!("{stem} does not stand in {registry}")));
            }
            if ![(*stem).to_owned(), stem.replace('_', "-")]
                .iter()
                .any(|name| self.pages.contains(&format!("{name}.md")))
            {
                found.push(hall.violation(0, format!("{stem} has no page docs/{room}s/{stem}.md")));
            }
        }
        for page in self.pages.iter().filter_map(|page| page.strip_suffix(".md")).filter(|page| *page != "README") {
            if !stems.contains(page.replace('-', "_").as_str()) && !self.protocols.contains(page) {
                found.push(hall.violation(0, format!("docs/{room}s/{page}.md tells of a file that is not there")));
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// One source file, its comments, texts and test modules blanked out (line ends stay).
#[derive(Debug)]
struct File {
    name: String,
    /// Where it stands in the crate: `src/protocol/rdp.rs` is `protocol`, `rdp`.
    module: Vec<String>,
    first_line: String,
    lines_without_tests: usize,
    code: String,
    /// Modules that it declares for tests only.
    test_modules: Vec<Vec<String>>,
}

impl File {
    fn parse(name: &str, text: &str) -> Self {
        let mut module = segments(&name.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::"));
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        let (code, test_items) = without_tests(&code_only(text));
        let lines_of_tests: usize = test_items.iter().map(|item| item.lines().count()).sum();
        let test_modules = test_items
            .iter()
            .filter_map(|item| item.strip_suffix(';')?.split_once("mod ").map(|(_, name)| name.trim().to_owned()))
            .map(|name| module.iter().cloned().chain([name]).collect())
            .collect();
        Self {
            name: name.to_owned(),
            first_line: text.lines().next().unwrap_or_default().to_owned(),
            lines_without_tests: text.lines().count().saturating_sub(lines_of_tests),
            module,
            code,
            test_modules,
        }
    }

    /// A violation at a byte of `code`.
    fn violation(&self, at: usize, what: String) -> Violation {
        let line = 1 + self.code.bytes().take(at).filter(|byte| *byte == b'\n').count();
        Violation { file: self.name.clone(), line, what }
    }

    fn check_form(&self, found: &mut Vec<Violation>) {
        if !self.first_line.starts_with("//!") {
            found.push(self.violation(0, "does not begin with //!, saying what the file is for".to_owned()));
        }
        if self.lines_without_tests > MAX_LINES {
            let what = format!("has {} lines without tests, more than {MAX_LINES}", self.lines_without_tests);
            found.push(self.violation(0, what));
        }
        for (at, _) in words(&self.code, "unsafe") {
            found.push(self.violation(at, "unsafe".to_owned()));
        }
    }

    fn check_imports(&self, modules: &BTreeSet<Vec<String>>, found: &mut Vec<Violation>) {
        // The map of the crate names all rooms; it imports none.
        let Some(room) = room_of(&self.module) else {
            if !self.module.is_empty() {
                found.push(self.violation(0, format!("{} is no room of the layer table", self.module.join("::"))));
            }
            return;
        };
        let allowed = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, allowed)| allowed);
        for (at, path) in self.paths(found) {
            let shown = format!("crate::{}", path.join("::"));
            let Some(target) = room_of(&path) else {
                found.push(self.violation(at, format!("{shown} is in no room of the layer table")));
                continue;
            };
            if target != room && !allowed.contains(&target) {
                found.push(self.violation(at, format!("{room} must not import {target} ({shown})")));
            }
            let by_name = REGISTERED.iter().any(|(registered, _)| *registered == target);
            if target != room && by_name && modules.contains(&file_of(&path, target)) {
                found.push(self.violation(at, format!("{shown} names a file of {target}: use what its mod.rs gives")));
            }
            for leaf in LEAF_ROOMS {
                if let Some(sibling) = self.sibling(leaf, &path, modules) {
                    found.push(
                        self.violation(at, format!("{shown}: files of {leaf} never import each other ({sibling})")),
                    );
                }
            }
        }
    }

    /// The other file of the leaf room that `path` leads to, if this is one of the leaf room's files.
    fn sibling(&self, leaf: &str, path: &[String], modules: &BTreeSet<Vec<String>>) -> Option<String> {
        let depth = segments(leaf).len();
        let ours = self.module.get(depth).filter(|_| self.module.starts_with(&segments(leaf)))?;
        let theirs = path.get(depth).filter(|_| path.starts_with(&segments(leaf)))?;
        let own_room = |module: &[String]| ROOMS.iter().any(|(room, _)| segments(room) == module);
        let is_file = modules.contains(path.get(..=depth)?) && !own_room(path.get(..=depth)?);
        (is_file && ours != theirs && !own_room(self.module.get(..=depth)?)).then(|| theirs.clone())
    }

    /// Every path into the crate, from its root, with the byte where it begins.
    fn paths(&self, found: &mut Vec<Violation>) -> Vec<(usize, Vec<String>)> {
        let mut paths = Vec::new();
        for (start, base) in [("crate", &[][..]), ("self", &self.module), ("super", self.parent())] {
            for (at, rest) in words(&self.code, start) {
                let Some(rest) = rest.trim_start().strip_prefix("::") else { continue };
                if start != "crate" && self.code.get(..at).is_some_and(|before| before.trim_end().ends_with("::")) {
                    continue;
                }
                let rest = rest.trim_start();
                if start == "crate" && rest.starts_with('{') {
                    found.push(self.violation(at, "crate::{ groups rooms: write one line a room".to_owned()));
                }
                let tree = use_tree(rest);
                if tree.iter().any(|path| path.first().is_some_and(|first| first == "super")) {
                    found
                        .push(self.violation(at, "super::super:: hides where it leads: begin with crate::".to_owned()));
                }
                let complete = |path: Vec<String>| base.iter().cloned().chain(path).collect();
                paths.extend(tree.into_iter().map(complete).map(|path| (at, path)));
            }
        }
        paths
    }

    fn parent(&self) -> &[String] {
        self.module.split_last().map_or(&[][..], |(_, parent)| parent)
    }
}

/// The room of a module: `protocol::codec::inbox` is in `protocol::codec`, `protocol::rdp` in `protocol`.
fn room_of(module: &[String]) -> Option<&'static str> {
    let holds = |room: &&(&str, _)| module.starts_with(&segments(room.0));
    ROOMS.iter().filter(holds).max_by_key(|(room, _)| segments(room).len()).map(|(room, _)| *room)
}

/// The module of the file in `room` that a path leads into.
fn file_of(path: &[String], room: &str) -> Vec<String> {
    path.iter().take(segments(room).len() + 1).cloned().collect()
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

/// Where `word` stands as a word of its own, and what follows it.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = (code.get(..at)?, code.get(at + word.len()..)?);
        (!before.ends_with(of_name) && !rest.starts_with(of_name)).then_some((at, rest))
    })
}

/// The paths of a use tree or of an expression: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn use_tree(code: &str) -> Vec<Vec<String>> {
    fn tree(code: &mut &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
        *code = code.trim_start();
        if let Some(rest) = code.strip_prefix('{') {
            *code = rest;
            loop {
                *code = code.trim_start();
                match code.chars().next() {
                    Some('}') | None => {
                        *code = code.get(1..).unwrap_or_default();
                        return;
                    }
                    Some(c) if c.is_alphanumeric() || matches!(c, '_' | '*' | '{') => tree(code, prefix, paths),
                    Some(c) => *code = code.get(c.len_utf8()..).unwrap_or_default(),
                }
            }
        }
        let end = code.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '*'))).unwrap_or(code.len());
        let (name, rest) = code.split_at(end);
        *code = rest;
        let path: Vec<String> = prefix.iter().cloned().chain([name.to_owned()]).collect();
        match code.trim_start().strip_prefix("::") {
            // A turbofish ends the path.
            Some(rest) if !name.is_empty() && !rest.trim_start().starts_with('<') => {
                *code = rest;
                tree(code, &path, paths);
            }
            _ => {
                // In a group, `as other` and the like are skipped up to the next comma.
                let end = code.find([',', '}', '{', ';', '(', ')']).unwrap_or(code.len());
                if !prefix.is_empty() || !name.is_empty() {
                    paths.push(path);
                }
                if code.get(..end).is_some_and(|rest| rest.trim_start().starts_with("as ")) {
                    *code = code.get(end..).unwrap_or_default();
                }
            }
        }
    }
    let (mut rest, mut paths) = (code, Vec::new());
    tree(&mut rest, &[], &mut paths);
    paths
}

/// The text with comments, string and character literals turned into blanks; every line keeps its number.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after_name = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !after_name => literal_with_prefix(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let (gone, kept) = rest.split_at(skipped);
        out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = kept;
        if skipped == 0 {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// Length of the block comment at the beginning; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of the string at the beginning, both quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `b"…"`, `c"…"`, `b'…'` or a raw string at the beginning; 0 if it is a name.
fn literal_with_prefix(text: &str) -> usize {
    let prefix = text.find(|c: char| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(text.len());
    let (letters, rest) = text.split_at(prefix);
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = rest.get(hashes..).unwrap_or_default();
    if letters.contains('r') && letters.len() <= 2 && body.starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let close = body.get(1..).and_then(|body| body.find(&end)).map_or(body.len(), |at| 1 + at + end.len());
        prefix + hashes + close
    } else if letters.len() == 1 && hashes == 0 && body.starts_with('"') {
        prefix + string(body)
    } else if letters == "b" && hashes == 0 && body.starts_with('\'') {
        prefix + character(body)
    } else {
        0
    }
}

/// Length of the character literal at the beginning; 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // The escaped character may itself be a quote.
            text.get(3..).and_then(|rest| rest.find('\'')).map_or(text.len(), |at| 3 + at + 1)
        }
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// Blanks out the items under `#[cfg(test)]`; gives the code that is left, and those items.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut items, mut rest) = (String::with_capacity(code.len()), Vec::new(), code);
    while let Some((before, from)) = rest.find(MARK).and_then(|at| rest.split_at_checked(at)) {
        let (item, after) = from.split_at(item_end(from));
        out.push_str(before);
        out.extend(item.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        items.push(item.to_owned());
        rest = after;
    }
    out.push_str(rest);
    (out, items)
}

/// Where the item at the beginning ends: after its `;`, or after the brace that closes its first.
fn item_end(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn the_house_keeps_its_rules() {
    let house = House::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(house.sources.len() > 15, "found {} sources only", house.sources.len());
    let found = house.violations();
    let told: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert!(found.is_empty(), "{} against the rules of the house:\n{}", found.len(), told.join("\n"));
}

#[test]
fn names_in_the_registry_are_unique_and_kebab() {
    let names: Vec<&str> = farmlight::protocol::REGISTRY.iter().map(|protocol| protocol.name).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len(), "a name stands twice: {names:?}");
    for name in names {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(!name.is_empty() && name.chars().all(kebab), "{name} is not lower-case kebab");
    }
}

#[test]
fn the_layer_table_only_goes_down() {
    for (at, (room, allowed)) in ROOMS.iter().enumerate().filter(|(_, (_, allowed))| *allowed != EVERYTHING) {
        for lower in *allowed {
            let below = ROOMS.iter().position(|(name, _)| name == lower).expect("a room of the table");
            assert!(below < at, "{room} stands below {lower}");
        }
    }
}

/// The checker itself, on houses of a few lines.
mod checker {
    use super::*;

    /// What the checker says of these files, each with a head, and of pages for each file in `src/protocol/`.
    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let mut house = House::default();
        for (name, text) in files {
            house.sources.insert((*name).to_owned(), format!("//! Head.\n{text}"));
            let stem = name.strip_prefix("src/protocol/").and_then(|name| name.strip_suffix(".rs"));
            if let Some(stem) = stem.filter(|stem| *stem != "mod" && !stem.contains('/')) {
                house.pages.insert(format!("{stem}.md"));
            }
        }
        house.violations().iter().map(Violation::to_string).collect()
    }

    const HALL: (&str, &str) = (
        "src/protocol/mod.rs",
        "mod rdp;\nmod tls;\npub static REGISTRY: &[&Protocol] = &[\n    &rdp::PROTOCOL,\n    &tls::PROTOCOL,\n];\n",
    );

    #[test]
    fn lower_rooms_and_the_own_room_may_be_imported() {
        assert_eq!(
            told(&[
                ("src/lib.rs", "pub mod base;\npub mod flow;\n"),
                ("src/flow/mod.rs", "mod key;\nuse crate::base::{Timestamp, Direction};\nuse crate::wire::Packet;\n"),
                ("src/flow/key.rs", "use super::Flow;\nuse self::inner::X;\nuse crate::flow::Other;\n"),
                ("src/app.rs", "use crate::pipeline::Engine;\nuse crate::sink::SINKS;\n"),
                HALL,
                ("src/protocol/rdp.rs", "use super::{Events, codec::Inbox};\nuse crate::protocol::codec::tpkt;\n"),
                ("src/protocol/tls.rs", "use crate::protocol::Events;\nuse super::codec::Inbox;\n"),
                ("src/protocol/codec/tpkt.rs", "use super::inbox::Inbox;\nuse crate::base::Reader;\n"),
                ("src/protocol/codec/inbox.rs", "use crate::base::Timestamp;\n"),
                ("src/session/mod.rs", "use crate::protocol::{Event, REGISTRY};\n"),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn an_upward_import_is_told_with_file_and_line() {
        for (file, line, said) in [
            (
                "src/flow/mod.rs",
                "use crate::protocol::Event;",
                "flow must not import protocol (crate::protocol::Event)",
            ),
            ("src/wire/vlan.rs", "use crate::source::Next;", "wire must not import source (crate::source::Next)"),
            ("src/simulate/x.rs", "use crate::wire::Packet;", "simulate must not import wire (crate::wire::Packet)"),
            (
                "src/meter/x.rs",
                "use crate::protocol::Event;",
                "meter must not import protocol (crate::protocol::Event)",
            ),
            ("src/pipeline/x.rs", "use crate::sink::SINKS;", "pipeline must not import sink (crate::sink::SINKS)"),
            ("src/pipeline/x.rs", "use crate::source::Next;", "pipeline must not import source (crate::source::Next)"),
            ("src/sink/mod.rs", "use crate::app::Run;", "sink must not import app (crate::app::Run)"),
            ("src/evidence/x.rs", "fn f() { crate::wire::f() }", "evidence must not import wire (crate::wire::f)"),
            (
                "src/base/mod.rs",
                "use crate::wire::{\n    Packet,\n};",
                "base must not import wire (crate::wire::Packet)",
            ),
            ("src/flow/x.rs", "use crate :: meter :: Rtt;", "flow must not import meter (crate::meter::Rtt)"),
            ("src/flow/x.rs", "use crate::attic::X;", "crate::attic::X is in no room of the layer table"),
        ] {
            assert_eq!(told(&[(file, &format!("\n{line}\n"))]), [format!("{file}:3: {said}")], "{line}");
        }
    }

    #[test]
    fn the_codec_is_a_room_of_its_own() {
        assert_eq!(
            told(&[("src/protocol/codec/x.rs", "use crate::protocol::Event;\nuse super::y::Y;\n")]),
            ["src/protocol/codec/x.rs:2: protocol::codec must not import protocol (crate::protocol::Event)"]
        );
    }

    #[test]
    fn forms_that_hide_where_they_lead_are_refused() {
        assert_eq!(
            told(&[("src/app.rs", "use crate::{base, sink};\n")]),
            ["src/app.rs:2: crate::{ groups rooms: write one line a room"]
        );
        let said = told(&[("src/flow/a/b.rs", "use super::super::Flow;\n")]);
        assert!(said.iter().any(|said| said.starts_with("src/flow/a/b.rs:2: super::super:: hides")), "{said:?}");
        let said = told(&[("src/flow/a/b.rs", "use super::{C, super::Flow};\n")]);
        assert!(said.iter().any(|said| said.starts_with("src/flow/a/b.rs:2: super::super:: hides")), "{said:?}");
        let said = told(&[("src/flow/mod.rs", "use crate::{base::Timestamp, meter::Rtt};\n")]);
        assert!(
            said.contains(&"src/flow/mod.rs:2: flow must not import meter (crate::meter::Rtt)".to_owned()),
            "{said:?}"
        );
    }

    #[test]
    fn files_of_a_leaf_room_never_import_each_other() {
        for import in ["use crate::protocol::tls::Tls;", "use super::tls::Tls;", "use super::{Events, tls::{A, B}};"] {
            let said = told(&[HALL, ("src/protocol/rdp.rs", import), ("src/protocol/tls.rs", "")]);
            assert!(!said.is_empty(), "{import}");
            let tells = |said: &String| said.starts_with("src/protocol/rdp.rs:2: ") && said.ends_with("(tls)");
            assert!(said.iter().all(tells), "{import}: {said:?}");
        }
        let rules = [("src/evidence/rules/a.rs", "use crate::evidence::rules::b::f;"), ("src/evidence/rules/b.rs", "")];
        assert_eq!(told(&rules).len(), 1);
        assert_eq!(told(&[("src/sink/a.rs", "use super::b::f;"), ("src/sink/b.rs", "use super::Sink;")]).len(), 1);
    }

    #[test]
    fn nobody_outside_names_a_protocols_file() {
        let outside = ("src/session/mod.rs", "use crate::protocol::rdp::Rdp;");
        assert_eq!(
            told(&[HALL, ("src/protocol/rdp.rs", ""), ("src/protocol/tls.rs", ""), outside]),
            ["src/session/mod.rs:2: crate::protocol::rdp::Rdp names a file of protocol: use what its mod.rs gives"]
        );
    }

    #[test]
    fn a_file_without_registry_line_or_page_is_told() {
        let files = [HALL, ("src/protocol/rdp.rs", ""), ("src/protocol/tls.rs", ""), ("src/protocol/ssh.rs", "")];
        assert_eq!(told(&files), ["src/protocol/mod.rs:1: ssh does not stand in REGISTRY"]);

        let mut house = House::default();
        house.sources.insert("src/protocol/mod.rs".into(), "//! x\nstatic REGISTRY: X = &[&a::P, &c_d::P];\n".into());
        house.sources.insert("src/protocol/a.rs".into(), "//! x\n".into());
        house.sources.insert("src/protocol/c_d.rs".into(), "//! x\n".into());
        house.pages = ["b.md", "c-d.md", "a-too.md", "README.md"].map(str::to_owned).into();
        house.protocols.insert("a-too".into());
        let said: Vec<String> = house.violations().iter().map(|violation| violation.what.clone()).collect();
        assert_eq!(
            said,
            ["a has no page docs/protocols/a.md", "docs/protocols/b.md tells of a file that is not there"]
        );
    }

    #[test]
    fn tests_comments_and_texts_do_not_count() {
        let text = "/// See [`crate::sink::Sink`].\n/* crate::sink /* unsafe */ crate::app */\n\
            fn f<'a>(x: &'a str) -> char { let _ = (\"crate::sink::x\", r#\"unsafe \" crate::app\"#, b\"unsafe\", '\"', '\\''); 'c' }\n\
            #[cfg(test)]\nmod tests {\n    use crate::sink::X;\n    fn g() { let _ = \"}\"; }\n}\n";
        assert_eq!(told(&[("src/flow/x.rs", text)]), [""; 0]);
        let after = format!("{text}use crate::sink::X;\n");
        assert_eq!(
            told(&[("src/flow/x.rs", &after)]),
            ["src/flow/x.rs:10: flow must not import sink (crate::sink::X)"]
        );
        let kit =
            [("src/meter/mod.rs", "#[cfg(test)]\npub(crate) mod kit;"), ("src/meter/kit.rs", "use crate::app::X;")];
        assert_eq!(told(&kit), [""; 0]);
    }

    #[test]
    fn long_headless_and_unsafe_files_are_told() {
        let long = "fn f() {}\n".repeat(MAX_LINES);
        assert_eq!(told(&[("src/flow/x.rs", &long)]), ["src/flow/x.rs:1: has 801 lines without tests, more than 800"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(told(&[("src/flow/x.rs", &tests)]), [""; 0]);
        assert_eq!(told(&[("src/flow/x.rs", "fn f() { unsafe { g() } }")]), ["src/flow/x.rs:2: unsafe"]);
        assert_eq!(told(&[("src/flow/x.rs", "#![forbid(unsafe_code)]")]), [""; 0]);

        let mut house = House::default();
        house.sources.insert("src/flow/x.rs".into(), "fn f() {}\n".into());
        assert_eq!(house.violations().len(), 1);
        house.sources.insert("src/attic.rs".into(), "//! x\n".into());
        assert_eq!(house.violations().len(), 2);
    }
}
