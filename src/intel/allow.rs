//! What is known to be all right: approved tools, exits, travellers, shared offices.
//!
//! Reads: the `[[allow]]` tables of the configuration. Emits: the entry that covers an endpoint or a session at a time.
//! Does not: hide anything: what is covered is recorded as suppressed, with the entry's reason and owner. An entry that
//! has expired covers nothing; one that covered nothing is told.

use super::nets::network;
use super::{Networks, Pseudonyms};
use crate::base::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    /// A remote tool, for the people who may use it.
    Tool,
    /// An exit that the company itself uses: a relay, a security gateway, a branch office.
    Exit,
    /// Somebody who is travelling, and said so.
    Traveller,
    /// A shared office or dormitory, where many work behind one address.
    Coworking,
}

impl Allowed {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Exit => "exit",
            Self::Traveller => "traveller",
            Self::Coworking => "coworking",
        }
    }
}

/// One table `[[allow]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AllowEntry {
    /// What it allows.
    pub allow: Allowed,
    /// Endpoints in these networks.
    #[serde(default, deserialize_with = "networks")]
    pub networks: Vec<String>,
    /// Endpoints and sessions of these people or machines; empty means anybody.
    #[serde(default)]
    pub identities: Vec<String>,
    /// Sessions of these tools, by protocol or application.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it counts.
    #[serde(deserialize_with = "date")]
    pub expires: String,
}

/// An item that is no network makes the whole file wrong, and the message points at it.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let items = Vec::<String>::deserialize(deserializer)?;
    match items.iter().find(|item| network(item).is_none()) {
        Some(item) => Err(de::Error::custom(format!("'{item}' is not a network such as 203.0.113.0/24"))),
        None => Ok(items),
    }
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse::<Date>() {
        Ok(_) => Ok(text),
        Err(_) => Err(de::Error::custom(format!("'{text}' is not a day such as 2027-01-31"))),
    }
}

#[derive(Debug)]
struct Rule {
    entry: AllowEntry,
    networks: Networks,
    /// The first moment at which it counts no more.
    over: Timestamp,
    used: AtomicU64,
    refused: AtomicU64,
}

/// All entries, ready to be asked.
#[derive(Debug, Default)]
pub struct AllowList {
    rules: Vec<Rule>,
}

/// What became of an entry in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowUse {
    /// Which entry, counted from 1.
    pub number: usize,
    /// Its reason, so that a person finds it.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// How often it covered something.
    pub used: u64,
    /// How often it would have, had it not expired.
    pub expired: u64,
}

impl AllowList {
    /// Entries as configured. Names are compared as pseudonyms where those are in use; an entry may hold either.
    #[must_use]
    pub fn new(entries: Vec<AllowEntry>, pseudonyms: Option<&Pseudonyms>) -> Self {
        let rules = entries.into_iter().map(|mut entry| {
            let networks = entry.networks.iter().filter_map(|item| network(item)).collect();
            if let Some(pseudonyms) = pseudonyms {
                entry.identities.iter_mut().filter(|name| !name.starts_with("id:")).for_each(|name| {
                    *name = pseudonyms.of(name);
                });
            }
            let over = end_of(&entry.expires);
            Rule { entry, networks, over, used: AtomicU64::new(0), refused: AtomicU64::new(0) }
        });
        Self { rules: rules.collect() }
    }

