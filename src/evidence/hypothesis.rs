//! The explanations that compete for an endpoint, with what is believed of each before anything is measured.
//!
//! Priors: one remote identity in 3,300 is a relayed one (3e-4; science note 6.8: 1e-4 to 1e-3), shared by the two
//! topologies that this set of rules can tell. The innocent ones are shares of remote workers' connections, by kind of
//! access where the place is known; they are design values until a site's own baseline replaces them.

use crate::intel::Kind;

/// An explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hypothesis {
    /// T2: the home forwards packets for an operator elsewhere.
    HomeExit,
    /// T3: the home ends TCP for an operator elsewhere.
    HomeProxy,
    /// A home, as it says.
    Direct,
    /// The line's own queue is full all the time.
    Bufferbloat,
    /// A geostationary satellite link.
    GeoSatellite,
    /// A low-orbit satellite link.
    LeoSatellite,
    /// A mobile network or a phone's hotspot.
    Mobile,
    /// The address is registered in one place and used far from it.
    Misplaced,
    /// The client's machine is slow to answer: a smart card, a small device, a busy processor.
    SlowClient,
    /// The provider ends TCP near the tap (a performance-enhancing proxy, RFC 3135).
    Accelerator,
    /// The access line itself encapsulates: PPPoE, an IPv6 transition tunnel.
    AccessTunnel,
}

impl Hypothesis {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::HomeExit,
        Self::HomeProxy,
        Self::Direct,
        Self::Bufferbloat,
        Self::GeoSatellite,
        Self::LeoSatellite,
        Self::Mobile,
        Self::Misplaced,
        Self::SlowClient,
        Self::Accelerator,
        Self::AccessTunnel,
    ];

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HomeExit => "home-exit",
            Self::HomeProxy => "home-proxy",
            Self::Direct => "direct",
            Self::Bufferbloat => "bufferbloat",
            Self::GeoSatellite => "geo-satellite",
            Self::LeoSatellite => "leo-satellite",
            Self::Mobile => "mobile",
            Self::Misplaced => "misplaced-address",
            Self::SlowClient => "slow-client",
            Self::Accelerator => "accelerating-proxy",
            Self::AccessTunnel => "access-tunnel",
        }
    }

    /// What it would mean, for a reader who is no specialist.
    #[must_use]
    pub const fn story(self) -> &'static str {
        match self {
            Self::HomeExit => "the home forwards the traffic of somebody far away",
            Self::HomeProxy => "the home ends the connections of somebody far away and repeats them",
            Self::Direct => "a worker at the place the address says",
            Self::Bufferbloat => "a home line whose upload queue is always full (backup, camera, old router)",
            Self::GeoSatellite => "a home on a geostationary satellite link",
            Self::LeoSatellite => "a home on a low-orbit satellite link",
            Self::Mobile => "a worker on a mobile network or a phone's hotspot",
            Self::Misplaced => "the address database is wrong: the worker honestly is somewhere else",
            Self::SlowClient => "a slow client: a smart card, a security agent or a weak processor delays its answers",
            Self::Accelerator => "the worker's provider ends TCP in its own network to speed it up",
            Self::AccessTunnel => "the access line itself uses a tunnel (PPPoE, IPv6 transition)",
        }
    }

    /// Whether it would be a breach.
    #[must_use]
    pub const fn is_malicious(self) -> bool {
        matches!(self, Self::HomeExit | Self::HomeProxy)
    }

    /// MITRE ATT&CK technique.
    #[must_use]
    pub const fn attack(self) -> &'static [&'static str] {
        match self {
            Self::HomeExit => &["T1090.002", "T1572"],
            Self::HomeProxy => &["T1090.002"],
            _ => &[],
        }
    }

    /// Share of remote workers' connections it holds for, given the kind of access.
    #[must_use]
    pub const fn prior(self, kind: Kind) -> f64 {
        match self {
            Self::HomeExit | Self::HomeProxy => 1.5e-4,
            Self::Direct => 0.95,
            // Full without a pause, whenever one looks: rarer than a queue that comes and goes.
            Self::Bufferbloat => 5e-3,
            Self::GeoSatellite => match kind {
                Kind::SatelliteGeo => 1.0,
                Kind::Satellite => 0.5,
                Kind::Unknown => 3e-3,
                _ => 1e-4,
            },
            Self::LeoSatellite => match kind {
                Kind::SatelliteLeo => 1.0,
                Kind::Satellite => 0.5,
                Kind::Unknown => 5e-3,
                _ => 1e-4,
            },
            Self::Mobile => match kind {
                Kind::Mobile => 1.0,
                Kind::Unknown => 0.1,
                // Phones' hotspots have their carrier's addresses.
                _ => 2e-3,
            },
            // Country-level errors of address databases are rarest for fixed lines of national providers.
            Self::Misplaced => match kind {
                Kind::Residential => 2e-6,
                Kind::Mobile | Kind::SatelliteGeo | Kind::SatelliteLeo | Kind::Satellite => 1e-3,
                _ => 1e-4,
            },
            Self::SlowClient => 1e-4,
            Self::Accelerator => match kind {
                Kind::Mobile | Kind::Satellite | Kind::SatelliteGeo => 0.2,
                Kind::Unknown => 1e-3,
                _ => 1e-5,
            },
            Self::AccessTunnel => 0.1,
        }
    }
}
