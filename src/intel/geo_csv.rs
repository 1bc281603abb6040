//! The user's own knowledge of places: a CSV of networks.
//!
//! Reads: `cidr,lat,lon,country,region,city,asn,org,kind` (RFC 4180; UTF-8, a byte order mark and either line end are
//! fine; empty fields mean unknown). Emits: the row with the longest prefix that holds an address.
//! Does not: accept a row it cannot read in full; a wrong place could accuse somebody.

use super::nets::network;
use super::place::{Origin, Place, PlaceError};
use super::{GeoPoint, GeoPointError, Kind};
use csv::{ErrorKind, StringRecord, Trim};
use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The header, exactly.
const HEADER: [&str; 9] = ["cidr", "lat", "lon", "country", "region", "city", "asn", "org", "kind"];

/// More networks than this are taken for a mistake (the routing table of the whole Internet has about as many).
const MAX_ROWS: usize = 1_000_000;

/// The rows, by network.
#[derive(Debug, Default)]
pub(super) struct Table {
    // One map for each prefix length that occurs, longest first.
    v4: BTreeMap<Reverse<u8>, HashMap<Ipv4Addr, Place>>,
    v6: BTreeMap<Reverse<u8>, HashMap<Ipv6Addr, Place>>,
}

/// What is wrong with a row: the field and why.
pub(super) type Complaint = (&'static str, String);

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self, PlaceError> {
        let bytes = std::fs::read(path).map_err(|source| PlaceError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, PlaceError> {
        let row_error = |byte: u64, (field, reason): Complaint| PlaceError::Row {
            path: path.to_owned(),
            line: line_of(bytes, byte),
            field,
            reason,
        };
        let csv_error = |error: csv::Error| {
            let byte = error.position().map_or(0, csv::Position::byte);
            row_error(byte, ("row", reason_of(&error)))
        };

        let mut reader = csv::ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(csv_error)?;
        if *header != HEADER[..] {
            let found = header.iter().collect::<Vec<_>>().join(",");
            return Err(PlaceError::Header { path: path.to_owned(), found, wanted: HEADER.join(",") });
        }

        let mut rows = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(csv_error)?;
            let byte = record.position().map_or(0, csv::Position::byte);
            let (net, place) = row(&record).map_err(|complaint| row_error(byte, complaint))?;
            if rows.len() == MAX_ROWS {
                return Err(row_error(byte, ("row", format!("more than {MAX_ROWS} rows"))));
            }
            if let Some((_, first)) = rows.insert(net, (place, byte)) {
                let first = line_of(bytes, first);
                return Err(row_error(byte, ("cidr", format!("{net} is already on line {first}"))));
            }
        }
        Ok(rows.into_iter().map(|(net, (place, _))| (net, place)).collect())
    }

    /// The row with the longest prefix that holds `ip`.
    pub(super) fn lookup(&self, ip: IpAddr) -> Option<&Place> {
        match ip {
            IpAddr::V4(ip) => self.v4.iter().find_map(|(Reverse(len), nets)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*len)).unwrap_or(0);
                nets.get(&Ipv4Addr::from_bits(ip.to_bits() & mask))
            }),
            IpAddr::V6(ip) => self.v6.iter().find_map(|(Reverse(len), nets)| {
                let mask = u128::MAX.checked_shl(128 - u32::from(*len)).unwrap_or(0);
                nets.get(&Ipv6Addr::from_bits(ip.to_bits() & mask))
            }),
        }
    }
}

impl FromIterator<(IpNet, Place)> for Table {
    fn from_iter<I: IntoIterator<Item = (IpNet, Place)>>(rows: I) -> Self {
        let mut table = Self::default();
        for (net, place) in rows {
            match net {
                IpNet::V4(net) => table.v4.entry(Reverse(net.prefix_len())).or_default().insert(net.network(), place),
                IpNet::V6(net) => table.v6.entry(Reverse(net.prefix_len())).or_default().insert(net.network(), place),
            };
        }
        table
    }
}

fn row(record: &StringRecord) -> Result<(IpNet, Place), Complaint> {
    let mut fields = record.iter();
    // The reader has made sure that there are as many fields as in the header.
    let [cidr, lat, lon, country, region, city, asn, org, kind] = HEADER.map(|_| fields.next().unwrap_or_default());
    let net = network(cidr).ok_or_else(|| ("cidr", format!("'{cidr}' is not a network such as 203.0.113.0/24")))?;
    let text = |field: &str| (!field.is_empty()).then(|| field.to_owned());

    let mut place = Place {
        point: point(lat, lon)?,
        country: country_code(country)?,
        region: text(region),
        city: text(city),
        asn: as_number(asn)?,
        org: text(org),
        kind: if kind.is_empty() { Kind::Unknown } else { kind.parse().map_err(|e| complaint("kind", &e))? },
        ..Place::default()
    };
    let by = |known: bool| known.then_some(Origin::GeoCsv);
    let named = place.country.is_some() || place.region.is_some() || place.city.is_some();
    place.located_by = by(place.point.is_some() || named);
    place.owned_by = by(place.asn.is_some() || place.org.is_some());
    place.kind_by = by(place.kind != Kind::Unknown);
    Ok((net, place))
}

