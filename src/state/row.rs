//! How an account and the words of a stay stand in a row.
//!
//! Emits: JSON, so that a field that is added later does not make old rows unreadable, compressed by Zstandard with a
//! checksum, because SQLite has none for its pages. Does not: know of tables.

use super::StateError;
use crate::base::{IdentityKind, Sureness};
use crate::evidence::Account;
use std::io::Read as _;
use std::net::IpAddr;

/// The form in which accounts are written now.
pub(super) const FORMAT: i64 = 1;
/// Zstandard's fast middle.
const LEVEL: i32 = 3;
/// No account is so large (its parts are bounded); a row that claims more is none of ours.
const MOST_BYTES: u64 = 1 << 24;

fn bad(error: impl std::fmt::Display) -> StateError {
    StateError::Row(error.to_string())
}

pub(super) fn write(account: &Account) -> Result<Vec<u8>, StateError> {
    // Whole texts: Zstandard then takes no more memory than so much text needs.
    let mut press = zstd::bulk::Compressor::new(LEVEL).map_err(bad)?;
    press.include_checksum(true).map_err(bad)?;
    press.compress(&serde_json::to_vec(account).map_err(bad)?).map_err(bad)
}

pub(super) fn read(format: i64, body: &[u8]) -> Result<Account, StateError> {
    if format != FORMAT {
        return Err(bad(format!("its form {format} is not known")));
    }
    let mut text = Vec::new();
    zstd::Decoder::new(body).map_err(bad)?.take(MOST_BYTES).read_to_end(&mut text).map_err(bad)?;
    serde_json::from_slice(&text).map_err(bad)
}

/// An address as 4 or 16 bytes.
pub(super) fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(super) fn kind(name: &str) -> Option<IdentityKind> {
    [IdentityKind::User, IdentityKind::Host, IdentityKind::Device].into_iter().find(|kind| kind.name() == name)
}

/// What a claim is worth, as a number that grows with it.
pub(super) const fn rank(sureness: Sureness) -> i64 {
    sureness as i64
}
