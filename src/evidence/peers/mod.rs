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

/// Accounts gathered for the comparison, as little of each as it needs.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    lines: Vec<lines::Line>,
    marks: Vec<marks::Bearer>,
}

impl Gathering {
    /// Takes in those endpoints of which there is most to compare; `with` shows the account of one.
    pub(super) fn of(weights: &[(IpAddr, Weight)], with: impl Fn(IpAddr, &mut dyn FnMut(&Account))) -> Self {
        let mut gathering = Self::default();
        for address in most(weights.iter().filter_map(|(address, weight)| Some((weight.line?, *address))), lines::MOST)
        {
            with(address, &mut |account| gathering.lines.extend(lines::Line::of(address, account)));
        }
        for address in most(weights.iter().filter_map(|(address, weight)| Some((weight.marks?, *address))), marks::MOST)
        {
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

/// So many of the heaviest, of equals those first by address, in order of address.
fn most<W: Ord>(all: impl Iterator<Item = (W, IpAddr)>, n: usize) -> Vec<IpAddr> {
    let mut all: Vec<(Reverse<W>, IpAddr)> = all.map(|(weight, address)| (Reverse(weight), address)).collect();
    all.sort_unstable();
    let mut most: Vec<IpAddr> = all.into_iter().take(n).map(|(_, address)| address).collect();
    most.sort_unstable();
    most
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
        let all = [(5, ip(9)), (7, ip(8)), (5, ip(3)), (5, ip(4))];
        assert_eq!(most(all.into_iter(), 3), [ip(3), ip(4), ip(8)]);
        assert_eq!(most(all.into_iter().rev(), 3), [ip(3), ip(4), ip(8)]);
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