fn complaint(field: &'static str, reason: &impl ToString) -> Complaint {
    (field, reason.to_string())
}

pub(super) fn point(lat: &str, lon: &str) -> Result<Option<GeoPoint>, Complaint> {
    let degrees = |field, text: &str| text.parse::<f64>().map_err(|_| (field, format!("'{text}' is not a number")));
    match (lat, lon) {
        ("", "") => Ok(None),
        ("", _) => Err(("lat", "is empty, but lon is not".to_owned())),
        (_, "") => Err(("lon", "is empty, but lat is not".to_owned())),
        _ => GeoPoint::new(degrees("lat", lat)?, degrees("lon", lon)?).map(Some).map_err(|error| match error {
            GeoPointError::Longitude(_) => complaint("lon", &error),
            GeoPointError::Latitude(_) | GeoPointError::Form(_) => complaint("lat", &error),
        }),
    }
}

pub(super) fn country_code(text: &str) -> Result<Option<String>, Complaint> {
    match text.as_bytes() {
        [] => Ok(None),
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => Ok(Some(text.to_ascii_uppercase())),
        _ => Err(("country", format!("'{text}' is not a code of two letters (ISO 3166-1), such as US"))),
    }
}

fn as_number(text: &str) -> Result<Option<u32>, Complaint> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix("AS").unwrap_or(text);
    digits.parse().map(Some).map_err(|_| ("asn", format!("'{text}' is not an AS number, such as 7922")))
}

/// The line that the first non-blank byte at or after `byte` stands on, counted from 1.
///
/// The reader's own count is off after blank lines and CRLF; this one is only made for an error.
pub(super) fn line_of(bytes: &[u8], byte: u64) -> u64 {
    let start = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
    let (before, after) = bytes.split_at_checked(start).unwrap_or((bytes, &[]));
    let breaks = |part: &[u8]| part.iter().filter(|b| **b == b'\n').count();
    let blank = after.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let skipped = after.get(..blank).map_or(0, breaks);
    u64::try_from(1 + breaks(before) + skipped).unwrap_or(u64::MAX)
}

