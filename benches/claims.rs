//! How long it takes to say who is at an address, with a large company's claims in memory; and what those weigh.
#![allow(missing_docs, clippy::print_stdout, reason = "criterion makes undocumented items; the weight is printed")]

use criterion::{Criterion, criterion_group, criterion_main};
use farmlight::base::{Claim, IdentityKind, Located, Stay, Timestamp, Whereabouts};
use farmlight::evidence::{ClaimLimits, Claims};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const IDENTITIES: u32 = 50_000;
const CLAIMS: u32 = 200_000;

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x6440_0000 + n).into()
}

fn at(n: u32) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + i64::from(n) * 1_000_000_000)
}

fn filled() -> Claims {
    let claims = Claims::new(ClaimLimits::default());
    for n in 0..CLAIMS {
        let who = n % IDENTITIES;
        let place = address(who + n / IDENTITIES * 7);
        let name = format!("first.last.{who}@corp.example");
        let mut claim = Claim::new("radius-accounting", Whereabouts::Address(place), IdentityKind::User, name);
        claim.stay = Stay::Begins;
        claim.session = Some(format!("{n:08X}"));
        claims.add(Located { at: at(n), address: place, claim });
    }
    claims
}

fn claims(c: &mut Criterion) {
    let mut weight = allocation_counter::AllocationInfo::default();
    let mut made = None;
    weight.bytes_current += allocation_counter::measure(|| made = Some(filled())).bytes_current;
    let Some(claims) = made else { return };
    println!("{CLAIMS} claims of {IDENTITIES} identities: {} bytes stay allocated", weight.bytes_current);
    let mut n = 0u32;
    c.bench_function("who is at an address", |b| {
        b.iter(|| {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            black_box(claims.at(address(n % IDENTITIES), at(n % CLAIMS)))
        });
    });
}

criterion_group!(benches, claims);
criterion_main!(benches);
