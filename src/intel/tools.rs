//! Remote-management tools by the names of their servers, as imported from a public list.
//!
//! Reads: LOLRMM's YAML files (a folder or one file) and its JSON; the table that an import wrote. Emits: the tools whose
//! service a host name belongs to. Does not: take what is no clean host name (an address, a pattern inside a label, a
//! word such as `user_managed`): each such entry is told and left out. A name of shared hosting is kept, marked so: it
//! names a building, not a tenant, and must never carry a verdict.
//!
//! Reference: the format of magicsword-io/LOLRMM (Apache-2.0), as its repository documents it.

use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Why tools could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// A file or folder can't be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is neither of the forms.
    #[error("{path}: {reason}", path = path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing to import.
    #[error("{path} holds no .yaml, .yml or .json file", path = path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
}

/// A tool of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name there.
    pub name: String,
    /// What the list takes it for (`RMM`, `RAT`).
    pub class: String,
    /// Who says so.
    pub source: String,
    /// Ports that it is said to use: hints only.
    pub ports: Vec<u16>,
}

/// A host name of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Index of the tool.
    tool: usize,
    /// Names below it count, not the name itself.
    below: bool,
    /// Many tenants share the domain.
    shared: bool,
}

/// What is known of a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolHit<'a> {
    /// The tool.
    pub tool: &'a Tool,
    /// The host name of the list that fits.
    pub domain: &'a str,
    /// Whether that is a domain that many tenants share: never ground for a verdict.
    pub shared: bool,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// The entry.
    pub entry: String,
    /// Why.
    pub reason: &'static str,
}

/// Tools by host name.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    tools: Vec<Tool>,
    domains: HashMap<String, Vec<Pattern>>,
    refused: Vec<Refused>,
}

/// Domains under which anybody can have a name: cloud storage, content delivery, hosting, code hosting. Facts of the
/// operators' own documentation; not complete, so a hit on an unknown shared host is possible and is only a hint.
const SHARED: &[&str] = &[
    "akadns.net",
    "akamai.net",
    "akamaized.net",
    "amazonaws.com",
    "appspot.com",
    "azure-api.net",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "blob.core.windows.net",
    "cloudapp.azure.com",
    "cloudapp.net",
    "cloudflarestorage.com",
    "cloudfront.net",
    "core.windows.net",
    "digitaloceanspaces.com",
    "fastly.net",
    "firebaseio.com",
    "github.com",
    "github.io",
    "githubusercontent.com",
    "googleapis.com",
    "googleusercontent.com",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "oraclecloud.com",
    "pages.dev",
    "trafficmanager.net",
    "vercel.app",
    "web.app",
    "windows.net",
    "workers.dev",
];

/// One file of the list: only what is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    artifacts: Option<Artifacts>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Artifacts {
    #[serde(default)]
    network: Option<Vec<Network>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    #[serde(default)]
    domains: Option<Vec<String>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Port {
    Number(i64),
    Word(String),
}

impl Port {
    fn number(&self) -> Option<u16> {
        match self {
            Self::Number(number) => u16::try_from(*number).ok(),
            Self::Word(word) => word.trim().parse().ok(),
        }
    }
}

/// Files beyond this size are no entries of the list.
const MAX_FILE: u64 = 16 << 20;

impl Tools {
    /// Imports LOLRMM: a folder of YAML files, one of them, or the JSON array of all.
    ///
    /// # Errors
    /// Nothing could be read. A single file that can't be understood is told as refused.
    pub fn import_lolrmm(path: &Path) -> Result<Self, ToolError> {
        let mut tools = Self::default();
        let mut files = Vec::new();
        collect(path, &mut files)?;
        if files.is_empty() {
            return Err(ToolError::Nothing { path: path.to_owned() });
        }
        files.sort();
        for file in &files {
            let text = text_of(file)?;
            if file.extension().is_some_and(|ext| ext == "json") {
                let entries: Vec<Entry> = serde_json::from_str(&text)
                    .map_err(|error| ToolError::Form { path: file.clone(), reason: error.to_string() })?;
                entries.into_iter().for_each(|entry| tools.add(entry, file));
            } else {
                match serde_saphyr::from_str::<Entry>(&text) {
                    Ok(entry) => tools.add(entry, file),
                    Err(_) => tools.refuse(file, "the file", "not an entry of the list"),
                }
            }
        }
        Ok(tools)
    }

    fn add(&mut self, entry: Entry, file: &Path) {
        let at = self.tools.len();
        let mut ports = Vec::new();
        let networks = entry.artifacts.and_then(|artifacts| artifacts.network).unwrap_or_default();
        self.tools.push(Tool {
            name: entry.name.trim().to_owned(),
            class: entry.category.unwrap_or_default(),
            source: "lolrmm".to_owned(),
            ports: Vec::new(),
        });
        for network in networks {
            ports.extend(network.ports.iter().flatten().filter_map(Port::number));
            for domain in network.domains.unwrap_or_default() {
                match clean(&domain) {
                    Ok((host, below)) => self.insert(host, at, below),
                    Err(reason) => self.refuse(file, &domain, reason),
                }
            }
        }
        ports.sort_unstable();
        ports.dedup();
        if let Some(tool) = self.tools.get_mut(at) {
            tool.ports = ports;
        }
    }

