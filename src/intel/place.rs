//! Where an address is and whose it is, and what can be wrong with a source of such knowledge.
//!
//! Emits: [`Place`], [`PlaceError`]. Does not: look anything up.

use super::{GeoPoint, Home, Kind, distance_km};
use std::path::PathBuf;

/// What is known of an address's place. What no source says is `None`, or [`Kind::Unknown`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// Where, as the source sees it: for a database, the middle of an area of up to 1,000 km around.
    pub point: Option<GeoPoint>,
    /// ISO 3166-1 alpha-2 code, upper case.
    pub country: Option<String>,
    /// The largest subdivision: its ISO 3166-2 code without the country, or its name.
    pub region: Option<String>,
    /// The city's name in English.
    pub city: Option<String>,
    /// Autonomous system number.
    pub asn: Option<u32>,
    /// Who holds the network.
    pub org: Option<String>,
    /// What kind of network it is.
    pub kind: Kind,
    /// Who says where it is ([`point`](Self::point), country, region, city); the first source, if two did.
    pub located_by: Option<Origin>,
    /// Who says whose it is ([`asn`](Self::asn), org).
    pub owned_by: Option<Origin>,
    /// Who says of what kind it is.
    pub kind_by: Option<Origin>,
    /// How far the declared home of whoever is there lies from where the other sources see the address, in km.
    pub home_km: Option<f64>,
    /// Where the address itself is placed, if `point` is a declared home.
    pub address_point: Option<GeoPoint>,
}

/// A source of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The user's CSV.
    GeoCsv,
    /// The City database.
    CityDatabase,
    /// The ASN database.
    AsnDatabase,
    /// The built-in table of operators.
    AsnTable,
    /// A database of what networks are used for (Anonymous-IP, Connection-Type, Enterprise).
    KindDatabase,
    /// An imported list of networks.
    List,
    /// The declared home of whoever is said to be there.
    Home,
}

impl Origin {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GeoCsv => "geo-csv",
            Self::CityDatabase => "geo-city",
            Self::AsnDatabase => "geo-asn",
            Self::AsnTable => "asn-table",
            Self::KindDatabase => "geo-kind",
            Self::List => "list",
            Self::Home => "home",
        }
    }
}

/// Beyond this the names of one source do not belong to the point of another, in km: the greatest accuracy radius that
/// a City database states.
const SAME_PLACE_KM: f64 = 1_000.0;

impl Place {
    /// Whether nothing at all is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// The same network, but at the declared home of whoever is there: where somebody says that he works from is what
    /// his round trips are measured against.
    #[must_use]
    pub fn at_home(mut self, home: &Home) -> Self {
        self.home_km = self.point.map(|point| distance_km(point, home.point));
        self.address_point = self.point;
        let text = |name: &Option<Box<str>>| name.as_deref().map(str::to_owned);
        self.point = Some(home.point);
        (self.country, self.region, self.city) = (text(&home.country), text(&home.region), text(&home.city));
        self.located_by = Some(Origin::Home);
        self
    }

    /// Takes what is missing of country, region, city and point from another source, if that means the same place.
    pub(super) fn fill_location(&mut self, other: Self) {
        let other_country = match (&self.country, &other.country) {
            (Some(ours), Some(theirs)) => ours != theirs,
            _ => false,
        };
        let far_away = match (self.point, other.point) {
            (Some(ours), Some(theirs)) => distance_km(ours, theirs) > SAME_PLACE_KM,
            _ => false,
        };
        if other_country || far_away {
            return;
        }
        fill(&mut self.point, other.point);
        fill(&mut self.country, other.country);
        fill(&mut self.region, other.region);
        fill(&mut self.city, other.city);
        fill(&mut self.located_by, other.located_by);
    }

    /// Takes what is missing of the network's number and holder from another source, if that means the same network.
    pub(super) fn fill_owner(&mut self, other: Self) {
        if self.asn.is_some() && self.asn != other.asn {
            return;
        }
        fill(&mut self.asn, other.asn);
        fill(&mut self.org, other.org);
        fill(&mut self.owned_by, other.owned_by);
    }

    /// Names a satellite's orbit from the number, where no source was as exact.
    pub(super) fn refine_kind(&mut self) {
        let satellite = |kind: &Kind| matches!(kind, Kind::SatelliteGeo | Kind::SatelliteLeo);
        if let Some(kind) = self.asn.and_then(Kind::of_asn).filter(satellite)
            && self.kind.yields_to(kind)
        {
            self.kind = kind;
            self.kind_by = Some(Origin::AsnTable);
        }
    }

    /// Names the kind from the number, where no source said any.
    pub(super) fn guess_kind(&mut self) {
        if self.kind == Kind::Unknown
            && let Some(kind) = self.asn.and_then(Kind::of_asn)
        {
            self.kind = kind;
            self.kind_by = Some(Origin::AsnTable);
        }
    }
}

fn fill<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// Why a source of places cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The CSV does not begin with the header.
    #[error("{path}:1: the header is '{found}', not '{wanted}'", path = path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// What stands there.
        found: String,
        /// What should.
        wanted: String,
    },
    /// A row of the CSV says something that cannot be.
    #[error("{path}:{line}: {field}: {reason}", path = path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: u64,
        /// Which field, by its name in the header; `row` for the row as a whole.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file is a MaxMind database, but of another type.
    #[error("{path} is a database of type '{found}', not of type {wanted}", path = path.display())]
    Type {
        /// Which file.
        path: PathBuf,
        /// The type it says it has.
        found: String,
        /// The types that would do.
        wanted: &'static str,
    },
    /// The file is no MaxMind database, or a broken one.
    #[error("{path} is not a sound MaxMind database: {reason}", path = path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
