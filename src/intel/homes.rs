//! Where people work from, by their own declaration: identity to place.
//!
//! Reads: a CSV with the header `identity,lat,lon` and, in any order behind them, `country`, `region`, `city`. Emits: the
//! home of whoever is said to be at an address. The point is obligatory: a city's name alone can't be measured against,
//! and no database turns names into points. Does not: guess between people who live apart; a gateway behind which many
//! are has no home.

use super::geo_csv::{country_code, line_of, point, reason_of};
use super::place::PlaceError;
use super::{GeoPoint, Pseudonyms, distance_km};
use std::collections::HashMap;
use std::path::Path;

/// Homes farther apart than this are not one place, in km: what is within it makes less than 2 ms of round trip.
const SAME_TOWN_KM: f64 = 100.0;
/// More rows than this are taken for a mistake: no site has so many people.
const MAX_ROWS: usize = 5_000_000;

/// A declared home.
#[derive(Debug, Clone, PartialEq)]
pub struct Home {
    /// Where.
    pub point: GeoPoint,
    /// ISO 3166-1 alpha-2 code, upper case.
    pub country: Option<Box<str>>,
    /// The largest subdivision.
    pub region: Option<Box<str>>,
    /// The city.
    pub city: Option<Box<str>>,
}

/// Where some people say that they live, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Towns {
    /// Those whose home is declared.
    pub people: usize,
    /// Towns that those homes are in, more than 100 km apart.
    pub towns: usize,
}

/// Declared homes by identity.
#[derive(Debug, Clone, Default)]
pub struct Homes {
    // By the name in small letters, or by the pseudonym.
    homes: HashMap<Box<str>, Home>,
}

impl Homes {
    /// Reads the file. Where names are kept as pseudonyms, it may hold either; of names, only pseudonyms are kept.
    ///
    /// # Errors
    /// The file can't be read, or a row can't be understood in full: a wrong home could accuse somebody.
    pub fn open(path: &Path, pseudonyms: Option<&Pseudonyms>) -> Result<Self, PlaceError> {
        let bytes = std::fs::read(path).map_err(|source| PlaceError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &bytes, pseudonyms)
    }

    /// The same of what was read already; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::open`], but for reading.
    pub fn parse(path: &Path, bytes: &[u8], pseudonyms: Option<&Pseudonyms>) -> Result<Self, PlaceError> {
        let complain = |byte: u64, field: &'static str, reason: String| PlaceError::Row {
            path: path.to_owned(),
            line: line_of(bytes, byte),
            field,
            reason,
        };
        let broken =
            |error: csv::Error| complain(error.position().map_or(0, csv::Position::byte), "row", reason_of(&error));
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(broken)?.clone();
        let columns = Columns::of(&header).ok_or_else(|| PlaceError::Header {
            path: path.to_owned(),
            found: header.iter().collect::<Vec<_>>().join(","),
            wanted: "identity,lat,lon,country,region,city".to_owned(),
        })?;
        let mut rows: HashMap<Box<str>, (Home, u64)> = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(broken)?;
            let byte = record.position().map_or(0, csv::Position::byte);
            let (name, home) = columns.row(&record).map_err(|(field, reason)| complain(byte, field, reason))?;
            if rows.len() == MAX_ROWS {
                return Err(complain(byte, "row", format!("more than {MAX_ROWS} rows")));
            }
            if let Some((_, first)) = rows.insert(key(name, pseudonyms), (home, byte)) {
                let first = line_of(bytes, first);
                return Err(complain(byte, "identity", format!("'{name}' is already on line {first}")));
            }
        }
        Ok(Self { homes: rows.into_iter().map(|(name, (home, _))| (name, home)).collect() })
    }

    /// The home of one identity, by the name that its claims have.
    #[must_use]
    pub fn of(&self, identity: &str) -> Option<&Home> {
        if identity.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.homes.get(identity.to_ascii_lowercase().as_str());
        }
        self.homes.get(identity)
    }

    /// The one home of all of these that have one; `None` too if they live apart.
    pub fn shared_by<'n>(&self, identities: impl IntoIterator<Item = &'n str>) -> Option<&Home> {
        let mut homes = identities.into_iter().filter_map(|name| self.of(name));
        let first = homes.next()?;
        homes.all(|home| distance_km(first.point, home.point) <= SAME_TOWN_KM).then_some(first)
    }

    /// Of these people, how many have a declared home, and in how many different towns those homes are.
    #[must_use]
    pub fn towns<'n>(&self, identities: impl IntoIterator<Item = &'n str>) -> Towns {
        let homes: Vec<GeoPoint> = identities.into_iter().filter_map(|name| self.of(name)).map(|h| h.point).collect();
        let mut towns: Vec<GeoPoint> = Vec::new();
        for home in &homes {
            if towns.iter().all(|town| distance_km(*town, *home) > SAME_TOWN_KM) {
                towns.push(*home);
            }
        }
        Towns { people: homes.len(), towns: towns.len() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.homes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.homes.is_empty()
    }
}

/// Accounts are the same however they are written, so names are kept in small letters. A pseudonym is of the name as it
/// stands.
fn key(name: &str, pseudonyms: Option<&Pseudonyms>) -> Box<str> {
    match pseudonyms {
        Some(pseudonyms) if !name.starts_with("id:") => pseudonyms.of(name).into(),
        _ => name.to_ascii_lowercase().into(),
    }
}

