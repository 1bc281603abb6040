//! Where those who work from one address have told the company that they live.
//!
//! Reads: who is there, by scenario. Emits: one [`DeclaredHome`] for each person who signs on. The shares are design
//! values: no company's list was counted.

use crate::simulate::options::Plan;
use crate::simulate::place::{self, Place};
use crate::simulate::random::Random;
use crate::simulate::truth::DeclaredHome;

/// Who works from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Residents {
    /// Those who live there; of one home in twenty, one who has moved in and not said so.
    OneHome,
    /// A carrier's customers, of one region; at one address in five also a traveller.
    Region,
    /// Whoever comes to an office or a campus: from one town at half of them, from anywhere at the others.
    Anywhere,
    /// Nobody: identities bought where they are to be had, at one farm in five all of its own town.
    Bought,
}

impl Residents {
    /// What the person with that number and name has declared.
    pub(super) fn declared(self, plan: &Plan, number: u32, identity: &str) -> DeclaredHome {
        let mut address = Random::stream(plan.seed, &format!("declared homes at {}", plan.number));
        let odd_one = |chance: &mut Random, of: u64| chance.below(of) == 0 && number == 1;
        let elsewhere = match self {
            Self::OneHome => odd_one(&mut address, 20),
            Self::Region => odd_one(&mut address, 5),
            Self::Anywhere => address.below(2) == 0,
            Self::Bought => address.below(5) != 0,
        };
        let mut person = Random::stream(plan.seed, &format!("declared home {number} at {}", plan.number));
        let towns: Vec<&'static Place> = place::american_homes().filter(|town| town.city != plan.home.city).collect();
        let home = person.pick(&towns).copied().filter(|_| elsewhere).unwrap_or(plan.home);
        DeclaredHome {
            identity: identity.to_owned(),
            coordinates: [home.lat, home.lon],
            country: home.country,
            region: home.region,
            city: home.city,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intel::{Homes, Towns};
    use crate::simulate::{Options, Outcome, run, write};
    use std::path::Path;

    fn played(scenario: &str, seed: u64) -> Outcome {
        run(scenario, &Options { seed, sessions: Some(1), bystanders: Some(0), ..Options::default() }).unwrap()
    }

    fn towns(outcome: &Outcome) -> Towns {
        let csv = outcome.truth.homes_csv().unwrap();
        let homes = Homes::parse(Path::new("homes.csv"), csv.as_bytes(), None).unwrap();
        homes.towns(outcome.truth.subject.identities.iter().map(String::as_str))
    }

    /// Seeds at which the people of an address say that they live in several towns.
    fn scattered(scenario: &str) -> usize {
        (1..=20).filter(|seed| towns(&played(scenario, *seed)).towns > 1).count()
    }

    #[test]
    fn bought_identities_live_all_over_the_country_and_a_household_in_one_town() {
        let farm = towns(&played("many-laptops", 1));
        assert_eq!((farm.people, farm.towns > 1), (5, true));
        let (farms, homes, offices) = (scattered("many-laptops"), scattered("household"), scattered("coworking"));
        assert!((11..20).contains(&farms), "{farms}");
        assert!(homes < 5, "{homes}");
        assert!((4..17).contains(&offices), "{offices}");
    }

    #[test]
    fn who_does_not_sign_on_declares_nothing_and_no_old_list_stays() {
        let dir = tempfile::tempdir().unwrap();
        let written = dir.path().join("homes.csv");
        write(&played("household", 3), dir.path()).unwrap();
        assert!(written.is_file());
        write(&played("home-direct", 3), dir.path()).unwrap();
        assert!(!written.exists());
    }
}
