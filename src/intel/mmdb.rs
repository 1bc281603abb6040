//! MaxMind databases: City for the place, ASN for the network's holder.
//!
//! Reads: the MaxMind DB format 2.0 through `maxminddb`, whole files into memory (a file that is replaced while it is
//! mapped would stop the program). Emits: [`Place`]s with what the database says.
//! Does not: trust a file: its whole tree and every record are checked once, on opening.

use super::place::{Origin, Place, PlaceError};
use super::{GeoPoint, Kind};
use maxminddb::{Reader, geoip2};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::Path;

/// Places by address.
#[derive(Debug)]
pub(super) struct CityDatabase(Database);

impl CityDatabase {
    pub(super) fn open(path: &Path) -> Result<Self, PlaceError> {
        Database::open(path, &["City", "Enterprise"], "City or Enterprise").map(Self)
    }

    /// Country, region, city and point of `ip`. The country is where the address is used, not where it is registered.
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<Place> {
        let record: geoip2::City<'_> = self.0.record(ip)?;
        let text = |value: Option<&str>| value.map(str::to_owned);
        let region = record.subdivisions.first().and_then(|largest| largest.iso_code.or(largest.names.english));
        let place = Place {
            point: record.location.latitude.zip(record.location.longitude).and_then(|(a, b)| GeoPoint::new(a, b).ok()),
            country: text(record.country.iso_code),
            region: text(region),
            city: text(record.city.names.english),
            ..Place::default()
        };
        (!place.is_unknown()).then_some(Place { located_by: Some(Origin::CityDatabase), ..place })
    }
}

/// Holders of networks by address.
#[derive(Debug)]
pub(super) struct AsnDatabase(Database);

impl AsnDatabase {
    pub(super) fn open(path: &Path) -> Result<Self, PlaceError> {
        Database::open(path, &["ASN", "ISP"], "ASN or ISP").map(Self)
    }

    /// AS number and organization of `ip`.
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<Place> {
        let record: geoip2::Asn<'_> = self.0.record(ip)?;
        let place = Place {
            asn: record.autonomous_system_number,
            org: record.autonomous_system_organization.map(str::to_owned),
            kind: Kind::Unknown,
            ..Place::default()
        };
        (!place.is_unknown()).then_some(Place { owned_by: Some(Origin::AsnDatabase), ..place })
    }
}

/// What a network is used for, from databases that say that.
#[derive(Debug)]
pub(super) struct KindDatabase(Database);

impl KindDatabase {
    pub(super) fn open(path: &Path) -> Result<Self, PlaceError> {
        let types = ["Anonymous-IP", "Anonymous-Plus", "Connection-Type", "Enterprise"];
        Database::open(path, &types, "Anonymous-IP, Connection-Type or Enterprise").map(Self)
    }

    /// The kind of network that holds `ip`. Who hides behind it goes before how it is connected.
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<Kind> {
        let said: KindRecord<'_> = self.0.record(ip)?;
        let yes = |flag: Option<bool>| flag == Some(true);
        if yes(said.is_anonymous_vpn)
            || yes(said.is_public_proxy)
            || yes(said.is_residential_proxy)
            || yes(said.is_tor_exit_node)
        {
            return Some(Kind::Vpn);
        }
        if yes(said.is_hosting_provider) {
            return Some(Kind::Hosting);
        }
        let traits = said.traits.unwrap_or_default();
        let user = traits.user_type.and_then(kind_of_user);
        user.or_else(|| said.connection_type.or(traits.connection_type).and_then(kind_of_connection))
    }
}

/// The fields that Anonymous-IP, Connection-Type and Enterprise databases have for it.
#[derive(Debug, Default, Deserialize)]
struct KindRecord<'a> {
    is_anonymous_vpn: Option<bool>,
    is_hosting_provider: Option<bool>,
    is_public_proxy: Option<bool>,
    is_residential_proxy: Option<bool>,
    is_tor_exit_node: Option<bool>,
    #[serde(borrow)]
    connection_type: Option<&'a str>,
    #[serde(borrow)]
    traits: Option<Traits<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Traits<'a> {
    #[serde(borrow)]
    connection_type: Option<&'a str>,
    #[serde(borrow)]
    user_type: Option<&'a str>,
}

/// MaxMind's words for who uses a network, as its documentation lists them.
fn kind_of_user(word: &str) -> Option<Kind> {
    Some(match word {
        "residential" | "dialup" => Kind::Residential,
        "cellular" => Kind::Mobile,
        "business" | "government" | "military" | "college" | "school" | "library" | "cafe" => Kind::Business,
        "hosting" | "content_delivery_network" => Kind::Hosting,
        "consumer_privacy_network" => Kind::Vpn,
        _ => return None,
    })
}

