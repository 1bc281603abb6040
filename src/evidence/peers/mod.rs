//! What endpoints of one run have in common that no single account shows: a line, or oddities.
//!
//! Reads: all accounts, once they are full. Emits: [`Peers`], the same for any number of workers and any order of
//! packets, because endpoints are taken in order of their addresses. Bounded: see [`lines`] and [`marks`].
//! Does not: judge; two rules do.

mod lines;
mod marks;

pub use lines::{LineTie, SharedLine};
pub use marks::{Mark, SharedMarks};

use super::Account;
use crate::intel::is_not_public;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What one endpoint has in common with others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ties {
    /// A line.
    pub line: Option<SharedLine>,
    /// Oddities.
    pub marks: Option<SharedMarks>,
}

/// Ties of all endpoints that have any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Peers(BTreeMap<IpAddr, Ties>);

impl Peers {
    /// What an endpoint has in common with others, if anything.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&Ties> {
        self.0.get(&address)
    }

    /// All of them, by address.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Ties)> {
        self.0.iter().map(|(address, ties)| (*address, ties))
    }
}

/// How much there is to compare of an account, before any of it is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    line: Option<(usize, usize)>,
    marks: Option<u64>,
}

impl Weight {
    pub(super) fn of(account: &Account) -> Self {
        Self { line: lines::weight(account), marks: account.tells().then_some(account.sessions) }
    }
}

/// Of which endpoints there is most to compare.
#[derive(Debug)]
pub(super) struct Weights {
    lines: Heaviest<(usize, usize)>,
    marks: Heaviest<u64>,
}

impl Weights {
    pub(super) fn of(all: impl Iterator<Item = (IpAddr, Weight)>) -> Self {
        let mut weights = Self { lines: Heaviest::new(lines::MOST), marks: Heaviest::new(marks::MOST) };
        for (address, weight) in all {
            weight.line.into_iter().for_each(|weight| weights.lines.add(weight, address));
            weight.marks.into_iter().for_each(|weight| weights.marks.add(weight, address));
        }
        weights
    }
}

/// So many of the heaviest; of equals those first by address.
#[derive(Debug)]
struct Heaviest<W> {
    most: usize,
    /// At most twice as many.
    kept: Vec<(Reverse<W>, IpAddr)>,
}

impl<W: Ord> Heaviest<W> {
    const fn new(most: usize) -> Self {
        Self { most, kept: Vec::new() }
    }

    fn add(&mut self, weight: W, address: IpAddr) {
        if self.kept.len() >= 2 * self.most {
            self.tidy();
        }
        self.kept.push((Reverse(weight), address));
    }

    fn tidy(&mut self) {
        if self.kept.len() > self.most {
            self.kept.select_nth_unstable(self.most);
            self.kept.truncate(self.most);
        }
    }

    /// Ascending by address.
    fn addresses(mut self) -> Vec<IpAddr> {
        self.tidy();
        let mut addresses: Vec<IpAddr> = self.kept.into_iter().map(|(_, address)| address).collect();
        addresses.sort_unstable();
        addresses
    }
}

/// Accounts gathered for the comparison, as little of each as it needs.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    lines: Vec<lines::Line>,
    marks: Vec<marks::Bearer>,
}

impl Gathering {
    /// Takes in those endpoints of which there is most to compare; `with` shows the account of one.
    pub(super) fn of(weights: Weights, with: impl Fn(IpAddr, &mut dyn FnMut(&Account))) -> Self {
        let mut gathering = Self::default();
        for address in weights.lines.addresses() {
            with(address, &mut |account| gathering.lines.extend(lines::Line::of(address, account)));
        }
        for address in weights.marks.addresses() {
            with(address, &mut |account| gathering.marks.extend(marks::Bearer::of(address, account)));
        }
        gathering
    }

    /// Compares them; `same` tells of two addresses whether one person is said to have been at both.
    pub(super) fn compare(self, same: impl Fn(IpAddr, IpAddr) -> bool) -> Peers {
        let stranger = |a: IpAddr, b: IpAddr| are_strangers(a, b) && !same(a, b);
        let mut peers = Peers::default();
        for (address, line) in lines::shared(self.lines, &stranger) {
            peers.0.entry(address).or_default().line = Some(line);
        }
        for (address, marks) in marks::shared(self.marks, &stranger) {
            peers.0.entry(address).or_default().marks = Some(marks);
        }
        peers
    }
}

/// Whether two addresses can be told to be two subscribers': of one family, because a machine has an address of each,
/// and of different networks, because a home has many IPv6 addresses and an office many IPv4 ones.
fn are_strangers(a: IpAddr, b: IpAddr) -> bool {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            u32::from(one) >> 8 != u32::from(other) >> 8 && !is_not_public(a) && !is_not_public(b)
        }
        // A provider gives a subscriber a /48 at most (RFC 6177).
        (IpAddr::V6(one), IpAddr::V6(other)) => u128::from(one) >> 80 != u128::from(other) >> 80,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equals_those_first_by_address_are_taken() {
        let ip = |last: u8| IpAddr::from([20, 0, 0, last]);
        let all = [(5, ip(9)), (7, ip(8)), (5, ip(3)), (5, ip(4)), (2, ip(1)), (1, ip(2)), (3, ip(5)), (0, ip(6))];
        let heaviest = |all: &mut dyn Iterator<Item = &(u64, IpAddr)>| {
            let mut heaviest = Heaviest::new(3);
            all.for_each(|(weight, address)| heaviest.add(*weight, *address));
            heaviest.addresses()
        };
        assert_eq!(heaviest(&mut all.iter()), [ip(3), ip(4), ip(8)]);
        assert_eq!(heaviest(&mut all.iter().rev()), [ip(3), ip(4), ip(8)]);
        assert_eq!(heaviest(&mut all.iter().take(2)), [ip(8), ip(9)]);
    }

    #[test]
    fn one_subscriber_is_no_stranger_to_himself() {
        let strangers = |a: &str, b: &str| are_strangers(a.parse().unwrap(), b.parse().unwrap());
        assert!(strangers("198.51.100.7", "203.0.113.7") && strangers("2001:db8:1::7", "2001:db8:2::7"));
        for (a, b) in [
            ("198.51.100.7", "198.51.100.200"),
            ("198.51.100.7", "2001:db8:1::7"),
            ("2001:db8:1:1::7", "2001:db8:1:2::7"),
            ("10.0.1.1", "10.0.2.1"),
        ] {
            assert!(!strangers(a, b) && !strangers(b, a), "{a} {b}");
        }
    }
}
