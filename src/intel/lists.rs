//! Lists of networks with a label: exits of VPN services, data centres, Tor, relays of browsers, companies.
//!
//! Reads: plain lists (a network a line), CSV, and the layout of X4BNet's repository. Emits: the label of the longest
//! prefix that holds an address, and who says so. Does not: download, or believe a line that is no network: what is
//! left out is told with its line.
//!
//! Egress networks of Apple's Private Relay stand in lists of VPN exits; an iPhone is no VPN. They are taken out of
//! every list with the label `vpn` unless the caller wants them in.

use super::nets::network;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What the networks of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Exits of VPN services.
    Vpn,
    /// Data centres.
    Hosting,
    /// Exits of Tor.
    Tor,
    /// Egress of a relay that a browser or an operating system uses for everybody (Private Relay, a security gateway).
    Relay,
    /// A company's own.
    Corporate,
}

impl Label {
    /// Every label.
    pub const ALL: [Self; 5] = [Self::Vpn, Self::Hosting, Self::Tor, Self::Relay, Self::Corporate];

    /// The word used in lists and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vpn => "vpn",
            Self::Hosting => "hosting",
            Self::Tor => "tor",
            Self::Relay => "relay",
            Self::Corporate => "corporate",
        }
    }

    /// Of two lists that name the same network, the one that says more about its use goes first.
    const fn rank(self) -> u8 {
        match self {
            Self::Corporate => 4,
            Self::Relay => 3,
            Self::Tor => 2,
            Self::Vpn => 1,
            Self::Hosting => 0,
        }
    }
}

impl FromStr for Label {
    type Err = ListError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|label| label.name() == word)
            .ok_or_else(|| ListError::Label { word: word.to_owned() })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why lists could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file or folder can't be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A word is no label.
    #[error("'{word}' is none of {names}", names = Label::ALL.map(Label::name).join(", "))]
    Label {
        /// The word.
        word: String,
    },
    /// The folder does not look like X4BNet's.
    #[error("{path} holds neither output/vpn nor output/datacenter", path = path.display())]
    Layout {
        /// Which.
        path: PathBuf,
    },
    /// More networks than a mistake would explain.
    #[error("{path}: more than {max} networks", path = path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
}

/// A line that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// Why it was left out.
    pub reason: String,
}

/// A list that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSource {
    /// Its name: the file's, or the one that the CSV gives.
    pub name: String,
    /// Networks taken from it.
    pub networks: usize,
    /// Networks that were taken out again because they belong to a relay.
    pub subtracted: usize,
}

/// What a list says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The network that holds it.
    pub network: IpNet,
    /// What that is.
    pub label: Label,
    /// Who says so.
    pub source: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    label: Label,
    /// Index into the sources.
    source: u16,
}

/// More networks than this in one file are taken for a mistake: the routing table of the Internet has about as many.
const MAX_NETWORKS: usize = 1_500_000;
/// Lines that are told as left out, of one file; more are only counted.
const MAX_LEFT_OUT: usize = 1_000;

/// Labelled networks, ready to be asked.
#[derive(Debug, Default)]
pub struct Lists {
    v4: PrefixMap<Ipv4Net, Entry>,
    v6: PrefixMap<Ipv6Net, Entry>,
    sources: Vec<ListSource>,
    left_out: Vec<LeftOut>,
    left_out_count: usize,
}

impl Lists {
    /// Reads a plain list: a network or an address a line, `#` and `;` begin comments.
    ///
    /// # Errors
    /// The file can't be read, or holds too many networks.
    pub fn read_plain(&mut self, path: &Path, label: Label, name: Option<&str>) -> Result<(), ListError> {
        let text = read(path)?;
        let source = self.source(name.map_or_else(|| file_name(path), str::to_owned));
        let mut taken = 0;
        for (i, line) in text.lines().enumerate() {
            let item = line.split(['#', ';']).next().unwrap_or_default().trim();
            if item.is_empty() {
                continue;
            }
            match network(item) {
                Some(net) => {
                    taken += 1;
                    self.insert(net, Entry { label, source });
                }
                None => self.leave_out(path, i + 1, item, "not a network such as 203.0.113.0/24"),
            }
            if taken > MAX_NETWORKS {
                return Err(ListError::TooLong { path: path.to_owned(), max: MAX_NETWORKS });
            }
        }
        self.count(source, taken);
        Ok(())
    }