/// MaxMind's words for how a network is connected.
fn kind_of_connection(word: &str) -> Option<Kind> {
    Some(match word {
        "Cable/DSL" | "Dialup" => Kind::Residential,
        "Corporate" => Kind::Business,
        "Cellular" => Kind::Mobile,
        "Satellite" => Kind::Satellite,
        _ => return None,
    })
}

/// What a database says of itself, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Its type, such as `GeoLite2-City`.
    pub kind: String,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// The line that its licence wants beside what is shown of it, if it does.
    pub attribution: Option<&'static str>,
    /// It gives a record for an address that every database of the whole Internet knows.
    pub knows_the_internet: bool,
}

/// Addresses of public resolvers that have not moved for years, and one of MaxMind's test databases.
const KNOWN: [&str; 5] = ["8.8.8.8", "1.1.1.1", "9.9.9.9", "2001:4860:4860::8888", "81.2.69.142"];

/// Opens a database as it would be opened for use, its whole tree and every record checked, and tells what it is.
///
/// # Errors
/// The file can't be read, or is no sound database.
pub fn inspect(path: &Path) -> Result<DatabaseFacts, PlaceError> {
    let database = Database::open(path, &[""], "any type")?;
    let about = database.reader.metadata();
    let knows = |ip: &&str| ip.parse::<IpAddr>().is_ok_and(|ip| database.record::<serde::de::IgnoredAny>(ip).is_some());
    Ok(DatabaseFacts {
        kind: about.database_type.clone(),
        built: about.build_epoch,
        attribution: attribution(&about.database_type, about.description.values()),
        knows_the_internet: KNOWN.iter().any(knows),
    })
}

/// The licences' own sentences: CC BY 4.0 for DB-IP's Lite databases, MaxMind's for GeoLite2.
fn attribution<'a>(kind: &str, mut descriptions: impl Iterator<Item = &'a String>) -> Option<&'static str> {
    if kind.starts_with("DBIP") || descriptions.any(|text| text.contains("DB-IP") || text.contains("db-ip.com")) {
        Some("IP geolocation by DB-IP, https://db-ip.com (CC BY 4.0)")
    } else if kind.starts_with("GeoLite2") {
        Some("This product includes GeoLite Data created by MaxMind, available from https://www.maxmind.com")
    } else {
        None
    }
}

/// The last second of the year 9999: a build time after it is no time.
const LAST_SECOND: u64 = 253_402_300_799;

#[derive(Debug)]
struct Database {
    reader: Reader<Vec<u8>>,
}

impl Database {
    fn open(path: &Path, types: &[&str], wanted: &'static str) -> Result<Self, PlaceError> {
        let bytes = std::fs::read(path).map_err(|source| PlaceError::Read { path: path.to_owned(), source })?;
        Self::parse(path, bytes, types, wanted)
    }

    fn parse(path: &Path, bytes: Vec<u8>, types: &[&str], wanted: &'static str) -> Result<Self, PlaceError> {
        let broken = |reason: String| PlaceError::Database { path: path.to_owned(), reason };
        let reader = Reader::from_source(bytes).map_err(|error| broken(error.to_string()))?;

        let about = reader.metadata();
        if !types.iter().any(|name| about.database_type.contains(name)) {
            return Err(PlaceError::Type { path: path.to_owned(), found: about.database_type.clone(), wanted });
        }
        if !matches!(about.ip_version, 4 | 6) {
            return Err(broken(format!("IP version {} is neither 4 nor 6", about.ip_version)));
        }
        if about.build_epoch > LAST_SECOND {
            return Err(broken(format!("build time {} is after the year 9999", about.build_epoch)));
        }
        reader.verify().map_err(|error| broken(error.to_string()))?;
        Ok(Self { reader })
    }

