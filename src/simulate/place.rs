//! The places scenarios are laid out on: cities, the address range given to each, and how far apart they are.
//!
//! Reads: a city's name. Emits: places, one-way delays, the rows of `geo.csv`. Does not: use anyone's real addresses:
//! homes lie in 198.18.0.0/15 (RFC 2544), the company in 192.0.2.0/24 and its other sites in 203.0.113.0/24 (RFC 5737), IPv6 in 2001:db8::/32 (RFC 3849),
//! AS numbers in 64496..=64511 (RFC 5398). Coordinates are those of the city centres, to about a kilometre.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A city with the access network that serves its homes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) city: &'static str,
    pub(super) region: &'static str,
    pub(super) country: &'static str,
    pub(super) lat: f64,
    pub(super) lon: f64,
    /// Third octet of its 198.18.x.0/24, and the last group of its 2001:db8:x::/48.
    pub(super) net: u8,
    pub(super) asn: u32,
    pub(super) org: &'static str,
    pub(super) kind: &'static str,
}

impl Place {
    /// The way `truth.json` names a place: `US-NE Omaha`.
    pub(super) fn label(&self) -> String {
        format!("{}-{} {}", self.country, self.region, self.city)
    }

    /// The address of the home with this number in the city.
    pub(super) const fn home(&self, number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(198, 18, self.net, number))
    }

    /// The same home's IPv6 address.
    pub(super) const fn home6(&self, number: u8) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, self.net as u16, 0, 0, 0, 0x10, number as u16))
    }

    /// The company's server at its site in the city, if it is not the gateway's.
    pub(super) const fn server(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, self.net))
    }

    /// When it is nine in the evening there, nanoseconds after midnight UTC, by the sun.
    pub(super) fn evening(&self) -> i64 {
        const HOUR: f64 = 3_600e9;
        ((21.0 - self.lon / 15.0).rem_euclid(24.0) * HOUR) as i64
    }

    /// Great-circle distance (haversine, mean earth radius 6371 km).
    pub(super) fn distance_km(&self, other: &Self) -> f64 {
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let along = ((other.lat - self.lat).to_radians() / 2.0).sin();
        let across = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let h = along * along + a.cos() * b.cos() * across * across;
        2.0 * 6371.0 * h.sqrt().min(1.0).asin()
    }

    /// One-way delay over the Internet between two places in milliseconds, to a hundredth: 4/9 of the speed of light
    /// along the great circle (Katz-Bassett et al., IMC 2006), which stands for detours and routers.
    pub(super) fn one_way_ms(&self, other: &Self) -> f64 {
        const KM_PER_MS: f64 = 299.792_458 * 4.0 / 9.0;
        (self.distance_km(other) / KM_PER_MS * 100.0).round() / 100.0
    }
}

/// The place of that name, in any case.
pub(super) fn find(city: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.city.eq_ignore_ascii_case(city.trim()))
}

/// Every city's name, for messages and completions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PLACES.iter().map(|place| place.city)
}

/// Cities of ordinary American homes, for benign company.
pub(super) fn american_homes() -> impl Iterator<Item = &'static Place> {
    PLACES.iter().filter(|place| place.country == "US" && place.kind == "residential")
}

/// The geography of a capture: every network that can occur in one, with the header `farmlight analyze --geo-csv` reads.
pub(super) fn geo_csv() -> String {
    let mut out = String::from("cidr,lat,lon,country,region,city,asn,org,kind\n");
    for net in ["192.0.2.0/24", "2001:db8:c0::/48"] {
        row(&mut out, net, &ASHBURN);
    }
    for place in PLACES {
        row(&mut out, &format!("198.18.{}.0/24", place.net), place);
        row(&mut out, &format!("2001:db8:{:x}::/48", place.net), place);
    }
    out
}

fn row(out: &mut String, cidr: &str, place: &Place) {
    let Place { lat, lon, country, region, city, asn, org, kind, .. } = place;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{cidr},{lat},{lon},{country},{region},{city},{asn},{org},{kind}");
}

/// Where the company's gateway and the tap are.
pub(super) static ASHBURN: Place = us("Ashburn", "VA", 39.0438, -77.4874, 0, 64496, "corp-edge", "business");

