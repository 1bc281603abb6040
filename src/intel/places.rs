//! The place of an address, from all sources together.
//!
//! Reads: the user's CSV, a City and an ASN database, each optional. Emits: [`Place`].
//! Does not: change once opened (with a source read anew it is another value); tell which source is right: the user's CSV goes before the databases.

pub use super::place::{Origin, Place, PlaceError};

use super::geo_csv::Table;
use super::mmdb::{AsnDatabase, CityDatabase, KindDatabase};
use super::{Kind, Label, Listed, Lists};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that is known of places.
#[derive(Debug, Default, Clone)]
pub struct Places {
    // Shared, so that one source can be replaced and the others stay where they are.
    table: Option<Arc<Table>>,
    city: Option<Arc<CityDatabase>>,
    asn: Option<Arc<AsnDatabase>>,
    kinds: Vec<Arc<KindDatabase>>,
    lists: Arc<Lists>,
}

/// One source of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacePart {
    /// The user's CSV.
    Csv,
    /// The City database.
    City,
    /// The ASN database.
    Asn,
    /// A database of kinds, counted from 0.
    Kind(usize),
}

impl Places {
    /// Reads the sources given into memory; with none, every place is unknown.
    ///
    /// # Errors
    /// If one cannot be read, is broken, or is something else than it should be: nothing of it is used then.
    pub fn open(geo_csv: Option<&Path>, city: Option<&Path>, asn: Option<&Path>) -> Result<Self, PlaceError> {
        Ok(Self {
            table: geo_csv.map(Table::open).transpose()?.map(Arc::new),
            city: city.map(CityDatabase::open).transpose()?.map(Arc::new),
            asn: asn.map(AsnDatabase::open).transpose()?.map(Arc::new),
            ..Self::default()
        })
    }

    /// The same, with one source read anew; this one stays as it is.
    ///
    /// # Errors
    /// If it cannot be read, is broken, or is something else than it should be.
    pub fn with(&self, part: PlacePart, path: &Path) -> Result<Self, PlaceError> {
        let mut new = self.clone();
        match part {
            PlacePart::Csv => new.table = Some(Arc::new(Table::open(path)?)),
            PlacePart::City => new.city = Some(Arc::new(CityDatabase::open(path)?)),
            PlacePart::Asn => new.asn = Some(Arc::new(AsnDatabase::open(path)?)),
            PlacePart::Kind(at) => {
                let database = Arc::new(KindDatabase::open(path)?);
                if let Some(kind) = new.kinds.get_mut(at) {
                    *kind = database;
                }
            }
        }
        Ok(new)
    }

    /// The same, with databases that say what networks are used for: Anonymous-IP, Connection-Type, Enterprise.
    ///
    /// # Errors
    /// If one cannot be read, is broken, or is something else.
    pub fn with_kinds(mut self, paths: &[PathBuf]) -> Result<Self, PlaceError> {
        self.kinds = paths.iter().map(|path| KindDatabase::open(path).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The same, with lists of networks whose label names the kind of an address that no other source names.
    #[must_use]
    pub fn with_lists(mut self, lists: Lists) -> Self {
        self.lists = Arc::new(lists);
        self
    }

    /// What the lists say of an address.
    #[must_use]
    pub fn listed(&self, ip: IpAddr) -> Option<Listed<'_>> {
        self.lists.lookup(ip)
    }

    /// Whether there is no source of places; lists of networks know none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.table.is_none() && self.city.is_none() && self.asn.is_none()
    }

    /// What is known of `ip`; `None` if nothing is.
    ///
    /// The CSV's row for the longest matching prefix goes first. Where it leaves a field empty the databases fill it,
    /// unless they contradict the row (another country, more than 1,000 km away, another AS). A few hash look-ups and
    /// copied strings: meant for once an endpoint, not once a packet.
    #[must_use]
    pub fn lookup(&self, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut place = self.table.as_deref().and_then(|table| table.lookup(ip)).cloned().unwrap_or_default();
        if let Some(found) = self.city.as_ref().and_then(|city| city.lookup(ip)) {
            place.fill_location(found);
        }
        if let Some(found) = self.asn.as_ref().and_then(|asn| asn.lookup(ip)) {
            place.fill_owner(found);
        }
        place.refine_kind();
        if place.kind == Kind::Unknown
            && let Some(kind) = self.kinds.iter().find_map(|database| database.lookup(ip))
        {
            place.kind = kind;
            place.kind_by = Some(Origin::KindDatabase);
        }
        if place.kind == Kind::Unknown
            && let Some(kind) = self.lists.lookup(ip).and_then(|listed| kind_of(listed.label))
        {
            place.kind = kind;
            place.kind_by = Some(Origin::List);
        }
        place.guess_kind();
        (!place.is_unknown()).then_some(place)
    }
}