    /// The record of `ip`. A record that cannot be read as `T`, as any other type of database could have, is none;
    /// so is an IPv6 address in a database of IPv4.
    fn record<'a, T: Deserialize<'a>>(&'a self, ip: IpAddr) -> Option<T> {
        self.reader.lookup(ip).ok()?.decode().ok()?
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ipnet::{IpNet, Ipv4Net};
    use serde_json::Value;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::path::PathBuf;

    /// A value of the MaxMind DB format, for databases made on the spot.
    pub(crate) enum Mm {
        Text(&'static str),
        Double(f64),
        U16(u16),
        U32(u32),
        U64(u64),
        Map(Vec<(&'static str, Mm)>),
        Array(Vec<Mm>),
    }

    impl Mm {
        /// Control byte (type and size), then the payload; types above 7 and sizes from 29 on have a byte more.
        fn write(&self, out: &mut Vec<u8>) {
            let head = |out: &mut Vec<u8>, kind: u8, len: usize| {
                let len = u8::try_from(len).unwrap();
                out.push(len.min(29) | if kind > 7 { 0 } else { kind << 5 });
                out.extend((kind > 7).then(|| kind - 7));
                out.extend(len.checked_sub(29));
            };
            let bytes = |out: &mut Vec<u8>, kind: u8, bytes: &[u8]| {
                head(out, kind, bytes.len());
                out.extend_from_slice(bytes);
            };
            match self {
                Self::Text(text) => bytes(out, 2, text.as_bytes()),
                Self::Double(number) => bytes(out, 3, &number.to_be_bytes()),
                Self::U16(number) => bytes(out, 5, &number.to_be_bytes()),
                Self::U32(number) => bytes(out, 6, &number.to_be_bytes()),
                Self::U64(number) => bytes(out, 9, &number.to_be_bytes()),
                Self::Map(pairs) => {
                    head(out, 7, pairs.len());
                    for (key, value) in pairs {
                        bytes(out, 2, key.as_bytes());
                        value.write(out);
                    }
                }
                Self::Array(items) => {
                    head(out, 11, items.len());
                    items.iter().for_each(|item| item.write(out));
                }
            }
        }
    }

    /// A sound database of IPv4 whose lower half (0.0.0.0/1) has one record and whose upper half has none.
    pub(crate) fn database(kind: &'static str, ip_version: u16, epoch: u64, record: &Mm) -> Vec<u8> {
        // One node: left to the record (node count + 16 + offset 0), right to nothing (node count).
        let mut out = vec![0, 0, 17, 0, 0, 1];
        out.extend([0; 16]);
        record.write(&mut out);
        out.extend(b"\xab\xcd\xefMaxMind.com");
        Mm::Map(vec![
            ("binary_format_major_version", Mm::U16(2)),
            ("binary_format_minor_version", Mm::U16(0)),
            ("build_epoch", Mm::U64(epoch)),
            ("database_type", Mm::Text(kind)),
            ("description", Mm::Map(vec![("en", Mm::Text("made by a test"))])),
            ("ip_version", Mm::U16(ip_version)),
            ("languages", Mm::Array(vec![Mm::Text("en")])),
            ("node_count", Mm::U32(1)),
            ("record_size", Mm::U16(24)),
        ])
        .write(&mut out);
        out
    }

    pub(crate) fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn asn_record() -> Mm {
        Mm::Map(vec![
            ("autonomous_system_number", Mm::U32(7155)),
            ("autonomous_system_organization", Mm::Text("Viasat")),
        ])
    }

    #[test]
    fn a_database_made_here_is_read() {
        let file = file(&database("Test-ASN", 4, 1_700_000_000, &asn_record()));
        let asn = AsnDatabase::open(file.path()).unwrap();
        let place = asn.lookup("127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!((place.asn, place.org.as_deref()), (Some(7155), Some("Viasat")));
        assert_eq!(place.owned_by, Some(Origin::AsnDatabase));
        assert_eq!(asn.lookup("128.0.0.1".parse().unwrap()), None);
        assert_eq!(asn.lookup("2001:db8::1".parse().unwrap()), None);
    }

    #[test]
    fn the_metadata_must_fit() {
        let refusal = |bytes: &[u8]| CityDatabase::open(file(bytes).path()).unwrap_err().to_string();
        let empty = Mm::Map(vec![]);
        let said = refusal(&database("Test-ASN", 4, 0, &empty));
        assert!(said.ends_with("is a database of type 'Test-ASN', not of type City or Enterprise"), "{said}");
        let said = refusal(&database("Test-City", 4, LAST_SECOND + 1, &empty));
        assert!(said.ends_with("build time 253402300800 is after the year 9999"), "{said}");
        let said = refusal(&database("Test-City", 5, 0, &empty));
        assert!(said.contains("not a sound MaxMind database: "), "{said}");
        let said = refusal(b"cidr,lat,lon");
        assert!(said.contains("not a sound MaxMind database: "), "{said}");
        let missing = CityDatabase::open(Path::new("/no/such/file.mmdb")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /no/such/file.mmdb: "), "{missing}");
    }

    #[test]
    fn no_cut_and_no_changed_byte_stops_the_program() {
        let sound = database("Test-ASN", 4, 0, &asn_record());
        let open = |bytes: &[u8]| Database::parse(Path::new("x"), bytes.to_vec(), &["ASN"], "ASN").map(AsnDatabase);
        assert!(open(&sound).is_ok());
        for at in 0..sound.len() {
            assert!(open(&sound[..at]).is_err(), "cut at {at}");
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                if let Ok(asn) = open(&bytes) {
                    let _ = asn.lookup("1.2.3.4".parse().unwrap());
                    let _ = asn.lookup("2001:db8::1".parse().unwrap());
                }
            }
        }
    }

    /// MaxMind's test databases, if they are at hand.
    fn maxmind_test() -> Option<PathBuf> {
        let shared = std::env::var_os("FARMLIGHT_SHARED")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
        let folder = shared.join("intel/maxmind-test");
        if !folder.is_dir() {
            eprintln!("skipped: {} is not there", folder.display());
            return None;
        }
        Some(folder)
    }

    /// The records of a source file, in the order in which the writer took them in (later ones overwrite).
    fn source(path: &Path) -> Vec<(IpNet, Value)> {
        let entries: Vec<serde_json::Map<String, Value>> =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        entries.into_iter().flatten().map(|(net, record)| (canonical(net.parse().unwrap()), record)).collect()
    }

    /// The sources write IPv4 networks as IPv6 ones below ::/96, or plainly.
    fn canonical(net: IpNet) -> IpNet {
        match net {
            IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_bits() >> 32 == 0 => {
                let bits = u32::try_from(v6.addr().to_bits()).unwrap();
                IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(bits), v6.prefix_len() - 96).unwrap())
            }
            other => other,
        }
    }

    /// First, last, and sixty addresses between, evenly; all addresses of a network smaller than that.
    fn addresses(net: IpNet) -> Vec<IpAddr> {
        let (first, last): (u128, u128) = match (net.network(), net.broadcast()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into()),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits()),
            _ => unreachable!("one network has addresses of one family"),
        };
        let step = ((last - first) / 61).max(1);
        (0..=61)
            .map(|i| first + i * step)
            .take_while(|bits| *bits <= last)
            .chain([last])
            .map(|bits| match net {
                IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap()).into(),
                IpNet::V6(_) => Ipv6Addr::from_bits(bits).into(),
            })
            .collect()
    }

