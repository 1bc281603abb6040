//! S26 crowded-address: how many workers are behind one address at once.
//!
//! Sees: many-laptops (T5). Counts people by what VPN accounting and the like say of who is where, else VPN sessions
//! that are up at the same time. Errs: one worker with a laptop and a telephone counts twice where only tunnels are
//! seen; a reconnection overlaps the session it replaces. Looks like it: an office, a coworking space, a dormitory, a
//! provider that puts many homes behind one address; the kind of network says how common those are.
//! Where homes are declared (`--homes`), people who say that they live in different towns are no household: that and the
//! number decide together (science note S26: unrelated claimed addresses).
//! Evaded by: a line for each laptop; identities that claim the farm's own town. Numbers: science note S26, section 2 (farms of 2 to 100 laptops); design values.

use super::{Family, Observation, Rule, over};
use crate::base::IdentityKind;
use crate::evidence::{Case, Hypothesis, Question};
use crate::intel::{Kind, Towns};

pub(super) static RULE: Rule = Rule {
    name: "crowded-address",
    signal: "S26",
    question: Question::Sharing,
    family: Family::Number,
    weak: false,
    cap: 12.0,
    observe,
    tell,
};

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    People,
    Tunnels,
}

/// From how many on there is something to be explained.
const CROWD: usize = 2;

fn count(case: &Case<'_>) -> Option<(usize, Counted)> {
    let people = case
        .at_once
        .unwrap_or_else(|| case.people.iter().filter(|identity| identity.kind == IdentityKind::User).count());
    let tunnels = case.account.facts.tunnels_at_once();
    if people >= CROWD {
        Some((people, Counted::People))
    } else if people == 0 && tunnels >= CROWD {
        Some((tunnels, Counted::Tunnels))
    } else {
        None
    }
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let (n, counted) = count(case)?;
    let home = matches!(case.kind(), Kind::Residential | Kind::SatelliteLeo | Kind::SatelliteGeo | Kind::Satellite);
    Some(Observation {
        #[expect(clippy::cast_precision_loss, reason = "a count of people")]
        value: n as f64,
        unit: match counted {
            Counted::People => "people",
            Counted::Tunnels => "tunnels",
        },
        n: u64::try_from(n).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Sharing, |h| {
            ln_likelihood(h, n, counted, home) + if counted == Counted::People { ln_towns(h, case.towns) } else { 0.0 }
        }),
        hidden_leg_ms: None,
    })
}

/// The chance of `n` of one company's workers at once.
fn ln_likelihood(hypothesis: Hypothesis, n: usize, counted: Counted, home: bool) -> f64 {
    let beyond = i32::try_from(n.saturating_sub(3)).unwrap_or(i32::MAX);
    // Any number from 2 to 100, small ones likelier.
    #[expect(clippy::cast_precision_loss, reason = "a count of people")]
    let broad = 1.0 / (n.max(2) as f64 * 50f64.ln());
    let share: f64 = match (hypothesis, n) {
        (Hypothesis::ManyLaptops, _) => broad,
        // Two colleagues who live together are one household in a thousand; one worker with two devices, or a
        // reconnection that overlaps, is not rare at all. Each one more is rarer by far.
        (Hypothesis::Household, 2) if counted == Counted::Tunnels => 3e-2,
        (Hypothesis::Household, 3) if counted == Counted::Tunnels => 1e-3,
        (Hypothesis::Household, 2) => 1e-3,
        (Hypothesis::Household, _) => 1e-4 * 0.2f64.powi(beyond),
        // What is registered as a home line is hardly ever an office or a provider's translation.
        (_, _) if home => broad * 0.01,
        (_, _) => broad,
    };
    share.max(1e-12).ln()
}

/// The chance that so many people who are at one address say that they live in so many towns. Identities are bought
/// wherever they are to be had, one at a time; a guest or somebody who is moving makes two towns of a household.
fn ln_towns(hypothesis: Hypothesis, Towns { people, towns }: Towns) -> f64 {
    if people < 2 {
        return 0.0;
    }
    let share: f64 = match (hypothesis, towns) {
        (Hypothesis::ManyLaptops, ..2) => 0.2,
        (Hypothesis::ManyLaptops, _) => 0.8,
        (Hypothesis::Household, ..2) => 0.94,
        (Hypothesis::Household, 2) => 0.05,
        (Hypothesis::Household, _) => 1e-3,
        // A provider's translation serves a region; offices and hotels bring together who lives anywhere.
        (Hypothesis::Cgnat, ..2) => 0.8,
        (Hypothesis::Cgnat, _) => 0.2,
        (_, _) => 0.5,
    };
    share.ln()
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let Some((n, counted)) = count(case) else { return (String::new(), Vec::new()) };
    let text = match counted {
        Counted::People => {
            let users = case.people.iter().filter(|identity| identity.kind == IdentityKind::User);
            let mut names: Vec<&str> = users.map(|identity| identity.name.as_str()).take(6).collect();
            if n > names.len() {
                names.push("…");
            }
            let towns = match case.towns {
                Towns { people: ..2, .. } => String::new(),
                Towns { towns: 1, .. } => " They say that they live in one town.".to_owned(),
                Towns { people, towns } => {
                    format!(" The {people} of them whose home is declared live in {towns} towns, as they say.")
                }
            };
            format!(
                "{n} people work from this address at the same time ({}), as the company's own records say.{towns}",
                names.join(", ")
            )
        }
        Counted::Tunnels => format!(
            "{n} VPN sessions from this address are up at the same time. One worker with two devices makes two; more \
             are rare in one home."
        ),
    };
    (text, case.account.facts.tunnels.iter().take(3).map(|tunnel| tunnel.flow.community_id()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Log odds of a farm against a household for so many people, whose homes are in so many towns.
    fn score(people: usize, towns: usize) -> f64 {
        let of = |h: Hypothesis| {
            ln_likelihood(h, people, Counted::People, true)
                + ln_towns(h, Towns { people, towns })
                + h.prior(Kind::Residential, false).ln()
        };
        of(Hypothesis::ManyLaptops) - of(Hypothesis::Household)
    }

    #[test]
    fn three_people_of_three_towns_are_no_household_and_three_of_one_town_may_be() {
        assert!(score(3, 3) > 3.0, "{}", score(3, 3));
        assert!(score(3, 1) < -2.0, "{}", score(3, 1));
        // Two colleagues, one of whom is a guest or moving: never enough.
        assert!(score(2, 2) < -1.0, "{}", score(2, 2));
        assert!(score(2, 1) < -4.0, "{}", score(2, 1));
        // Without declared homes nothing changes.
        assert!((ln_towns(Hypothesis::Household, Towns { people: 1, towns: 1 })).abs() < f64::EPSILON);
    }
}