    /// Reads a CSV with the header `cidr,label,source`.
    ///
    /// # Errors
    /// The file can't be read, or holds too many networks.
    pub fn read_csv(&mut self, path: &Path) -> Result<(), ListError> {
        let text = read(path)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        let mut taken = 0;
        for record in reader.records() {
            let Ok(record) = record else {
                self.leave_out(path, 0, "", "not a row of three fields");
                continue;
            };
            let line = record.position().map_or(0, |p| usize::try_from(p.line()).unwrap_or(0));
            let field = |i| record.get(i).unwrap_or_default();
            match (network(field(0)), field(1).parse::<Label>()) {
                (Some(net), Ok(label)) => {
                    taken += 1;
                    let name = if field(2).is_empty() { file_name(path) } else { field(2).to_owned() };
                    let source = self.source(name);
                    self.insert(net, Entry { label, source });
                    self.count(source, 1);
                }
                (None, _) => self.leave_out(path, line, field(0), "not a network such as 203.0.113.0/24"),
                (_, Err(error)) => self.leave_out(path, line, field(1), &error.to_string()),
            }
            if taken > MAX_NETWORKS {
                return Err(ListError::TooLong { path: path.to_owned(), max: MAX_NETWORKS });
            }
        }
        Ok(())
    }

    /// Reads a folder laid out as X4BNet/lists_vpn: `output/vpn`, `output/datacenter`, `input/vpn/ips/apple.txt`. With
    /// `keep_relays` the last is not read, and Private Relay stays among the VPN exits.
    ///
    /// # Errors
    /// A file can't be read, or the folder holds nothing of the kind.
    pub fn read_x4bnet(&mut self, folder: &Path, keep_relays: bool) -> Result<(), ListError> {
        let mut any = false;
        for (part, label) in [("vpn", Label::Vpn), ("datacenter", Label::Hosting)] {
            for file in ["ipv4.txt", "ipv6.txt"] {
                let path = folder.join("output").join(part).join(file);
                if path.is_file() {
                    any = true;
                    self.read_plain(&path, label, Some(&format!("x4bnet-{part}")))?;
                }
            }
        }
        if !any {
            return Err(ListError::Layout { path: folder.to_owned() });
        }
        let relay = folder.join("input/vpn/ips/apple.txt");
        if relay.is_file() && !keep_relays {
            self.read_plain(&relay, Label::Relay, Some("x4bnet-apple-private-relay"))?;
        }
        Ok(())
    }

