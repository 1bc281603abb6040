//! Which kinds of remote-control, tunnel and proxy sessions there were, how many, and who for example.
//!
//! Reads: sessions. Emits: a small table, the same for any order in which they came. A name that only a port suggests
//! is not in it. Does not: judge.

use super::{Confidence, Session};
use crate::base::Timestamp;
use crate::protocol::Category;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Kinds that are told apart; the names come from the registry, so there can't be many more.
const KINDS: usize = 4_096;
/// Examples of a kind that are kept: the earliest.
const EXAMPLES: usize = 3;

/// What makes a kind of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKind {
    /// What it is used for.
    pub category: Category,
    /// The protocol.
    pub protocol: &'static str,
    /// What carries it.
    pub carrier: Option<&'static str>,
    /// The program or service behind it.
    pub application: Option<&'static str>,
    /// How sure the name is.
    pub confidence: Confidence,
}

/// What is kept of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions.
    pub sessions: u64,
    /// Bytes of their IP packets, both directions.
    pub bytes: u64,
    /// The first of them: start, client, server.
    pub examples: BTreeSet<(Timestamp, IpAddr, IpAddr)>,
}

/// The kinds of sessions, sorted by category and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    kinds: BTreeMap<SessionKind, Tally>,
}

impl Roster {
    /// Takes a session in, if it is of a kind that is told.
    pub fn add(&mut self, session: &Session) {
        let Some(kind) = kind_of(session) else { return };
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            return;
        }
        let tally = self.kinds.entry(kind).or_default();
        tally.sessions += 1;
        tally.bytes += session.ends.orig.bytes + session.ends.resp.bytes;
        tally.example((session.start, session.tuple.orig.ip, session.tuple.resp.ip));
    }

    /// Takes in what another has counted.
    pub fn absorb(&mut self, other: Self) {
        for (kind, more) in other.kinds {
            let tally = self.kinds.entry(kind).or_default();
            tally.sessions += more.sessions;
            tally.bytes += more.bytes;
            more.examples.into_iter().for_each(|example| tally.example(example));
        }
    }

    /// The kinds and their tallies.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKind, &Tally)> {
        self.kinds.iter()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

impl Tally {
    fn example(&mut self, example: (Timestamp, IpAddr, IpAddr)) {
        self.examples.insert(example);
        if self.examples.len() > EXAMPLES {
            self.examples.pop_last();
        }
    }
}

fn kind_of(session: &Session) -> Option<SessionKind> {
    let (category, confidence) = (session.category?, session.confidence?);
    let told = matches!(
        category,
        Category::RemoteDesktop
            | Category::RemoteShell
            | Category::Kvm
            | Category::Vpn
            | Category::Proxy
            | Category::Conferencing
    );
    // The same word twice would tell nothing.
    let application = session.application.filter(|name| Some(*name) != session.protocol);
    let kind = SessionKind { category, protocol: session.protocol?, carrier: session.carrier, application, confidence };
    (told && confidence > Confidence::PortOnly).then_some(kind)
}
