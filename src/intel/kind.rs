//! What kind of network an address belongs to.
//!
//! Reads: the names of the CSV's `kind` field; AS numbers. Emits: [`Kind`].
//! Does not: list hosting or VPN networks (they change weekly: name them in the CSV).
//!
//! The AS numbers are those commonly given for the operators named beside them (the project's science note, section 4);
//! the registry was not consulted.

use std::fmt;
use std::str::FromStr;

/// The kind of access or service behind an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A home line: cable, fibre, DSL.
    Residential,
    /// A mobile operator's network.
    Mobile,
    /// Satellite access, orbit not known.
    Satellite,
    /// Geostationary satellite: a round trip takes 477 ms and more.
    SatelliteGeo,
    /// Low Earth orbit satellite.
    SatelliteLeo,
    /// A data centre.
    Hosting,
    /// A VPN service's exit.
    Vpn,
    /// A company's line.
    Business,
    /// No source says.
    #[default]
    Unknown,
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of {names}", names = Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind(pub String);

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Residential,
        Self::Mobile,
        Self::Satellite,
        Self::SatelliteGeo,
        Self::SatelliteLeo,
        Self::Hosting,
        Self::Vpn,
        Self::Business,
        Self::Unknown,
    ];

    /// The word used in records and in the CSV.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Residential => "residential",
            Self::Mobile => "mobile",
            Self::Satellite => "satellite",
            Self::SatelliteGeo => "satellite-geo",
            Self::SatelliteLeo => "satellite-leo",
            Self::Hosting => "hosting",
            Self::Vpn => "vpn",
            Self::Business => "business",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of an autonomous system whose customers all have the same access.
    #[must_use]
    pub fn of_asn(asn: u32) -> Option<Self> {
        AS_KINDS.iter().find(|(number, _)| *number == asn).map(|(_, kind)| *kind)
    }

    /// Whether an autonomous system's kind may take this one's place: it says nothing, or less.
    pub(super) fn yields_to(self, of_asn: Self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Satellite => matches!(of_asn, Self::SatelliteGeo | Self::SatelliteLeo),
            _ => false,
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Satellite operators by AS number. A CSV or a database that knows better goes first.
const AS_KINDS: [(u32, Kind); 3] = [
    // HNS-DIRECPC, Hughes Network Systems (HughesNet).
    (6_621, Kind::SatelliteGeo),
    // VIASAT-SP-BACKBONE, Viasat.
    (7_155, Kind::SatelliteGeo),
    // SPACEX-STARLINK, Space Exploration Technologies.
    (14_593, Kind::SatelliteLeo),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "dsl".parse::<Kind>().unwrap_err().to_string();
        assert!(error.starts_with("'dsl' is none of residential, mobile, satellite, "), "{error}");
        assert!("".parse::<Kind>().is_err());
    }

    #[test]
    fn an_operator_refines_only_what_says_less() {
        assert_eq!(Kind::of_asn(14_593), Some(Kind::SatelliteLeo));
        assert_eq!(Kind::of_asn(7_922), None);
        assert!(Kind::Unknown.yields_to(Kind::SatelliteGeo));
        assert!(Kind::Satellite.yields_to(Kind::SatelliteGeo));
        assert!(!Kind::Residential.yields_to(Kind::SatelliteGeo));
        assert!(!Kind::SatelliteLeo.yields_to(Kind::SatelliteGeo));
    }
}
