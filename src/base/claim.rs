//! Somebody is said to be at an address.
//!
//! Protocols make claims of what was said in clear (RADIUS, Kerberos, DHCP); files of the user make them, too.
//! Does not: say whether they are true; where they come from is said with them.

use super::{Direction, Timestamp};
use std::net::IpAddr;

/// One statement that an identity is at an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Where.
    pub place: Whereabouts,
    /// Who or what.
    pub identity: Identity,
    /// Whether this begins or ends its stay.
    pub stay: Stay,
    /// Who says so (`radius-accounting`, `kerberos`): documented in `docs/identities.md`.
    pub source: &'static str,
    /// How much it is worth.
    pub sureness: Sureness,
    /// The sayer's name for the stay (RADIUS' Acct-Session-Id), so that its end is matched with its beginning.
    pub session: Option<String>,
    /// The address that it has inside a tunnel, where `place` is the one outside.
    pub inner: Option<IpAddr>,
    /// Octets carried in the stay so far, where its sayer counts them: from whoever is there, and to him.
    pub octets: Option<[u64; 2]>,
}

/// An address, or an end of the flow that made the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whereabouts {
    /// The end that sent in this direction.
    End(Direction),
    /// An address that was named.
    Address(IpAddr),
}

/// A name and what it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What it names.
    pub kind: IdentityKind,
    /// The name, as said.
    pub name: String,
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    /// A person's account.
    User,
    /// A machine, by the name it gives itself.
    Host,
    /// A device, by its hardware address or serial number.
    Device,
}

impl IdentityKind {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
            Self::Device => "device",
        }
    }
}

/// What a claim says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stay {
    /// It is there from now on.
    Begins,
    /// It is there now.
    Goes,
    /// It has been there until now.
    Ends,
}

/// How much a claim is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sureness {
    /// Somebody says so of himself: anybody can.
    Said,
    /// A server was asked to accept it, and its answer was not seen.
    Asked,
    /// A server has accepted it.
    Accepted,
}

impl Sureness {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Said => "said",
            Self::Asked => "asked",
            Self::Accepted => "accepted",
        }
    }
}

impl Claim {
    /// A claim of `source` that a user, machine or device is at `place` now.
    #[must_use]
    pub fn new(source: &'static str, place: Whereabouts, kind: IdentityKind, name: impl Into<String>) -> Self {
        Self {
            place,
            identity: Identity { kind, name: name.into() },
            stay: Stay::Goes,
            source,
            sureness: Sureness::Said,
            session: None,
            inner: None,
            octets: None,
        }
    }

    /// The same, worth so much.
    #[must_use]
    pub const fn worth(mut self, sureness: Sureness) -> Self {
        self.sureness = sureness;
        self
    }
}

/// A claim whose address is known, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Located {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub address: IpAddr,
    /// What is claimed.
    pub claim: Claim,
}