/// The kind of network that a label stands for.
const fn kind_of(label: Label) -> Option<Kind> {
    match label {
        Label::Vpn | Label::Tor => Some(Kind::Vpn),
        Label::Hosting => Some(Kind::Hosting),
        Label::Corporate => Some(Kind::Business),
        // A relay's egress says nothing of the line behind it.
        Label::Relay => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::mmdb::tests::{Mm, database, file};
    use super::*;
    use crate::intel::GeoPoint;

    /// A City and an ASN database that say the same of 0.0.0.0 to 127.255.255.255, and a CSV with these rows.
    fn places(rows: &str) -> Places {
        let names = |name| Mm::Map(vec![("names", Mm::Map(vec![("en", Mm::Text(name))]))]);
        let city = Mm::Map(vec![
            ("city", names("Berlin")),
            ("country", Mm::Map(vec![("iso_code", Mm::Text("DE"))])),
            ("location", Mm::Map(vec![("latitude", Mm::Double(52.52)), ("longitude", Mm::Double(13.405))])),
            ("subdivisions", Mm::Array(vec![Mm::Map(vec![("iso_code", Mm::Text("BE"))])])),
        ]);
        let asn = Mm::Map(vec![
            ("autonomous_system_number", Mm::U32(14593)),
            ("autonomous_system_organization", Mm::Text("Starlink")),
        ]);
        let city = file(&database("Test-City", 4, 0, &city));
        let asn = file(&database("Test-ASN", 4, 0, &asn));
        let csv = file(format!("cidr,lat,lon,country,region,city,asn,org,kind\n{rows}").as_bytes());
        Places::open(Some(csv.path()), Some(city.path()), Some(asn.path())).unwrap()
    }

    fn lookup(rows: &str, ip: &str) -> Option<Place> {
        places(rows).lookup(ip.parse().unwrap())
    }

    #[test]
    fn the_databases_alone_tell_place_holder_and_orbit() {
        let berlin = Place {
            point: Some(GeoPoint::new(52.52, 13.405).unwrap()),
            country: Some("DE".into()),
            region: Some("BE".into()),
            city: Some("Berlin".into()),
            asn: Some(14593),
            org: Some("Starlink".into()),
            kind: Kind::SatelliteLeo,
            located_by: Some(Origin::CityDatabase),
            owned_by: Some(Origin::AsnDatabase),
            kind_by: Some(Origin::AsnTable),
            home_km: None,
            address_point: None,
        };
        assert_eq!(lookup("", "10.1.2.3").as_ref(), Some(&berlin));
        assert_eq!(lookup("", "::ffff:10.1.2.3").as_ref(), Some(&berlin));
        assert_eq!(lookup("", "203.0.113.1"), None);
        assert_eq!(lookup("203.0.113.0/24,,,,,,,,\n", "203.0.113.1"), None);
        assert!(Places::default().is_empty() && Places::default().lookup([10, 0, 0, 1].into()).is_none());
    }

    #[test]
    fn a_row_overrides_and_the_databases_fill_its_gaps() {
        let place = lookup("10.0.0.0/8,52.4,13.07,DE,BB,,,,residential\n", "10.1.2.3").unwrap();
        assert_eq!((place.point.unwrap().lat(), place.region.as_deref()), (52.4, Some("BB")));
        assert_eq!((place.city.as_deref(), place.asn), (Some("Berlin"), Some(14593)));
        assert_eq!((place.kind, place.kind_by), (Kind::Residential, Some(Origin::GeoCsv)));
        assert_eq!((place.located_by, place.owned_by), (Some(Origin::GeoCsv), Some(Origin::AsnDatabase)));
    }

    #[test]
    fn what_contradicts_the_row_does_not_fill_it() {
        let elsewhere = lookup("10.0.0.0/8,,,US,,,,,\n", "10.1.2.3").unwrap();
        assert_eq!((elsewhere.point, elsewhere.city), (None, None));
        let far = lookup("10.0.0.0/8,41.8,123.43,,,,,,\n", "10.1.2.3").unwrap();
        assert_eq!((far.country, far.city), (None, None));
        let other_network = lookup("10.0.0.0/8,,,,,,64500,,\n", "10.1.2.3").unwrap();
        assert_eq!((other_network.asn, other_network.org), (Some(64500), None));
        assert_eq!((other_network.kind, other_network.city.as_deref()), (Kind::Unknown, Some("Berlin")));
    }

    #[test]
    fn the_orbit_is_named_where_the_row_only_says_satellite() {
        let geo = lookup("192.0.2.0/24,,,,,,6621,geo-sat,satellite\n", "192.0.2.1").unwrap();
        assert_eq!((geo.kind, geo.kind_by), (Kind::SatelliteGeo, Some(Origin::AsnTable)));
        let unknown = lookup("192.0.2.0/24,,,,,,64500,sat,satellite\n", "192.0.2.1").unwrap();
        assert_eq!((unknown.kind, unknown.kind_by), (Kind::Satellite, Some(Origin::GeoCsv)));
    }
}
