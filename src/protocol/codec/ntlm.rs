//! NTLM: the names in an AUTHENTICATE message.
//!
//! Reads: the message that follows the signature `NTLMSSP`, wherever a protocol carries it. Emits: user, domain and
//! workstation. Does not: read the responses, which could be guessed at.
//!
//! Reference: [MS-NLMP] 2.2.1.3.

use super::printable;
use super::text::text_utf16le;
use crate::base::Reader;

/// Who signs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NtlmNames {
    /// The account, with its domain before a backslash where one is said; `None` for an anonymous sign-on.
    pub user: Option<String>,
    /// The machine, as it calls itself.
    pub workstation: Option<String>,
}

/// What an NTLM message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ntlm {
    /// The client begins.
    Negotiate,
    /// The server's challenge.
    Challenge,
    /// The client's answer, with its names.
    Authenticate(NtlmNames),
}

const SIGNATURE: &[u8] = b"NTLMSSP\0";
/// `NTLMSSP_NEGOTIATE_UNICODE`.
const UNICODE: u32 = 1;
const MAX_NAME: usize = 128;

/// The first NTLM message in `bytes`.
#[must_use]
pub fn ntlm_in(bytes: &[u8]) -> Option<Ntlm> {
    let start = bytes.windows(SIGNATURE.len()).position(|window| window == SIGNATURE)?;
    let message = bytes.get(start..)?;
    let mut reader = Reader::new(message.get(SIGNATURE.len()..)?);
    match le32(&mut reader)? {
        1 => Some(Ntlm::Negotiate),
        2 => Some(Ntlm::Challenge),
        3 => {
            // Two responses, then domain, user, workstation, session key.
            reader.take(16)?;
            let (domain, user, workstation) = (field(&mut reader)?, field(&mut reader)?, field(&mut reader)?);
            reader.take(8)?;
            let unicode = le32(&mut reader).unwrap_or(UNICODE) & UNICODE != 0;
            let text = |(offset, len): (usize, usize)| {
                let bytes = message.get(offset..offset.checked_add(len)?)?;
                let text = if unicode { text_utf16le(bytes, MAX_NAME) } else { printable(bytes, MAX_NAME) };
                (!text.is_empty()).then_some(text)
            };
            let user = text(user).map(|user| text(domain).map_or(user.clone(), |domain| format!("{domain}\\{user}")));
            Some(Ntlm::Authenticate(NtlmNames { user, workstation: text(workstation) }))
        }
        _ => None,
    }
}

fn le32(reader: &mut Reader<'_>) -> Option<u32> {
    reader.array().map(u32::from_le_bytes)
}

/// Offset from the signature, and length, in bytes.
fn field(reader: &mut Reader<'_>) -> Option<(usize, usize)> {
    let len = u16::from_le_bytes(reader.array()?);
    reader.take(2)?;
    Some((usize::try_from(le32(reader)?).ok()?, usize::from(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An AUTHENTICATE message with these names in UTF-16.
    fn authenticate(domain: &str, user: &str, workstation: &str) -> Vec<u8> {
        let mut out = [SIGNATURE, &3u32.to_le_bytes(), &[0; 16]].concat();
        let mut payload = Vec::new();
        for name in [domain, user, workstation] {
            let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let len = u16::try_from(text.len()).unwrap().to_le_bytes();
            let offset = u32::try_from(64 + payload.len()).unwrap();
            out.extend([len, len].concat());
            out.extend(offset.to_le_bytes());
            payload.extend(text);
        }
        out.extend([0; 8]);
        out.extend(UNICODE.to_le_bytes());
        [out, payload].concat()
    }

    #[test]
    fn the_names_are_read_wherever_the_message_stands() {
        let message = [b"\x30\x20gss".as_slice(), &authenticate("CORP", "alice", "LAPTOP-17")].concat();
        let names = NtlmNames { user: Some("CORP\\alice".into()), workstation: Some("LAPTOP-17".into()) };
        assert_eq!(ntlm_in(&message), Some(Ntlm::Authenticate(names)));
        let nobody = NtlmNames { user: None, workstation: None };
        assert_eq!(ntlm_in(&authenticate("", "", "")), Some(Ntlm::Authenticate(nobody)));
        assert_eq!(ntlm_in(b"NTLMSSP\0\x01\0\0\0"), Some(Ntlm::Negotiate));
        assert_eq!(ntlm_in(b"NTLMSSP\0\x02\0\0\0"), Some(Ntlm::Challenge));
        assert_eq!(ntlm_in(b"no such thing"), None);
    }

    proptest! {
        #[test]
        fn bent_messages_never_panic(at in 0usize..200, value: u8, cut in 0usize..200) {
            let mut message = authenticate("CORP", "alice", "LAPTOP-17");
            let len = message.len();
            message[at % len] = value;
            message.truncate(cut);
            let _ = ntlm_in(&message);
        }
    }
}
