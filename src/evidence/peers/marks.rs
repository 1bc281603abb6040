//! Oddities of clients that few of a run's endpoints show, and who shows the same.
//!
//! Reads: programs' fingerprints, stacks, segment sizes, vendors that IKE names. Emits: of each endpoint the stranger
//! with whom it has most in common, and how common that is in this run. A company's image gives all of its laptops the
//! same fingerprints: those are not rare, and weigh nothing. Bounded: [`MOST`] endpoints; marks that more than
//! [`HOLDERS`] of them have are only counted. Does not: judge.
//! References: science note S28; Vovk and Wang, "E-values", Annals of Statistics 2021 (how rarity becomes weight).

use crate::evidence::Account;
use crate::evidence::ledger::fixed_hash;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Endpoints compared: those with most sessions.
pub(super) const MOST: usize = 50_000;
/// Fewer endpoints cannot show that something is rare.
const LEAST: usize = 200;
/// What more endpoints than this have is no oddity.
const HOLDERS: usize = 8;
/// Hours in which both were busy: who moves from one address to another shares one with himself.
const HOURS_TOGETHER: usize = 2;
/// Marks of one kind taken of an endpoint.
const OF_A_KIND: usize = 6;

/// A kind of oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// A program, by its TLS or SSH fingerprint.
    Program,
    /// The TCP stack of most of its connections.
    Stack,
    /// The segment size that most of its connections announce.
    SegmentSize,
    /// The vendors that its IKE names.
    IkeVendors,
}

impl Mark {
    /// What it is called in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "a program (by JA4 or HASSH)",
            Self::Stack => "the TCP stack",
            Self::SegmentSize => "the segment size",
            Self::IkeVendors => "the vendors that IKE names",
        }
    }
}

/// What an endpoint has in common with the one other that is most like it.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedMarks {
    /// The other.
    pub other: IpAddr,
    /// What is common, with how many endpoints have it.
    pub marks: Vec<(Mark, usize)>,
    /// The sum, over them, of the negative logarithms of the share of endpoints that have it.
    pub weight: f64,
    /// The share of endpoints of this run that have as much in common with a stranger.
    pub share: f64,
    /// Endpoints compared.
    pub compared: usize,
}

/// One endpoint with its marks.
#[derive(Debug)]
pub(super) struct Bearer {
    address: IpAddr,
    marks: Vec<(Mark, u64)>,
    /// Hours in which it was busy, ascending.
    hours: Vec<i64>,
}

impl Bearer {
    /// What of an account is compared, if there is anything.
    pub(super) fn of(address: IpAddr, account: &Account) -> Option<Self> {
        let mut marks: Vec<(Mark, u64)> = Vec::new();
        let (facts, path) = (&account.facts, &account.path);
        marks.extend(facts.programs.iter().take(OF_A_KIND).map(|(hash, _)| (Mark::Program, *hash)));
        marks.extend(path.stacks().first().map(|(stack, _)| (Mark::Stack, fixed_hash(stack))));
        marks.extend(path.mss().map(|(mss, _)| (Mark::SegmentSize, u64::from(mss))));
        marks.extend(facts.vendors.iter().take(OF_A_KIND).map(|hash| (Mark::IkeVendors, *hash)));
        let hours = facts.hours.iter().map(|(hour, _)| *hour).collect();
        (!marks.is_empty()).then_some(Self { address, marks, hours })
    }

    fn hours_together(&self, other: &Self) -> usize {
        self.hours.iter().filter(|hour| other.hours.binary_search(hour).is_ok()).count()
    }
}

/// Of each endpoint that has oddities in common with a stranger, what and with whom.
pub(super) fn shared(
    mut bearers: Vec<Bearer>,
    stranger: &impl Fn(IpAddr, IpAddr) -> bool,
) -> Vec<(IpAddr, SharedMarks)> {
    if bearers.len() < LEAST {
        return Vec::new();
    }
    bearers.sort_by_key(|bearer| bearer.address);
    let mut holders: HashMap<(Mark, u64), Vec<usize>> = HashMap::new();
    for (number, bearer) in bearers.iter().enumerate() {
        for mark in &bearer.marks {
            let known = holders.entry(*mark).or_default();
            if known.len() <= HOLDERS {
                known.push(number);
            }
        }
    }
    holders.retain(|_, known| (2..=HOLDERS).contains(&known.len()));
    let found: Vec<(usize, SharedMarks)> = (0..bearers.len())
        .filter_map(|number| Some((number, most_like(number, &bearers, &holders, stranger)?)))
        .collect();
    let mut weights: Vec<f64> = found.iter().map(|(_, shared)| shared.weight).collect();
    weights.sort_by(f64::total_cmp);
    let rated = found.into_iter().filter_map(|(number, mut shared)| {
        // Sums of the same logarithms in the same order are the same to the last bit.
        let as_much = weights.len() - weights.partition_point(|weight| *weight < shared.weight);
        shared.share = count(as_much) / count(bearers.len());
        Some((bearers.get(number)?.address, shared))
    });
    rated.collect()
}