    fn insert(&mut self, host: String, tool: usize, below: bool) {
        let shared = is_shared(&host);
        let patterns = self.domains.entry(host).or_default();
        let pattern = Pattern { tool, below, shared };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }

    fn refuse(&mut self, file: &Path, entry: &str, reason: &'static str) {
        self.refused.push(Refused { file: file.to_owned(), entry: entry.to_owned(), reason });
    }

    /// The tools whose service `host` belongs to, those named most closely first.
    #[must_use]
    pub fn lookup(&self, host: &str) -> Vec<ToolHit<'_>> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let mut hits = Vec::new();
        let mut rest = Some(host.as_str());
        while let Some(name) = rest {
            let whole = name.len() == host.len();
            if let Some((domain, patterns)) = self.domains.get_key_value(name) {
                for pattern in patterns.iter().filter(|pattern| pattern.below != whole) {
                    if let Some(tool) = self.tools.get(pattern.tool) {
                        hits.push(ToolHit { tool, domain, shared: pattern.shared });
                    }
                }
            }
            rest = name.split_once('.').map(|(_, parent)| parent);
        }
        hits
    }

    /// The tools.
    #[must_use]
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Host names, of how many tools, and how many of them are shared.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let patterns = || self.domains.values().flatten();
        let mut tools: Vec<usize> = patterns().map(|pattern| pattern.tool).collect();
        tools.sort_unstable();
        tools.dedup();
        (patterns().count(), tools.len(), patterns().filter(|pattern| pattern.shared).count())
    }

    /// What was left out.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The table that [`Tools::read`] reads: CSV with the header `tool,class,host,shared,ports,source`, in order.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut rows: Vec<(String, &Tool, bool)> = Vec::new();
        for (host, patterns) in &self.domains {
            for pattern in patterns {
                if let Some(tool) = self.tools.get(pattern.tool) {
                    rows.push((if pattern.below { format!("*.{host}") } else { host.clone() }, tool, pattern.shared));
                }
            }
        }
        rows.sort_by(|a, b| (&a.1.name, &a.0).cmp(&(&b.1.name, &b.0)));
        let mut out = String::from("tool,class,host,shared,ports,source\n");
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        for (host, tool, shared) in rows {
            let ports = tool.ports.iter().fold(String::new(), |mut ports, port| {
                let _ = write!(ports, "{}{port}", if ports.is_empty() { "" } else { " " });
                ports
            });
            // Writing rows of as many fields each to memory can't fail.
            let shared = if shared { "shared" } else { "" };
            drop(writer.write_record([&tool.name, &tool.class, &host, shared, &ports, &tool.source]));
        }
        out.push_str(&String::from_utf8_lossy(&writer.into_inner().unwrap_or_default()));
        out
    }

    /// Reads a table that an import wrote.
    ///
    /// # Errors
    /// The file can't be read, or isn't such a table.
    pub fn read(path: &Path) -> Result<Self, ToolError> {
        let text = text_of(path)?;
        let form = |reason: String| ToolError::Form { path: path.to_owned(), reason };
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| form(e.to_string()))?;
        if *header != ["tool", "class", "host", "shared", "ports", "source"][..] {
            return Err(form("the header is not tool,class,host,shared,ports,source".to_owned()));
        }
        let mut tools = Self::default();
        let mut known = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| form(e.to_string()))?;
            let field = |i| record.get(i).unwrap_or_default();
            let line = record.position().map_or(0, csv::Position::line);
            let (host, below) =
                clean(field(2)).map_err(|reason| form(format!("line {line}: {}: {reason}", field(2))))?;
            let at = *known.entry((field(0).to_owned(), field(5).to_owned())).or_insert_with(|| {
                tools.tools.push(Tool {
                    name: field(0).to_owned(),
                    class: field(1).to_owned(),
                    source: field(5).to_owned(),
                    ports: field(4).split_whitespace().filter_map(|port| port.parse().ok()).collect(),
                });
                tools.tools.len() - 1
            });
            tools.insert(host, at, below);
        }
        Ok(tools)
    }
}

/// A host name in lower case, and whether only names below it are meant; or why it is none.
fn clean(entry: &str) -> Result<(String, bool), &'static str> {
    let entry = entry.trim().to_ascii_lowercase();
    let (host, below) = match entry.strip_prefix("*.") {
        Some(host) => (host, true),
        None => (entry.as_str(), false),
    };
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Err("an address, not a name");
    }
    if host.contains(['*', '[', '{', '?', '\\', '(']) {
        return Err("a pattern inside a label");
    }
    if host.contains([':', '/', '<', ' ']) {
        return Err("more than a host name");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.contains('.') {
        return Err("a word, not a host name");
    }
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("not a host name");
    }
    Ok((host.to_owned(), below))
}