    /// Asks for every address of the sources; gives how many were asked for.
    fn check(
        records: &[(IpNet, Value)],
        expected: impl Fn(&Value) -> Place,
        got: impl Fn(IpAddr) -> Option<Place>,
    ) -> usize {
        let mut asked = 0;
        for ip in records.iter().flat_map(|(net, _)| addresses(*net)) {
            let (_, record) = records.iter().rev().find(|(net, _)| net.contains(&ip)).unwrap();
            let place = Place { located_by: None, owned_by: None, ..got(ip).unwrap_or_default() };
            assert_eq!(place, expected(record), "{ip}");
            asked += 1;
        }
        asked
    }

    fn text(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    #[test]
    fn every_address_of_the_city_sources_has_the_fields_written_there() {
        let Some(folder) = maxmind_test() else { return };
        let city = CityDatabase::open(&folder.join("test-data/GeoIP2-City-Test.mmdb")).unwrap();
        let expected = |record: &Value| Place {
            point: record["location"]["latitude"]
                .as_f64()
                .map(|lat| GeoPoint::new(lat, record["location"]["longitude"].as_f64().unwrap()).unwrap()),
            country: text(&record["country"]["iso_code"]),
            region: text(&record["subdivisions"][0]["iso_code"]),
            city: text(&record["city"]["names"]["en"]),
            ..Place::default()
        };
        let records = source(&folder.join("source-data/GeoIP2-City-Test.json"));
        let asked = check(&records, expected, |ip| city.lookup(ip));
        assert!(asked > 10_000, "asked for {asked} addresses only");
    }

    #[test]
    fn every_address_of_the_asn_sources_has_the_fields_written_there() {
        let Some(folder) = maxmind_test() else { return };
        let asn = AsnDatabase::open(&folder.join("test-data/GeoLite2-ASN-Test.mmdb")).unwrap();
        let expected = |record: &Value| Place {
            asn: record["autonomous_system_number"].as_u64().map(|n| u32::try_from(n).unwrap()),
            org: text(&record["autonomous_system_organization"]),
            ..Place::default()
        };
        let records = source(&folder.join("source-data/GeoLite2-ASN-Test.json"));
        let asked = check(&records, expected, |ip| asn.lookup(ip));
        assert!(asked > 20_000, "asked for {asked} addresses only");
    }

    #[test]
    fn what_a_network_is_used_for_is_read_from_three_types_of_database() {
        let kind = |name: &'static str, record: Mm| {
            let file = file(&database(name, 4, 0, &record));
            KindDatabase::open(file.path()).unwrap().lookup("1.2.3.4".parse().unwrap())
        };
        let word = |key, value| Mm::Map(vec![(key, Mm::Text(value))]);
        assert_eq!(kind("Test-Connection-Type", word("connection_type", "Cellular")), Some(Kind::Mobile));
        assert_eq!(kind("Test-Connection-Type", word("connection_type", "Telepathy")), None);
        let traits = Mm::Map(vec![("user_type", Mm::Text("hosting")), ("connection_type", Mm::Text("Cable/DSL"))]);
        assert_eq!(kind("Test-Enterprise", Mm::Map(vec![("traits", traits)])), Some(Kind::Hosting));
        let Some(folder) = maxmind_test() else { return };
        let open = |name: &str| KindDatabase::open(&folder.join(format!("test-data/{name}.mmdb"))).unwrap();
        let anonymous = open("GeoIP2-Anonymous-IP-Test");
        // As MaxMind's source data has them: 1.2.0.0/16 a VPN, 71.160.223.0/24 a hosting provider, 65.0.0.0/13 Tor.
        for (ip, kind) in [("1.2.0.1", Kind::Vpn), ("71.160.223.5", Kind::Hosting), ("65.0.0.1", Kind::Vpn)] {
            assert_eq!(anonymous.lookup(ip.parse().unwrap()), Some(kind), "{ip}");
        }
        let connection = open("GeoIP2-Connection-Type-Test");
        assert_eq!(connection.lookup("1.0.1.1".parse().unwrap()), Some(Kind::Mobile));
        assert!(KindDatabase::open(&folder.join("test-data/GeoIP2-City-Test.mmdb")).is_err());
        assert!(open("GeoIP2-Enterprise-Test").lookup("74.209.24.1".parse().unwrap()).is_some());
    }