/// Where each column stands.
struct Columns([Option<usize>; 6]);

impl Columns {
    const NAMES: [&'static str; 6] = ["identity", "lat", "lon", "country", "region", "city"];

    /// `None` if one is missing that must be there, or there is one that nobody knows.
    fn of(header: &csv::StringRecord) -> Option<Self> {
        let at = Self::NAMES.map(|name| header.iter().position(|column| column == name));
        let all_known = at.iter().flatten().count() == header.len();
        (all_known && at.iter().take(3).all(Option::is_some)).then_some(Self(at))
    }

    fn row<'r>(&self, record: &'r csv::StringRecord) -> Result<(&'r str, Home), (&'static str, String)> {
        let [identity, lat, lon, country, region, city] =
            self.0.map(|at| at.and_then(|at| record.get(at)).unwrap_or_default());
        if identity.is_empty() {
            return Err(("identity", "is empty".to_owned()));
        }
        let point = point(lat, lon)?.ok_or_else(|| ("lat", "is empty: a home needs lat and lon".to_owned()))?;
        let text = |field: &str| (!field.is_empty()).then(|| field.into());
        let country = country_code(country)?.map(Into::into);
        Ok((identity, Home { point, country, region: text(region), city: text(city) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "identity,lat,lon,country,region,city\n";

    fn parse(text: &str) -> Result<Homes, PlaceError> {
        Homes::parse(Path::new("homes.csv"), text.as_bytes(), None)
    }

    #[test]
    fn towns_are_counted_once() {
        let homes = Homes::parse(
            Path::new("homes.csv"),
            b"identity,lat,lon\na,41.26,-95.93\nb,41.20,-96.05\nc,36.16,-86.78\nd,47.6,-122.3\n",
            None,
        );
        let homes = homes.unwrap();
        assert_eq!(homes.towns(["a", "B", "x"]), Towns { people: 2, towns: 1 });
        assert_eq!(homes.towns(["a", "b", "c", "d"]), Towns { people: 4, towns: 3 });
        assert_eq!(homes.towns(["x"]), Towns::default());
    }

    #[test]
    fn a_name_is_found_however_it_is_written() {
        let homes =
            parse(&format!("{HEAD}CORP\\Alice,38.627,-90.1994,us,MO,St. Louis\nbob@example.com,51.5,-0.1,,,\n"))
                .unwrap();
        let alice = homes.of("corp\\ALICE").unwrap();
        assert_eq!(
            (alice.point.lat(), alice.country.as_deref(), alice.city.as_deref()),
            (38.627, Some("US"), Some("St. Louis"))
        );
        assert_eq!(homes.of("Bob@Example.com").map(|home| home.city.clone()), Some(None));
        assert_eq!(homes.of("alice"), None, "an account of another realm is another person");
        assert_eq!(parse("lon,identity,lat\n-0.1,carol,51.5\n").unwrap().len(), 1);
    }

    #[test]
    fn several_people_have_a_home_together_only_where_they_live_together() {
        let homes = parse(&format!("{HEAD}a,38.6,-90.2,,,\nb,38.7,-90.3,,,\nc,47.6,-122.3,,,\n")).unwrap();
        assert_eq!(homes.shared_by(["a", "unknown", "b"]).map(|home| home.point.lat()), Some(38.6));
        assert_eq!(homes.shared_by(["a", "c"]), None);
        assert_eq!(homes.shared_by(["unknown"]), None);
        assert_eq!(homes.shared_by([]), None);
    }

    #[test]
    fn pseudonyms_and_names_are_found_by_the_pseudonym() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 32]).unwrap();
        let pseudonyms = Pseudonyms::open(file.path()).unwrap();
        let text = format!("{HEAD}alice,38.6,-90.2,,,\n{},47.6,-122.3,,,\n", pseudonyms.of("bob"));
        let homes = Homes::parse(Path::new("homes.csv"), text.as_bytes(), Some(&pseudonyms)).unwrap();
        assert_eq!(homes.of(&pseudonyms.of("alice")).map(|home| home.point.lat()), Some(38.6));
        assert_eq!(homes.of(&pseudonyms.of("bob")).map(|home| home.point.lat()), Some(47.6));
        assert_eq!(homes.of("alice"), None, "the name is not kept");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (row, said) in [
            ("a,91,0,,,", "lat: latitude 91 is not between"),
            ("a,,,,,Berlin", "lat: is empty: a home needs lat and lon"),
            ("a,1,,,,", "lon: is empty, but lat is not"),
            (",1,2,,,", "identity: is empty"),
            ("a,1,2,USA,,", "country: 'USA' is not a code"),
            ("a,1,2", "row: has 3 fields, not 6"),
            ("First,1,2,,,", "identity: 'First' is already on line 2"),
        ] {
            let error = parse(&format!("{HEAD}first,1,2,,,\n\n{row}\n")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("homes.csv:4: {said}")), "{row}: {error}");
        }
        for head in ["", "identity,lat\n", "identity,lat,lon,mood\n", "identity,lat,lon,lat\n"] {
            assert!(matches!(parse(head), Err(PlaceError::Header { .. })), "{head}");
        }
    }

    proptest! {
        #[test]
        fn no_text_stops_the_program(text in "\\PC*", rows in prop::collection::vec("[0-9.,a-z\"\r\n-]{0,40}", 0..6)) {
            let _ = parse(&text);
            let _ = parse(&format!("{HEAD}{}", rows.join("\n")));
        }
    }
}
