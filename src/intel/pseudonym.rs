//! Names of people and machines as keyed hashes: the same name is the same pseudonym, and nobody without the key can
//! try out names.
//!
//! HMAC-SHA-256 (RFC 2104), its first 16 bytes in hexadecimal. Reads: a key file. Emits: pseudonyms.
//! Does not: keep the names.

use ring::hmac;
use std::fmt;
use std::path::{Path, PathBuf};

/// Shorter keys could be tried out.
const MIN_KEY: usize = 16;

/// Turns names into pseudonyms.
#[derive(Clone)]
pub struct Pseudonyms {
    key: hmac::Key,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key must not come into a log.
        f.write_str("Pseudonyms")
    }
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too short.
    #[error("{path}: a key of {found} bytes can be guessed; make one with: head -c 32 /dev/urandom > {path}", path = path.display())]
    Short {
        /// Which.
        path: PathBuf,
        /// How many bytes it has.
        found: usize,
    },
}

impl Pseudonyms {
    /// Reads the key: the bytes of a file, a line end behind them left out.
    ///
    /// # Errors
    /// The file can't be read, or holds less than 16 bytes.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let bytes = std::fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        let key = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if key.len() < MIN_KEY {
            return Err(KeyError::Short { path: path.to_owned(), found: key.len() });
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) })
    }

    /// The pseudonym of a name.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        let tag = hmac::sign(&self.key, name.as_bytes());
        tag.as_ref().iter().take(16).fold(String::from("id:"), |text, byte| text + &format!("{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: &[u8]) -> Result<Pseudonyms, KeyError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key).unwrap();
        Pseudonyms::open(file.path())
    }

    #[test]
    fn the_same_name_and_key_give_the_same_pseudonym() {
        let (one, other) = (with_key(&[1; 32]).unwrap(), with_key(&[2; 32]).unwrap());
        assert_eq!(one.of("alice"), one.of("alice"));
        assert_ne!(one.of("alice"), one.of("bob"));
        assert_ne!(one.of("alice"), other.of("alice"));
        assert_eq!(
            with_key(b"a passphrase of some length\n").unwrap().of("x"),
            with_key(b"a passphrase of some length").unwrap().of("x")
        );
        // As OpenSSL computes it: openssl dgst -sha256 -mac HMAC -macopt hexkey:0101…
        assert_eq!(one.of("alice"), "id:b9ac4ee7242bea2f07e6764f068b5e8f");
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        assert!(with_key(b"secret\n").unwrap_err().to_string().contains("6 bytes"));
        assert!(matches!(Pseudonyms::open(Path::new("/nonexistent")), Err(KeyError::Read { .. })));
        assert_eq!(format!("{:?}", with_key(&[1; 32]).unwrap()), "Pseudonyms");
    }
}