    #[test]
    fn a_database_tells_its_type_age_and_whose_it_is() {
        let made = file(&database("DBIP-City-Lite", 4, 1_700_000_000, &Mm::Map(vec![("x", Mm::U32(1))])));
        let facts = inspect(made.path()).unwrap();
        assert_eq!(
            (facts.kind.as_str(), facts.built, facts.knows_the_internet),
            ("DBIP-City-Lite", 1_700_000_000, true)
        );
        assert!(facts.attribution.unwrap().contains("CC BY 4.0"));
        let bought = file(&database("GeoIP2-City", 4, 0, &Mm::Map(vec![])));
        assert_eq!(inspect(bought.path()).unwrap().attribution, None);
        assert!(inspect(file(b"not a database").path()).is_err());
    }

    #[test]
    fn sound_databases_open_and_broken_ones_are_refused_with_a_reason() {
        let Some(folder) = maxmind_test() else { return };
        for name in ["GeoIP2-City-Test", "GeoLite2-City-Test", "GeoIP2-Enterprise-Test"] {
            CityDatabase::open(&folder.join(format!("test-data/{name}.mmdb"))).unwrap();
        }
        for name in ["GeoLite2-ASN-Test", "GeoIP2-ISP-Test"] {
            AsnDatabase::open(&folder.join(format!("test-data/{name}.mmdb"))).unwrap();
        }
        for name in ["GeoIP2-Anonymous-IP-Test", "GeoIP2-Connection-Type-Test"] {
            let path = folder.join(format!("test-data/{name}.mmdb"));
            assert!(matches!(CityDatabase::open(&path), Err(PlaceError::Type { .. })), "{name}");
            assert!(matches!(AsnDatabase::open(&path), Err(PlaceError::Type { .. })), "{name}");
        }

        let mut broken: Vec<PathBuf> = ["libmaxminddb", "maxminddb-golang", "maxminddb-python"]
            .iter()
            .flat_map(|reader| std::fs::read_dir(folder.join("bad-data").join(reader)).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        broken.push(folder.join("test-data/MaxMind-DB-test-broken-pointers-24.mmdb"));
        broken.push(folder.join("test-data/MaxMind-DB-test-broken-search-tree-24.mmdb"));
        assert!(broken.len() > 20, "{} broken databases", broken.len());
        for path in broken {
            // Whatever type it claims to be: the bytes themselves must be refused.
            let unsound = Database::open(&path, &[""], "any type").unwrap_err();
            assert!(matches!(unsound, PlaceError::Database { .. }), "{unsound}");
            for error in [CityDatabase::open(&path).unwrap_err(), AsnDatabase::open(&path).unwrap_err()] {
                assert!(matches!(error, PlaceError::Database { .. } | PlaceError::Type { .. }), "{error}");
            }
        }
    }
}
