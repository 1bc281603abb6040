//! What kind of network an address belongs to.
//!
//! Reads: the names of the CSV's `kind` field; AS numbers. Emits: [`Kind`].
//! Does not: list networks of VPN services (they change weekly: import a list of them).
//!
//! The AS numbers are those commonly given for the operators named beside them (the project's science note, section 4);
//! the registry was not consulted, so an operator may have more numbers than stand here.

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
        let at = AS_KINDS.binary_search_by_key(&asn, |(number, _)| *number).ok()?;
        AS_KINDS.get(at).map(|(_, kind)| *kind)
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

/// Operators whose customers mostly have the same access, by AS number, ascending. Networks of mixed use (carriers that
/// sell homes, companies and transit under one number) are left out: a wrong kind is worse than none. Whoever knows
/// better (CSV, databases, lists) goes first; of satellites alone the table knows the orbit, which others don't say.
const AS_KINDS: &[(u32, Kind)] = &[
    // Bell Canada.
    (577, Kind::Residential),
    // Rogers.
    (812, Kind::Residential),
    // BT (consumer).
    (2_856, Kind::Residential),
    // Virgin Media.
    (5_089, Kind::Residential),
    // Sky UK.
    (5_607, Kind::Residential),
    // Frontier.
    (5_650, Kind::Residential),
    // Optimum (Cablevision).
    (6_128, Kind::Residential),
    // Verizon Wireless.
    (6_167, Kind::Mobile),
    // Shaw.
    (6_327, Kind::Residential),
    // HNS-DIRECPC, Hughes Network Systems (HughesNet).
    (6_621, Kind::SatelliteGeo),
    // Windstream.
    (7_029, Kind::Residential),
    // VIASAT-SP-BACKBONE, Viasat.
    (7_155, Kind::SatelliteGeo),
    // Comcast.
    (7_922, Kind::Residential),
    // QuadraNet.
    (8_100, Kind::Hosting),
    // IONOS.
    (8_560, Kind::Hosting),
    // M247.
    (9_009, Kind::Hosting),
    // Sprint's mobile network, T-Mobile US.
    (10_507, Kind::Mobile),
    // Spectrum (Charter).
    (10_796, Kind::Residential),
    // Spectrum.
    (11_351, Kind::Residential),
    // Spectrum.
    (11_426, Kind::Residential),
    // Spectrum.
    (11_427, Kind::Residential),
    // Spectrum.
    (12_271, Kind::Residential),
    // Free.
    (12_322, Kind::Residential),
    // Scaleway.
    (12_876, Kind::Hosting),
    // DigitalOcean.
    (14_061, Kind::Hosting),
    // SPACEX-STARLINK, Space Exploration Technologies.
    (14_593, Kind::SatelliteLeo),
    // Amazon, its older regions.
    (14_618, Kind::Hosting),
    // OVH.
    (16_276, Kind::Hosting),
    // Amazon.
    (16_509, Kind::Hosting),
    // Google Fiber.
    (16_591, Kind::Residential),
    // Spectrum.
    (20_001, Kind::Residential),
    // AT&T Mobility.
    (20_057, Kind::Mobile),
    // Charter.
    (20_115, Kind::Residential),
    // Vultr (The Constant Company).
    (20_473, Kind::Hosting),
    // T-Mobile US.
    (21_928, Kind::Mobile),
    // Verizon Wireless.
    (22_394, Kind::Mobile),
    // Cox.
    (22_773, Kind::Residential),
    // Hetzner.
    (24_940, Kind::Hosting),
    // Leaseweb, Germany.
    (28_753, Kind::Hosting),
    // Mediacom.
    (30_036, Kind::Residential),
    // Leaseweb, USA.
    (30_633, Kind::Hosting),
    // Oracle Cloud.
    (31_898, Kind::Hosting),
    // Spectrum.
    (33_363, Kind::Residential),
    // IBM Cloud (SoftLayer).
    (36_351, Kind::Hosting),
    // ColoCrossing.
    (36_352, Kind::Hosting),
    // Alibaba Cloud, China.
    (37_963, Kind::Hosting),
    // Psychz.
    (40_676, Kind::Hosting),
    // Tencent Cloud, China.
    (45_090, Kind::Hosting),
    // Alibaba Cloud.
    (45_102, Kind::Hosting),
    // Contabo.
    (51_167, Kind::Hosting),
    // Datacamp (CDN77), where many VPN services stand.
    (60_068, Kind::Hosting),
    // Leaseweb, Netherlands.
    (60_781, Kind::Hosting),
    // Linode (Akamai).
    (63_949, Kind::Hosting),
    // Tencent Cloud.
    (132_203, Kind::Hosting),
    // Datacamp.
    (212_238, Kind::Hosting),
    // Google Cloud.
    (396_982, Kind::Hosting),
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
        assert_eq!((Kind::of_asn(7_922), Kind::of_asn(64_496)), (Some(Kind::Residential), None));
        assert!(AS_KINDS.is_sorted_by_key(|(number, _)| *number), "a look-up halves it");
        for kind in [Kind::Residential, Kind::Mobile, Kind::Hosting, Kind::SatelliteGeo, Kind::SatelliteLeo] {
            assert!(AS_KINDS.iter().any(|(_, known)| *known == kind), "{kind}");
        }
        assert!(Kind::Unknown.yields_to(Kind::SatelliteGeo));
        assert!(Kind::Satellite.yields_to(Kind::SatelliteGeo));
        assert!(!Kind::Residential.yields_to(Kind::SatelliteGeo));
        assert!(!Kind::SatelliteLeo.yields_to(Kind::SatelliteGeo));
    }
}
