//! How fast somebody would have to travel to have been at two addresses.
//!
//! Reads: stays of one identity, with the places of their addresses. Emits: the fastest [`Journey`] to or from one
//! address. Does not: judge.

use crate::base::{Identity, Timestamp};
use crate::intel::{GeoPoint, Kind, distance_km};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Below this two places are the same for a database of places, in km: the usual accuracy of a city.
const SAME_PLACE: f64 = 500.0;

/// One stay of somebody somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Where.
    pub address: IpAddr,
    /// Its place.
    pub point: GeoPoint,
    /// What kind of network that is.
    pub kind: Kind,
    /// From when.
    pub from: Timestamp,
    /// To when.
    pub to: Timestamp,
}

/// From one address to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// Who.
    pub who: Arc<Identity>,
    /// The other address.
    pub other: IpAddr,
    /// What kind of network that is.
    pub kind: Kind,
    /// The great-circle distance between the places, in km.
    pub km: f64,
    /// The time between the two stays; zero if they overlap.
    pub between: Duration,
}

impl Journey {
    /// The speed, in km/h; what takes less than a minute counts as a minute.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.km / (self.between.as_secs_f64().max(60.0) / 3_600.0)
    }

    /// The fastest that a person's stops make necessary with `address` as one end.
    #[must_use]
    pub fn fastest(who: &Arc<Identity>, stops: &[Stop], address: IpAddr) -> Option<Self> {
        let here = stops.iter().filter(|stop| stop.address == address);
        let pairs =
            here.flat_map(|here| stops.iter().filter(|stop| stop.address != address).map(move |stop| (here, stop)));
        let journeys = pairs.filter_map(|(here, there)| {
            let km = distance_km(here.point, there.point);
            let (first, then) = if here.from <= there.from { (here, there) } else { (there, here) };
            let between = then.from.since(first.to).unwrap_or_default();
            (km > SAME_PLACE).then(|| Self {
                who: Arc::clone(who),
                other: there.address,
                kind: there.kind,
                km,
                between,
            })
        });
        journeys.max_by(|a, b| a.speed().total_cmp(&b.speed()).then(b.other.cmp(&a.other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::IdentityKind;

    #[test]
    fn the_fastest_way_counts_and_neighbours_do_not() {
        let who = Arc::new(Identity { kind: IdentityKind::User, name: "alice".into() });
        let stop = |last: u8, point: &str, from: i64, to: i64| Stop {
            address: IpAddr::from([198, 51, 100, last]),
            point: point.parse().unwrap(),
            kind: Kind::Residential,
            from: Timestamp::from_parts(from, 0),
            to: Timestamp::from_parts(to, 0),
        };
        // Omaha, Lincoln (80 km on), Chicago.
        let stops = [
            stop(1, "41.26,-95.93", 0, 3_600),
            stop(2, "40.81,-96.70", 3_600, 7_200),
            stop(3, "41.88,-87.63", 7_200, 9_000),
        ];
        let journey = Journey::fastest(&who, &stops, stops[0].address).unwrap();
        assert_eq!((journey.other, journey.between), (stops[2].address, Duration::from_secs(3_600)));
        assert!((journey.speed() - 690.0).abs() < 20.0, "{}", journey.speed());
        assert_eq!(Journey::fastest(&who, &stops[..2], stops[0].address), None);
        let at_once = [stop(1, "41.26,-95.93", 0, 3_600), stop(3, "41.88,-87.63", 600, 700)];
        assert!(Journey::fastest(&who, &at_once, at_once[0].address).unwrap().speed() > 10_000.0);
    }
}
