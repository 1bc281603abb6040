//! What a round trip says of a distance, and what a place allows a round trip to take.
//!
//! Reads: milliseconds, points, kinds of networks. Emits: [`Distance`] and [`Expected`].
//! Does not: judge. A round trip bounds a distance from above only: a queue makes it longer, nothing makes it shorter.
//!
//! References: Katz-Bassett et al., *Towards IP geolocation using delay and topology measurements*, IMC 2006 (4/9 c);
//! Weinberg et al., *How to catch when proxies lie*, IMC 2018 (the slow end); the project's science note, sections 0.1
//! and S01 (the access lines).

use super::{GeoPoint, Kind, Place, distance_km};

/// How far away the far end of a round trip is, in km. Only `max` is physics; the others are experience.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// Soft lower bound.
    pub soft_min: f64,
    /// Best guess.
    pub best: f64,
    /// Upper bound: the speed of light in fibre.
    pub max: f64,
}

impl Distance {
    /// Light in fibre, for a round trip (science note 0.1).
    pub const LIGHT_KM_PER_MS: f64 = 99.9;
    /// The usual Internet path, for a round trip: 4/9 c (Katz-Bassett et al., IMC 2006).
    pub const USUAL_KM_PER_MS: f64 = 66.6;
    /// The slow end of what was measured, for a round trip beyond [`Self::SLOW_START_MS`] (Weinberg et al., IMC 2018).
    pub const SLOW_KM_PER_MS: f64 = 55.0;
    /// What a round trip may take at distance zero (the same).
    pub const SLOW_START_MS: f64 = 55.0;
    /// Half the Earth's circumference, in km: nothing is farther.
    pub const ANTIPODE_KM: f64 = 20_037.5;

    /// From a round trip as measured and the most that it can be, both in ms.
    #[must_use]
    pub fn of_round_trip(ms: f64, most_ms: f64) -> Self {
        let km = |km: f64| km.clamp(0.0, Self::ANTIPODE_KM);
        Self {
            soft_min: km(Self::SLOW_KM_PER_MS * (ms - Self::SLOW_START_MS)),
            best: km(Self::USUAL_KM_PER_MS * ms),
            max: km(Self::LIGHT_KM_PER_MS * most_ms),
        }
    }
}

/// The line between an endpoint and its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Fibre, or a data centre's own.
    Fibre,
    /// Television cable. What a home is taken for: the sources do not tell lines apart.
    Cable,
    /// Telephone line.
    Dsl,
    /// LTE or 5G.
    Mobile,
    /// A satellite in low Earth orbit.
    LowOrbit,
    /// A geostationary satellite.
    Geostationary,
}

impl Access {
    /// All, quickest first.
    pub const ALL: [Self; 6] = [Self::Fibre, Self::Cable, Self::Dsl, Self::Mobile, Self::LowOrbit, Self::Geostationary];

    /// What the line itself usually takes of a round trip, in ms (science note S01; design values).
    #[must_use]
    pub const fn usual_ms(self) -> f64 {
        match self {
            Self::Fibre => 8.0,
            Self::Cable => 15.0,
            Self::Dsl => 25.0,
            Self::Mobile | Self::LowOrbit => 45.0,
            Self::Geostationary => 560.0,
        }
    }

    /// What it takes at least, in ms: four times the height of the orbit at the speed of light, and nothing on the ground
    /// (science note 0.1: 35,786 km, and 550 km).
    #[must_use]
    pub const fn floor_ms(self) -> f64 {
        match self {
            Self::Geostationary => 477.0,
            Self::LowOrbit => 7.3,
            _ => 0.0,
        }
    }

    /// The line that a network of this kind is taken to have. Of satellites whose orbit is not known the slower.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Hosting | Kind::Vpn | Kind::Business => Self::Fibre,
            Kind::Residential | Kind::Unknown => Self::Cable,
            Kind::Mobile => Self::Mobile,
            Kind::SatelliteLeo => Self::LowOrbit,
            Kind::Satellite | Kind::SatelliteGeo => Self::Geostationary,
        }
    }
}

/// What a round trip to an honest endpoint at its place should take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// The distance at [`Distance::USUAL_KM_PER_MS`], in ms.
    pub distance_ms: f64,
    /// The access line, in ms.
    pub access_ms: f64,
}