static PLACES: &[Place] = &[
    us("Omaha", "NE", 41.2565, -95.9345, 1, 64497, "cable-isp", "residential"),
    us("Nashville", "TN", 36.1627, -86.7816, 2, 64498, "fibre-isp", "residential"),
    us("Phoenix", "AZ", 33.4484, -112.0740, 3, 64497, "cable-isp", "residential"),
    us("Denver", "CO", 39.7392, -104.9903, 4, 64499, "cable-isp", "residential"),
    us("Seattle", "WA", 47.6062, -122.3321, 5, 64499, "cable-isp", "residential"),
    us("San Jose", "CA", 37.3382, -121.8863, 6, 64499, "cable-isp", "residential"),
    us("Dallas", "TX", 32.7767, -96.7970, 7, 64498, "fibre-isp", "residential"),
    us("St. Louis", "MO", 38.6270, -90.1994, 8, 64500, "cable-isp", "residential"),
    us("Chicago", "IL", 41.8781, -87.6298, 9, 64499, "cable-isp", "residential"),
    us("Atlanta", "GA", 33.7490, -84.3880, 10, 64498, "fibre-isp", "residential"),
    us("Raleigh", "NC", 35.7796, -78.6382, 11, 64500, "cable-isp", "residential"),
    us("Boise", "ID", 43.6150, -116.2023, 12, 64501, "dsl-isp", "residential"),
    us("Miami", "FL", 25.7617, -80.1918, 13, 64499, "cable-isp", "residential"),
    us("Germantown", "MD", 39.1732, -77.2717, 20, 64502, "geo-sat", "satellite-geo"),
    us("Houston", "TX", 29.7604, -95.3698, 21, 64502, "mobile-carrier", "mobile"),
    us("Salt Lake City", "UT", 40.7608, -111.8910, 22, 64502, "leo-sat", "satellite-leo"),
    us("Los Angeles", "CA", 34.0522, -118.2437, 23, 64510, "vpn-service", "vpn"),
    us("Newark", "NJ", 40.7357, -74.1724, 24, 64510, "cloud", "hosting"),
    us("Austin", "TX", 30.2672, -97.7431, 25, 64511, "shared-office", "business"),
    us("Ann Arbor", "MI", 42.2808, -83.7430, 26, 64511, "campus", "unknown"),
    us("New York", "NY", 40.7128, -74.0060, 27, 64511, "egress-service", "business"),
    abroad("Bengaluru", "KA", "IN", 12.9716, 77.5946, 30, 64503, "fibre-isp"),
    abroad("Berlin", "BE", "DE", 52.5200, 13.4050, 31, 64504, "fibre-isp"),
    abroad("Warsaw", "MZ", "PL", 52.2297, 21.0122, 32, 64505, "isp"),
    abroad("Shenyang", "LN", "CN", 41.8057, 123.4315, 40, 64506, "isp"),
    abroad("Dandong", "LN", "CN", 40.1290, 124.3947, 41, 64506, "isp"),
    abroad("Beijing", "BJ", "CN", 39.9042, 116.4074, 42, 64506, "isp"),
    abroad("Vladivostok", "PRI", "RU", 43.1155, 131.8855, 43, 64507, "isp"),
    abroad("Moscow", "MOW", "RU", 55.7558, 37.6173, 44, 64507, "isp"),
    abroad("Dubai", "DU", "AE", 25.2048, 55.2708, 45, 64508, "isp"),
    abroad("Vientiane", "VT", "LA", 17.9757, 102.6331, 46, 64509, "isp"),
];

#[allow(clippy::too_many_arguments, reason = "one row of the table")]
const fn us(
    city: &'static str,
    region: &'static str,
    lat: f64,
    lon: f64,
    net: u8,
    asn: u32,
    org: &'static str,
    kind: &'static str,
) -> Place {
    Place { city, region, country: "US", lat, lon, net, asn, org, kind }
}

#[allow(clippy::too_many_arguments, reason = "one row of the table")]
const fn abroad(
    city: &'static str,
    region: &'static str,
    country: &'static str,
    lat: f64,
    lon: f64,
    net: u8,
    asn: u32,
    org: &'static str,
) -> Place {
    Place { city, region, country, lat, lon, net, asn, org, kind: "residential" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn distances_agree_with_the_floor_table() {
        // docs/simulate.md: Shenyang to Seattle 82 ms of round trip at 2/3 c, so 99.9 km per ms.
        let between = |a: &str, b: &str| find(a).unwrap().distance_km(find(b).unwrap());
        assert!((between("shenyang", "Seattle") / 99.9 - 82.0).abs() < 1.0);
        assert!((between("Seattle", "Miami") - 4396.0).abs() < 10.0);
        assert!(find("Atlantis").is_none());
    }

    #[test]
    fn every_place_has_its_own_network_and_a_row() {
        let nets: BTreeSet<u8> = PLACES.iter().map(|place| place.net).collect();
        assert_eq!(nets.len(), PLACES.len());
        let csv = geo_csv();
        assert_eq!(csv.lines().count(), 3 + 2 * PLACES.len());
        assert!(csv.lines().all(|line| line.split(',').count() == 9), "{csv}");
        assert!(csv.contains("198.18.1.0/24,41.2565,-95.9345,US,NE,Omaha,64497,cable-isp,residential\n"));
    }
}