    /// The list as it is now written; an entry that was there before keeps what became of it.
    #[must_use]
    pub fn replaced_by(&self, entries: Vec<AllowEntry>, pseudonyms: Option<&Pseudonyms>) -> Self {
        let new = Self::new(entries, pseudonyms);
        for rule in &new.rules {
            if let Some(old) = self.rules.iter().find(|old| old.entry == rule.entry) {
                rule.used.store(old.used.load(Ordering::Relaxed), Ordering::Relaxed);
                rule.refused.store(old.refused.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        new
    }

    /// The entry that covers a finding about an endpoint: an exit, a traveller, a shared office.
    #[must_use]
    pub fn of_endpoint(&self, address: IpAddr, identities: &[&str], at: Timestamp) -> Option<&AllowEntry> {
        self.first(at, |rule| {
            rule.entry.allow != Allowed::Tool && rule.entry.tools.is_empty() && rule.fits(address, identities)
        })
    }

    /// The entry that covers a session of a tool.
    #[must_use]
    pub fn of_session(
        &self,
        names: &[&str],
        address: IpAddr,
        identities: &[&str],
        at: Timestamp,
    ) -> Option<&AllowEntry> {
        self.first(at, |rule| {
            rule.entry.tools.iter().any(|tool| names.iter().any(|name| name.eq_ignore_ascii_case(tool)))
                && rule.fits(address, identities)
        })
    }

    fn first(&self, at: Timestamp, fits: impl Fn(&Rule) -> bool) -> Option<&AllowEntry> {
        for rule in self.rules.iter().filter(|rule| fits(rule)) {
            if at < rule.over {
                rule.used.fetch_add(1, Ordering::Relaxed);
                return Some(&rule.entry);
            }
            rule.refused.fetch_add(1, Ordering::Relaxed);
        }
        None
    }

    /// What became of each entry.
    #[must_use]
    pub fn uses(&self) -> Vec<AllowUse> {
        let of = |(i, rule): (usize, &Rule)| AllowUse {
            number: i + 1,
            reason: rule.entry.reason.clone(),
            owner: rule.entry.owner.clone(),
            used: rule.used.load(Ordering::Relaxed),
            expired: rule.refused.load(Ordering::Relaxed),
        };
        self.rules.iter().enumerate().map(of).collect()
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    /// Whether networks and names, those that are given, hold the endpoint.
    fn fits(&self, address: IpAddr, identities: &[&str]) -> bool {
        let nothing = self.networks.is_empty() && self.entry.identities.is_empty() && self.entry.tools.is_empty();
        let there = self.networks.is_empty() || self.networks.contains(address);
        let known = self.entry.identities.is_empty()
            || self.entry.identities.iter().any(|name| identities.iter().any(|one| one.eq_ignore_ascii_case(name)));
        // An entry that names nothing at all would cover everything.
        !nothing && there && known
    }
}

/// The end of a day, in UTC.
fn end_of(day: &str) -> Timestamp {
    let next = day.parse::<Date>().ok().and_then(|day| day.tomorrow().ok());
    let at = next.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp().as_nanosecond());
    at.and_then(|nanos| i64::try_from(nanos).ok()).map_or(Timestamp::MIN, Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<AllowEntry>, toml::de::Error> {
        #[derive(Deserialize)]
        struct File {
            allow: Vec<AllowEntry>,
        }
        toml::from_str::<File>(text).map(|file| file.allow)
    }

    const TEXT: &str = r#"
[[allow]]
allow = "exit"
networks = ["203.0.113.0/24"]
reason = "security gateway of the company"
owner = "network@example.com"
expires = "2027-01-31"

[[allow]]
allow = "traveller"
identities = ["alice"]
reason = "conference, ticket 4711"
owner = "hr@example.com"
expires = "2026-11-30"

[[allow]]
allow = "tool"
tools = ["teamviewer"]
identities = ["helpdesk"]
reason = "approved helpdesk tool"
owner = "it@example.com"
expires = "2027-06-30"
"#;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_nanos(i64::try_from(at.as_nanosecond()).unwrap())
    }

    #[test]
    fn an_entry_covers_what_it_names_until_its_last_day_is_over() {
        let list = AllowList::new(entries(TEXT).unwrap(), None);
        let (exit, home): (IpAddr, IpAddr) = ("203.0.113.9".parse().unwrap(), "198.51.100.7".parse().unwrap());
        let (before, last, after) =
            (at("2026-11-24T12:00:00Z"), at("2026-11-30T23:59:59Z"), at("2026-12-01T00:00:00Z"));
        assert_eq!(list.of_endpoint(exit, &[], before).map(|e| e.owner.as_str()), Some("network@example.com"));
        assert!(list.of_endpoint(home, &[], before).is_none());
        assert_eq!(list.of_endpoint(home, &["Alice"], last).map(|e| e.allow), Some(Allowed::Traveller));
        assert!(list.of_endpoint(home, &["alice"], after).is_none());
        assert!(list.of_session(&["anydesk"], home, &["helpdesk"], before).is_none());
        assert!(list.of_session(&["tls", "TeamViewer"], home, &["bob"], before).is_none());
        assert!(list.of_session(&["tls", "TeamViewer"], home, &["helpdesk"], before).is_some());
        let uses: Vec<_> = list.uses().iter().map(|u| (u.number, u.used, u.expired)).collect();
        assert_eq!(uses, [(1, 1, 0), (2, 1, 1), (3, 1, 0)]);
        let again = entries(&TEXT.replacen("ticket 4711", "ticket 4712", 1)).unwrap();
        let uses: Vec<_> = list.replaced_by(again, None).uses().iter().map(|u| (u.used, u.expired)).collect();
        assert_eq!(uses, [(1, 0), (0, 0), (1, 0)], "an entry that has changed begins anew");
    }

    #[test]
    fn pseudonyms_and_names_are_compared_as_pseudonyms() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 32]).unwrap();
        let pseudonyms = Pseudonyms::open(file.path()).unwrap();
        let list = AllowList::new(entries(TEXT).unwrap(), Some(&pseudonyms));
        let name = pseudonyms.of("alice");
        assert!(list.of_endpoint([198, 51, 100, 7].into(), &[&name], at("2026-11-24T12:00:00Z")).is_some());
    }

    #[test]
    fn an_entry_that_names_nothing_covers_nothing_and_errors_point_at_their_line() {
        let nothing = "[[allow]]\nallow = \"exit\"\nreason = \"r\"\nowner = \"o\"\nexpires = \"2027-01-31\"\n";
        let list = AllowList::new(entries(nothing).unwrap(), None);
        assert!(list.of_endpoint([198, 51, 100, 7].into(), &[], at("2026-11-24T12:00:00Z")).is_none());
        for (from, to, expected) in [
            ("2027-01-31", "soon", "line 7"),
            ("203.0.113.0/24", "somewhere", "line 4"),
            ("\"exit\"", "\"everything\"", "line 3"),
            ("owner = \"network@example.com\"\n", "", "missing field `owner`"),
            ("networks", "netwroks", "line 4"),
        ] {
            let error = entries(&TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