pub(super) fn reason_of(error: &csv::Error) -> String {
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => format!("has {len} fields, not {expected_len}"),
        ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "cidr,lat,lon,country,region,city,asn,org,kind\n";

    fn parse(text: &str) -> Result<Table, PlaceError> {
        Table::parse(Path::new("geo.csv"), text.as_bytes())
    }

    fn city_of(table: &Table, ip: &str) -> Option<String> {
        table.lookup(ip.parse().unwrap()).and_then(|place| place.city.clone())
    }

    #[test]
    fn a_row_is_read_in_full() {
        let table = parse(&format!(
            "{HEAD}24.217.0.0/16,38.627,-90.1994,US,MO,St. Louis,20115,\"Cable, Inc.\",residential\n10.0.0.0/8,,,,,,,,\n"
        ))
        .unwrap();
        let place = table.lookup("24.217.3.4".parse().unwrap()).unwrap();
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(
            *place,
            Place {
                point: Some(GeoPoint::new(38.627, -90.1994).unwrap()),
                country: text("US"),
                region: text("MO"),
                city: text("St. Louis"),
                asn: Some(20115),
                org: text("Cable, Inc."),
                kind: Kind::Residential,
                located_by: Some(Origin::GeoCsv),
                owned_by: Some(Origin::GeoCsv),
                kind_by: Some(Origin::GeoCsv),
                home_km: None,
                address_point: None,
            }
        );
        assert!(table.lookup("10.1.2.3".parse().unwrap()).unwrap().is_unknown());
        assert_eq!(table.lookup("24.218.0.0".parse().unwrap()), None);
    }

    #[test]
    fn the_longest_prefix_wins_wherever_it_stands() {
        let table = parse(&format!(
            "{HEAD}0.0.0.0/0,,,,,all,,,\n198.51.100.7,,,,,host,,,\n198.51.100.0/24,,,,,net,,,\n\
             2001:db8::/32,,,,,doc,,,\n2001:db8:1::/48,,,,,one,,,\n::/0,,,,,six,,,\n"
        ))
        .unwrap();
        for (ip, city) in [
            ("198.51.100.7", "host"),
            ("198.51.100.8", "net"),
            ("255.255.255.255", "all"),
            ("2001:db8:1:ffff::", "one"),
            ("2001:db8:2::", "doc"),
            ("::", "six"),
        ] {
            assert_eq!(city_of(&table, ip).as_deref(), Some(city), "{ip}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_crlf_make_no_difference() {
        let text = format!("\u{feff}{HEAD}192.0.2.0/24,,,US,,Reston,,,vpn\n").replace('\n', "\r\n");
        assert_eq!(city_of(&parse(&text).unwrap(), "192.0.2.1").as_deref(), Some("Reston"));
        assert_eq!(city_of(&parse(text.trim_end()).unwrap(), "192.0.2.1").as_deref(), Some("Reston"));
    }

    #[test]
    fn a_bad_row_is_named_by_line_and_field() {
        for (row, said) in [
            ("192.0.2.0/33,,,,,,,,", "cidr: '192.0.2.0/33' is not a network"),
            (",,,,,,,,", "cidr: '' is not a network"),
            ("192.0.2.0/24,91,0,,,,,,", "lat: latitude 91 is not between -90 and 90"),
            ("192.0.2.0/24,0,-180.1,,,,,,", "lon: longitude -180.1 is not between -180 and 180"),
            ("192.0.2.0/24,NaN,0,,,,,,", "lat: latitude NaN is not"),
            ("192.0.2.0/24,north,0,,,,,,", "lat: 'north' is not a number"),
            ("192.0.2.0/24,1,,,,,,,", "lon: is empty, but lat is not"),
            ("192.0.2.0/24,,,USA,,,,,", "country: 'USA' is not a code of two letters"),
            ("192.0.2.0/24,,,,,,-1,,", "asn: '-1' is not an AS number"),
            ("192.0.2.0/24,,,,,,4294967296,,", "asn: '4294967296' is not an AS number"),
            ("192.0.2.0/24,,,,,,,,dsl", "kind: 'dsl' is none of residential, "),
            ("192.0.2.0/24,,,,,,,", "row: has 8 fields, not 9"),
            ("192.0.2.0/24,,,,,,,,,", "row: has 10 fields, not 9"),
            ("203.0.113.9/24,,,,,,,,", "cidr: 203.0.113.0/24 is already on line 2"),
        ] {
            let first = format!("{HEAD}203.0.113.0/24,1,2,US,,\"two\nlines\",,,\n\n");
            for text in [format!("{first}{row}\n"), format!("{first}{row}\n").replace('\n', "\r\n")] {
                let error = parse(&text).unwrap_err().to_string();
                assert!(error.starts_with(&format!("geo.csv:5: {said}")), "{row}: {error}");
            }
        }
    }

    #[test]
    fn another_header_is_refused() {
        for head in ["", "cidr,lat,lon,country,region,city,asn,org", "network,lat,lon,country,region,city,asn,org,kind"]
        {
            assert!(matches!(parse(head), Err(PlaceError::Header { found, .. }) if found == head));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_the_line() {
        let mut bytes = HEAD.as_bytes().to_vec();
        bytes.extend_from_slice(b"192.0.2.0/24,,,,,M\xfcnchen,,,\n");
        let error = Table::parse(Path::new("geo.csv"), &bytes).unwrap_err().to_string();
        assert_eq!(error, "geo.csv:2: row: is not UTF-8");
    }

    #[test]
    fn a_hundred_thousand_rows_are_no_burden() {
        let rows: String = (0..100_000u32)
            .map(|i| format!("{}/24,,,US,,c{i},,,\n", Ipv4Addr::from_bits(0x0b00_0000 + (i << 8))))
            .collect();
        let table = parse(&format!("{HEAD}{rows}")).unwrap();
        for i in (0..100_000u32).step_by(7) {
            let ip = IpAddr::from(Ipv4Addr::from_bits(0x0b00_0000 + (i << 8) + 9));
            assert_eq!(table.lookup(ip).and_then(|place| place.city.clone()), Some(format!("c{i}")));
        }
    }

    proptest! {
        /// The buckets agree with asking every network in turn.
        #[test]
        fn look_up_is_longest_prefix_match(
            nets in prop::collection::btree_set((0u8..4, 0u8..4, 0u8..=32), 0..20), ip in (0u8..4, 0u8..4),
        ) {
            let nets: Vec<IpNet> = nets
                .iter()
                .map(|(a, b, len)| IpNet::new([*a, *b, 0, 0].into(), *len).unwrap().trunc())
                .collect();
            let ip = IpAddr::from([ip.0, ip.1, 0, 0]);
            let table: Table =
                nets.iter().map(|net| (*net, Place { city: Some(net.to_string()), ..Place::default() })).collect();
            let best = nets.iter().filter(|net| net.contains(&ip)).max_by_key(|net| net.prefix_len());
            let got = table.lookup(ip).and_then(|place| place.city.clone());
            prop_assert_eq!(got, best.map(ToString::to_string));
        }

        #[test]
        fn no_text_stops_the_program(text in "\\PC*", rows in prop::collection::vec("[0-9./:,a-z\"\r\n]{0,40}", 0..6)) {
            let _ = parse(&text);
            let _ = parse(&format!("{HEAD}{}", rows.join("\n")));
        }
    }
}
