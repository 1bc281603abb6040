//! Writing big-endian protocol structures: integers, and blocks with their length before them.
//!
//! Reads: nothing. Emits: bytes. Does not: know any protocol. Lengths that do not fit are cut by the caller's design;
//! the simulator writes nothing near them.

/// Bytes being put together.
#[derive(Debug, Default, Clone)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl Octets {
    /// What `write` puts together.
    pub(super) fn of(write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut octets = Self::default();
        write(&mut octets);
        octets.0
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.extend_from_slice(bytes.as_ref());
    }

    /// A block with its length in `width` bytes before it.
    pub(super) fn block(&mut self, width: usize, write: impl FnOnce(&mut Self)) {
        let inner = Self::of(write);
        let length = (inner.len() as u64).to_be_bytes();
        self.put(length.get(length.len().saturating_sub(width)..).unwrap_or_default());
        self.put(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_nest() {
        let bytes = Octets::of(|o| {
            o.u8(1);
            o.block(3, |o| o.block(2, |o| o.put(b"ab")));
        });
        assert_eq!(bytes, [1, 0, 0, 4, 0, 2, b'a', b'b']);
    }
}