    /// Takes in what another has and `wanted` lets through; where both name a network, this one's own rank decides.
    pub fn take_from(&mut self, other: &Self, wanted: impl Fn(&Listed<'_>) -> bool) {
        for listed in other.iter().filter(wanted) {
            let source = self.source(listed.source.to_owned());
            self.insert(listed.network, Entry { label: listed.label, source });
            self.count(source, 1);
        }
    }

    /// Takes out of the lists of VPN exits what lies within a network of a relay; tells how many networks they lost to
    /// relays in all.
    pub fn subtract_relays(&mut self) -> usize {
        let mut gone = vec![0usize; self.sources.len()];
        subtract(&mut self.v4, &mut gone);
        subtract(&mut self.v6, &mut gone);
        for (source, gone) in self.sources.iter_mut().zip(&gone) {
            source.subtracted += gone;
        }
        self.sources.iter().map(|source| source.subtracted).sum()
    }

    /// What the longest prefix that holds `ip` is said to be. Takes as many steps as the prefix has bits at most: meant
    /// for once an endpoint, not once a packet.
    #[must_use]
    pub fn lookup(&self, ip: IpAddr) -> Option<Listed<'_>> {
        let (network, entry) = match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.get_lpm(&Ipv4Net::from(ip)).map(|(net, entry)| (IpNet::V4(net), *entry))?,
            IpAddr::V6(ip) => self.v6.get_lpm(&Ipv6Net::from(ip)).map(|(net, entry)| (IpNet::V6(net), *entry))?,
        };
        let source = self.sources.get(usize::from(entry.source)).map_or("", |source| source.name.as_str());
        Some(Listed { network, label: entry.label, source })
    }

    /// The networks in order, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        let name = |source: u16| self.sources.get(usize::from(source)).map_or("", |source| source.name.as_str());
        let v4 = self.v4.iter().map(|(net, entry)| (IpNet::V4(net), *entry));
        let v6 = self.v6.iter().map(|(net, entry)| (IpNet::V6(net), *entry));
        v4.chain(v6).map(move |(network, entry)| Listed { network, label: entry.label, source: name(entry.source) })
    }

    /// Networks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lists taken in.
    #[must_use]
    pub fn sources(&self) -> &[ListSource] {
        &self.sources
    }

    /// The first lines that were left out, and how many there were in all.
    #[must_use]
    pub fn left_out(&self) -> (&[LeftOut], usize) {
        (&self.left_out, self.left_out_count)
    }

    fn insert(&mut self, net: IpNet, entry: Entry) {
        let known = match net {
            IpNet::V4(net) => self.v4.get(&net).copied(),
            IpNet::V6(net) => self.v6.get(&net).copied(),
        };
        // The very same network as VPN and as relay: the VPN list loses it.
        let loser = match known.map(|known| (known, known.label)) {
            Some((known, Label::Vpn)) if entry.label == Label::Relay => Some(known.source),
            Some((_, Label::Relay)) if entry.label == Label::Vpn => Some(entry.source),
            _ => None,
        };
        if let Some(loser) = loser.and_then(|loser| self.sources.get_mut(usize::from(loser))) {
            loser.subtracted += 1;
        }
        if known.is_none_or(|known| known.label.rank() < entry.label.rank()) {
            match net {
                IpNet::V4(net) => drop(self.v4.insert(net, entry)),
                IpNet::V6(net) => drop(self.v6.insert(net, entry)),
            }
        }
    }

    fn source(&mut self, name: String) -> u16 {
        let at = self.sources.iter().position(|source| source.name == name).unwrap_or_else(|| {
            self.sources.push(ListSource { name, networks: 0, subtracted: 0 });
            self.sources.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn count(&mut self, source: u16, networks: usize) {
        if let Some(source) = self.sources.get_mut(usize::from(source)) {
            source.networks += networks;
        }
    }

    fn leave_out(&mut self, file: &Path, line: usize, text: &str, reason: &str) {
        self.left_out_count += 1;
        if self.left_out.len() < MAX_LEFT_OUT {
            let text = text.chars().take(80).collect();
            self.left_out.push(LeftOut { file: file.to_owned(), line, text, reason: reason.to_owned() });
        }
    }
}

/// Takes the networks labelled as VPN out that a relay's network holds.
fn subtract<P: prefix_trie::Prefix + Clone>(map: &mut PrefixMap<P, Entry>, gone: &mut [usize]) {
    let within = |net: &P, map: &PrefixMap<P, Entry>| map.cover(net).any(|(_, entry)| entry.label == Label::Relay);
    let vpn = map.iter().filter(|(_, entry)| entry.label == Label::Vpn);
    let out: Vec<P> = vpn.filter(|(net, _)| within(net, map)).map(|(net, _)| net.clone()).collect();
    for net in out {
        if let Some(entry) = map.remove(&net)
            && let Some(gone) = gone.get_mut(usize::from(entry.source))
        {
            *gone += 1;
        }
    }
}

fn read(path: &Path) -> Result<String, ListError> {
    let bytes = std::fs::read(path).map_err(|source| ListError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn file_name(path: &Path) -> String {
    path.file_stem().map_or_else(|| "list".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn label_of(lists: &Lists, ip: &str) -> Option<Label> {
        lists.lookup(ip.parse().unwrap()).map(|listed| listed.label)
    }

    #[test]
    fn the_longest_prefix_wins_and_of_equals_what_says_more() {
        let mut lists = Lists::default();
        let hosting = file("198.51.100.0/24\n203.0.113.0/25 # a comment\n\n2001:db8::/32\n");
        let vpn = file("198.51.100.7\n203.0.113.0/25\n");
        lists.read_plain(hosting.path(), Label::Hosting, Some("dc")).unwrap();
        lists.read_plain(vpn.path(), Label::Vpn, None).unwrap();
        assert_eq!(label_of(&lists, "198.51.100.7"), Some(Label::Vpn));
        assert_eq!(label_of(&lists, "198.51.100.8"), Some(Label::Hosting));
        assert_eq!(label_of(&lists, "203.0.113.5"), Some(Label::Vpn));
        assert_eq!(label_of(&lists, "203.0.113.200"), None);
        assert_eq!(label_of(&lists, "2001:db8::5"), Some(Label::Hosting));
        assert_eq!(label_of(&lists, "::ffff:198.51.100.7"), Some(Label::Vpn));
        assert_eq!(lists.lookup("198.51.100.8".parse().unwrap()).unwrap().source, "dc");
    }

    #[test]
    fn a_relay_is_no_vpn() {
        let mut lists = Lists::default();
        let vpn = file("172.224.0.0/16\n172.224.224.16/28\n172.224.226.0/27\n198.51.100.0/24\n");
        let relay = file("172.224.224.0/24\n172.224.226.0/27\n");
        lists.read_plain(vpn.path(), Label::Vpn, Some("vpn")).unwrap();
        lists.read_plain(relay.path(), Label::Relay, Some("relay")).unwrap();
        assert_eq!(lists.subtract_relays(), 2);
        for (ip, label) in [
            ("172.224.224.17", Label::Relay),
            ("172.224.226.5", Label::Relay),
            ("172.224.9.9", Label::Vpn),
            ("198.51.100.1", Label::Vpn),
        ] {
            assert_eq!(label_of(&lists, ip), Some(label), "{ip}");
        }
        assert_eq!(lists.sources().iter().map(|s| (s.networks, s.subtracted)).collect::<Vec<_>>(), [(4, 2), (2, 0)]);
    }

    #[test]
    fn what_is_no_network_is_told_with_its_line() {
        let mut lists = Lists::default();
        let plain = file("10.0.0.0/8\nvpn.example\n10.0.0.0/33\n");
        lists.read_plain(plain.path(), Label::Vpn, None).unwrap();
        let told: Vec<_> = lists.left_out().0.iter().map(|l| (l.line, l.text.as_str())).collect();
        assert_eq!(told, [(2, "vpn.example"), (3, "10.0.0.0/33")]);
        let csv = file("cidr,label,source\n192.0.2.0/24,corporate,office\n192.0.3.0/24,holiday,x\n,vpn,\n");
        lists.read_csv(csv.path()).unwrap();
        assert_eq!(
            lists.lookup("192.0.2.1".parse().unwrap()).map(|l| (l.label, l.source)),
            Some((Label::Corporate, "office"))
        );
        let told: Vec<_> = lists.left_out().0.iter().skip(2).map(|l| (l.line, l.text.as_str())).collect();
        assert_eq!(told, [(3, "holiday"), (4, "")]);
        assert!(matches!(lists.read_plain(Path::new("/nonexistent"), Label::Vpn, None), Err(ListError::Read { .. })));
        assert!(matches!(lists.read_x4bnet(Path::new("/nonexistent"), false), Err(ListError::Layout { .. })));
    }

    proptest! {
        #[test]
        fn a_lookup_agrees_with_asking_every_network(
            nets in prop::collection::vec((any::<[u8; 2]>(), 6u8..=24, 0usize..5), 0..30), ips in prop::collection::vec(any::<[u8; 2]>(), 8),
        ) {
            let nets: Vec<(IpNet, Label)> = nets
                .iter()
                .map(|([a, b], len, label)| {
                    let net = IpNet::new([*a, *b, 0, 0].into(), *len).unwrap().trunc();
                    (net, Label::ALL[*label])
                })
                .collect();
            let mut lists = Lists::default();
            let source = lists.source("s".into());
            for (net, label) in &nets {
                lists.insert(*net, Entry { label: *label, source });
            }
            for [a, b] in ips {
                let ip = IpAddr::from([a, b, 0, 1]);
                let naive = nets.iter().filter(|(net, _)| net.contains(&ip)).max_by_key(|(net, l)| (net.prefix_len(), l.rank()));
                prop_assert_eq!(lists.lookup(ip).map(|l| l.label), naive.map(|(_, label)| *label));
            }
        }
    }
}