impl Expected {
    /// For a place as seen from the capture point, if the place has a point. Of a declared home and the place of the
    /// address the farther one counts: who travels is where the address is, and who is at home may have an address that
    /// is placed wrongly. Neither makes a long way suspect.
    #[must_use]
    pub fn of(place: &Place, tap: GeoPoint) -> Option<Self> {
        let home = distance_km(place.point?, tap);
        let farthest = place.address_point.map_or(home, |address| home.max(distance_km(address, tap)));
        let distance_ms = farthest / Distance::USUAL_KM_PER_MS;
        Some(Self { distance_ms, access_ms: Access::of(place.kind).usual_ms() })
    }

    /// Both, ms.
    #[must_use]
    pub fn total_ms(&self) -> f64 {
        self.distance_ms + self.access_ms
    }

    /// The least that light in fibre needs for the distance, in ms: below, the place is not where it is said to be. The
    /// access line is left out, for a wrong kind must not make a true place impossible.
    #[must_use]
    pub fn floor_ms(&self) -> f64 {
        self.distance_ms * Distance::USUAL_KM_PER_MS / Distance::LIGHT_KM_PER_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A worker from Omaha who is in Bengaluru, measured in Ashburn: 220 ms are what the way takes.
    #[test]
    fn a_traveller_is_measured_against_where_the_address_is() {
        let (omaha, bengaluru): (GeoPoint, GeoPoint) =
            ("41.26,-95.93".parse().unwrap(), "12.97,77.59".parse().unwrap());
        let tap = "39.04,-77.49".parse().unwrap();
        let at = |point, address_point| {
            let place = Place { point: Some(point), address_point, kind: Kind::Residential, ..Place::default() };
            Expected::of(&place, tap).unwrap().total_ms()
        };
        assert!(at(omaha, Some(bengaluru)) > 200.0 && at(omaha, None) < 50.0);
        assert!((at(omaha, Some(bengaluru)) - at(bengaluru, Some(omaha))).abs() < 1e-9);
    }

    #[test]
    fn a_round_trip_gives_three_distances() {
        let km = |ms| {
            let d = Distance::of_round_trip(ms, ms);
            [d.soft_min, d.best, d.max].map(f64::round)
        };
        // The science note's shortest hidden leg: 75 ms are 7,493 km at the most.
        assert_eq!(km(75.0), [1_100.0, 4_995.0, 7_493.0]);
        assert_eq!(km(20.0), [0.0, 1_332.0, 1_998.0]);
        assert_eq!(km(600.0), [20_038.0; 3]);
    }

    #[test]
    fn a_place_allows_its_distance_and_its_line() {
        let place = |kind| Place { point: Some("41.2565,-95.9345".parse().unwrap()), kind, ..Place::default() };
        let tap = "39.0438,-77.4874".parse().unwrap();
        let home = Expected::of(&place(Kind::Residential), tap).unwrap();
        // Omaha to Ashburn: 1,573 km.
        assert!((home.distance_ms - 23.6).abs() < 0.2, "{home:?}");
        assert!((home.total_ms() - home.distance_ms - 15.0).abs() < 1e-9);
        assert!((home.floor_ms() - 15.7).abs() < 0.2, "{home:?}");
        assert!((Expected::of(&place(Kind::SatelliteGeo), tap).unwrap().access_ms - 560.0).abs() < 1e-9);
        assert_eq!(Expected::of(&Place::default(), tap), None);
        assert!(Access::ALL.windows(2).all(|pair| pair[0].usual_ms() <= pair[1].usual_ms()));
        assert!(Access::ALL.iter().all(|access| access.floor_ms() < access.usual_ms()));
    }

    proptest! {
        /// Whatever was measured, the guess lies between the bounds, and none is farther than the other side.
        #[test]
        fn the_bounds_hold_the_guess(ms in -10.0..5_000.0, more in 0.0..500.0) {
            let d = Distance::of_round_trip(ms, ms + more);
            prop_assert!(0.0 <= d.soft_min && d.soft_min <= d.best && d.best <= d.max);
            prop_assert!(d.max <= Distance::ANTIPODE_KM);
        }
    }
}
