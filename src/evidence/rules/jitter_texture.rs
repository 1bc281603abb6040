//! S11 jitter-texture: whether the way's length changes each 15 seconds, as it does by a low orbit.
//!
//! Sees: the innocent leo-satellite, whatever the address database says of the network; an operator's relay shows it only
//! if its home or its operator has such a dish. Weak: capped at 2, and it says little against a dish whose comb a busy
//! home network hides. Errs: where the tap's clock is wrong by more than a second or two; where something else works to
//! the same 15 seconds. Evaded by: nothing that would help, because it accuses nobody.
//! Numbers: science note S11 and section 7; Tanveer et al., CoNEXT 2023 (changes 12, 27, 42 and 57 s past each minute);
//! shares are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::likelihood::ln_mix;
use crate::evidence::{Case, Hypothesis, Question};
use crate::fingerprint::Comb;

pub(super) static RULE: Rule = Rule {
    name: "jitter-texture",
    signal: "S11",
    question: Question::Connection,
    family: Family::Physics,
    weak: true,
    cap: 2.0,
    observe,
    tell,
};

/// Steps next to each other are not independent, so chance strays farther than the ranks alone say.
const STRAY: f64 = 1.3;
/// Share of low-orbit links whose comb can be seen at all.
const VISIBLE: f64 = 0.6;
/// Share of all other connections with a dish at either end.
const DISHES: f64 = 0.02;
/// From how many deviations on it is said that there is a comb.
const TOLD: f64 = 3.0;

fn look(case: &Case<'_>) -> Option<Comb> {
    case.account.pulse.comb()
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let comb = look(case)?;
    let ln_comb = ln_comb(comb.deviations / STRAY);
    let with = |share: f64| ln_mix(&[(share, ln_comb), (1.0 - share, 0.0)]);
    Some(Observation {
        value: comb.deviations,
        unit: "sd",
        n: u64::try_from(comb.changes).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Connection, |h| match h {
            Hypothesis::LeoSatellite => with(VISIBLE),
            _ => with(DISHES),
        }),
        hidden_leg_ms: None,
    })
}

/// How much likelier so many deviations are with a comb than without one. How tall its teeth are nobody knows: from one
/// deviation to ten all alike.
fn ln_comb(deviations: f64) -> f64 {
    let tall: Vec<(f64, f64)> =
        (1..=10).map(|mean| (0.1, f64::from(mean) * deviations - 0.5 * f64::from(mean * mean))).collect();
    ln_mix(&tall)
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let Some(comb) = look(case) else { return (String::new(), Vec::new()) };
    let [at_changes, elsewhere] = comb.steps_ms;
    let text = if seen.value >= TOLD {
        format!(
            "Its way changes its length by {at_changes:.1} ms at 12, 27, 42 and 57 s past the minute, and by \
             {elsewhere:.1} ms at other times ({} changes, {:.1} standard deviations): a low-orbit satellite network \
             gives its users another satellite then.",
            seen.n, seen.value
        )
    } else {
        format!(
            "Its way does not change at 12, 27, 42 and 57 s past the minute more than at other times ({at_changes:.1} \
             and {elsewhere:.1} ms, {} changes), as one by a low-orbit satellite mostly does.",
            seen.n
        )
    };
    (text, case.account.quickest.iter().take(2).map(|(.., flow)| flow.community_id()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Beat;
    use crate::evidence::Account;

    /// An hour of beats whose length depends on the number.
    fn said(tenths: impl Fn(u32) -> u16) -> Option<[f64; 2]> {
        let mut account = Account::default();
        (354_492_000..354_492_720).for_each(|number| account.pulse.add(Beat { number, tenths: tenths(number), n: 3 }));
        let seen = observe(&Case::new(&account, None, &crate::evidence::Site::default()))?;
        let of = |h| seen.ln_likelihood_of(h, RULE.cap);
        let exit = of(Hypothesis::HomeExit);
        assert!([Hypothesis::Direct, Hypothesis::Mobile, Hypothesis::HomeProxy].iter().all(|h| of(*h) == exit));
        let (text, _) = tell(&Case::new(&account, None, &crate::evidence::Site::default()), &seen);
        assert!(text.contains("standard deviations") == (seen.value >= TOLD), "{text}");
        Some([of(Hypothesis::LeoSatellite) - exit, seen.value])
    }

    fn chance(number: u32, most: u32) -> u16 {
        u16::try_from((number.wrapping_mul(2_654_435_761) >> 12) % most).unwrap()
    }

    #[test]
    fn a_comb_speaks_for_a_low_orbit_and_its_absence_a_little_against_it() {
        let [leo, _] = said(|b| 350 + 6 * chance((b + 1) / 3, 12) + chance(b, 25)).unwrap();
        assert!((leo - RULE.cap).abs() < 1e-9, "{leo}");
        let [none, _] = said(|b| 350 + chance(b, 80)).unwrap();
        assert!((-1.0..0.7).contains(&none), "{none}");
        // A queue that comes and goes has no comb, whatever its period.
        for period in [2, 4, 7, 12] {
            let [queue, deviations] = said(|b| 350 + 400 * u16::from(b / period % 2 == 0) + chance(b, 80)).unwrap();
            assert!(queue < 0.7, "period {period}: {queue} {deviations}");
        }
    }

    #[test]
    fn too_few_beats_say_nothing() {
        let account = Account::default();
        assert!(observe(&Case::new(&account, None, &crate::evidence::Site::default())).is_none());
    }
}