/// The stranger with whom an endpoint has the rarest things in common; of each kind of mark the rarest counts.
fn most_like(
    number: usize,
    bearers: &[Bearer],
    holders: &HashMap<(Mark, u64), Vec<usize>>,
    stranger: &impl Fn(IpAddr, IpAddr) -> bool,
) -> Option<SharedMarks> {
    let own = bearers.get(number)?;
    let mut common: BTreeMap<usize, BTreeMap<Mark, usize>> = BTreeMap::new();
    for mark in &own.marks {
        let Some(known) = holders.get(mark) else { continue };
        for other in known.iter().filter(|other| **other != number) {
            let fewest = common.entry(*other).or_default().entry(mark.0).or_insert(known.len());
            *fewest = known.len().min(*fewest);
        }
    }
    let weight = |marks: &BTreeMap<Mark, usize>| -> f64 {
        marks.values().map(|n| (count(bearers.len()) / count(*n)).ln()).sum()
    };
    let unlike = common.iter().filter_map(|(other, marks)| {
        let bearer = bearers.get(*other)?;
        let apart = bearer.hours_together(own) >= HOURS_TOGETHER && stranger(own.address, bearer.address);
        apart.then(|| (weight(marks), bearer.address, marks))
    });
    let (weight, other, marks) = unlike.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
    let marks = marks.iter().map(|(mark, n)| (*mark, *n)).collect();
    Some(SharedMarks { other, marks, weight, share: 1.0, compared: bearers.len() })
}

#[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
const fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        let [_, high, low] = [0, 8, 0].map(|shift| u8::try_from(number >> shift & 255).unwrap());
        IpAddr::from([20, high, low, 7])
    }

    /// So many endpoints of one company's image; the marks of some are others.
    fn fleet(n: usize, odd: &[(usize, &[(Mark, u64)])]) -> Vec<Bearer> {
        (0..n)
            .map(|number| {
                let mut marks = vec![(Mark::Program, 1), (Mark::Stack, 2), (Mark::SegmentSize, 1_460)];
                for (_, own) in odd.iter().filter(|(of, _)| *of == number) {
                    marks.retain(|(kind, _)| own.iter().all(|(other, _)| other != kind));
                    marks.extend_from_slice(own);
                }
                Bearer { address: address(number), marks, hours: (0..8).collect() }
            })
            .collect()
    }

    fn found(bearers: Vec<Bearer>) -> Vec<(IpAddr, SharedMarks)> {
        shared(bearers, &|a, b| a != b)
    }

    const ODD: &[(Mark, u64)] = &[(Mark::Program, 77), (Mark::Stack, 78), (Mark::SegmentSize, 1_311)];

    #[test]
    fn what_a_whole_company_has_is_no_oddity() {
        assert_eq!(found(fleet(1_000, &[])), []);
    }

    #[test]
    fn two_that_are_odd_in_the_same_way_are_found_and_how_rare_that_is() {
        let ties = found(fleet(1_000, &[(10, ODD), (500, ODD)]));
        assert_eq!(
            ties.iter().map(|(address, tie)| (*address, tie.other)).collect::<Vec<_>>(),
            [(address(10), address(500)), (address(500), address(10))]
        );
        assert!(ties[0].1.marks.len() == 3 && (ties[0].1.share - 0.002).abs() < 1e-9, "{ties:?}");
        // Where many have a rare thing in common with somebody, none of them is remarkable.
        let pairs: Vec<(usize, &[(Mark, u64)])> = vec![(10, ODD), (500, ODD)];
        let mut bearers = fleet(1_000, &pairs);
        for (number, bearer) in bearers.iter_mut().enumerate() {
            bearer.marks.push((Mark::IkeVendors, 1_000 + u64::try_from(number / 2).unwrap()));
        }
        let ties = found(bearers);
        let share = |number: usize| ties.iter().find(|(of, _)| *of == address(number)).unwrap().1.share;
        assert!(share(10) < 0.01 && share(12) > 0.9, "{} {}", share(10), share(12));
    }

    #[test]
    fn a_small_fleet_and_one_who_moved_show_nothing() {
        assert_eq!(found(fleet(150, &[(10, ODD), (50, ODD)])), []);
        let mut moved = fleet(1_000, &[(10, ODD), (500, ODD)]);
        moved[500].hours = (7..15).collect();
        assert_eq!(found(moved), []);
        let bearers = fleet(1_000, &[(10, ODD), (500, ODD)]);
        assert_eq!(shared(bearers, &|_, _| false), [], "no strangers");
        assert_eq!(found(fleet(1_000, &[(10, ODD)])), [], "one alone");
    }

    #[test]
    fn the_order_does_not_matter() {
        let make = || fleet(400, &[(10, ODD), (250, ODD), (260, &ODD[..2])]);
        let mut turned = make();
        turned.reverse();
        turned.rotate_left(77);
        assert_eq!(found(turned), found(make()));
    }
}