fn is_shared(host: &str) -> bool {
    SHARED
        .iter()
        .any(|shared| host.strip_suffix(shared).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), ToolError> {
    let trouble = |source| ToolError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(trouble)?.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(trouble)? {
        let entry = entry.map_err(trouble)?.path();
        if entry.is_dir() {
            collect(&entry, files)?;
        } else if entry.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json") {
            files.push(entry);
        }
    }
    Ok(())
}

fn text_of(path: &Path) -> Result<String, ToolError> {
    let trouble = |source| ToolError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(trouble)?.len() > MAX_FILE {
        return Err(ToolError::Form { path: path.to_owned(), reason: format!("more than {MAX_FILE} bytes") });
    }
    let bytes = std::fs::read(path).map_err(trouble)?;
    Ok(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTRY: &str = "Name: Example Remote\nCategory: RMM\nDescription: 'a: b'\nArtifacts:\n    Disk: []\n    Network:\n        \
                         - Description: Known remote domains\n          Domains:\n              - example-remote.com\n              \
                         - '*.relay.example-remote.com'\n              - relay-[a-f]{8}.example-remote.com:443\n              \
                         - user_managed\n              - 192.0.2.7\n              - '*.s3.amazonaws.com'\n          Ports:\n              \
                         - 443\n              - '5938'\n";

    fn imported() -> Tools {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("yaml")).unwrap();
        std::fs::write(folder.path().join("yaml/example.yaml"), ENTRY).unwrap();
        std::fs::write(folder.path().join("yaml/broken.yml"), "Name: [unclosed").unwrap();
        std::fs::write(folder.path().join("README.md"), "not an entry").unwrap();
        Tools::import_lolrmm(folder.path()).unwrap()
    }

    fn names(tools: &Tools, host: &str) -> Vec<(String, bool)> {
        tools.lookup(host).iter().map(|hit| (hit.domain.to_owned(), hit.shared)).collect()
    }

    #[test]
    fn clean_hosts_are_taken_and_the_rest_is_told() {
        let tools = imported();
        assert_eq!(tools.counts(), (3, 1, 1));
        assert_eq!(tools.tools()[0].ports, [443, 5938]);
        let refused: Vec<_> = tools.refused().iter().map(|r| (r.entry.as_str(), r.reason)).collect();
        assert_eq!(
            refused,
            [
                ("the file", "not an entry of the list"),
                ("relay-[a-f]{8}.example-remote.com:443", "a pattern inside a label"),
                ("user_managed", "a word, not a host name"),
                ("192.0.2.7", "an address, not a name"),
            ]
        );
    }

    #[test]
    fn names_fit_label_by_label() {
        let tools = imported();
        assert_eq!(names(&tools, "Example-Remote.com."), [("example-remote.com".to_owned(), false)]);
        assert_eq!(names(&tools, "eu.relay.example-remote.com"), [("relay.example-remote.com".to_owned(), false)]);
        for host in ["www.example-remote.com", "relay.example-remote.com", "notexample-remote.com", "com", ""] {
            assert!(names(&tools, host).is_empty(), "{host}");
        }
        assert_eq!(names(&tools, "anybody.s3.amazonaws.com"), [("s3.amazonaws.com".to_owned(), true)]);
    }

    #[test]
    fn the_table_is_read_back() {
        let tools = imported();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tools.csv");
        std::fs::write(&path, tools.to_csv()).unwrap();
        let again = Tools::read(&path).unwrap();
        assert_eq!((again.to_csv(), again.counts()), (tools.to_csv(), tools.counts()));
        std::fs::write(&path, "tool,host\n").unwrap();
        assert!(Tools::read(&path).unwrap_err().to_string().contains("header"));
        std::fs::write(&path, "tool,class,host,shared,ports,source\nX,RMM,a b,,,me\n").unwrap();
        assert!(Tools::read(&path).unwrap_err().to_string().contains("line 2"));
        assert!(Tools::import_lolrmm(Path::new("/nonexistent")).is_err());
        assert!(matches!(Tools::import_lolrmm(folder.path()), Err(ToolError::Nothing { .. })));
    }

    proptest! {
        #[test]
        fn any_entry_is_clean_or_refused(entry in "[a-z0-9.*:/_<\\[ -]{0,40}") {
            if let Ok((host, _)) = clean(&entry) {
                prop_assert!(host.contains('.') && !host.contains('*') && host.parse::<std::net::IpAddr>().is_err());
                prop_assert_eq!(clean(&host), Ok((host.clone(), false)));
            }
        }
    }
}
