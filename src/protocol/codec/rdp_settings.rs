//! The settings that RDP's ends exchange in clear with standard security: GCC user data in MCS Connect PDUs.
//!
//! Reads: core, security, network and multitransport blocks. Does not: read keyboard layout, language or keys, or emit
//! events.
//!
//! Reference: [MS-RDPBCGR] 2.2.1.3 and 2.2.1.4, ITU-T T.125 (MCS), T.124 (GCC).

use super::text::{printable_list, text_utf16le};
use crate::base::Reader;

/// How an MCS Connect Initial begins: BER application tag 101.
pub const CONNECT_INITIAL: [u8; 2] = [0x7f, 0x65];
/// How an MCS Connect Response begins: BER application tag 102.
pub const CONNECT_RESPONSE: [u8; 2] = [0x7f, 0x66];

/// Microsoft's H.221 keys, in front of the client's and the server's blocks.
const CLIENT_KEY: &[u8] = b"Duca";
const SERVER_KEY: &[u8] = b"McDn";

const CS_CORE: u16 = 0xc001;
const CS_NET: u16 = 0xc003;
const CS_MULTITRANSPORT: u16 = 0xc00a;
const SC_CORE: u16 = 0x0c01;
const SC_SECURITY: u16 = 0x0c02;

/// A client may ask for 31 static channels.
const CHANNELS: usize = 31;
/// Characters of a list of channels that are kept: 31 names of at most 7.
const CHANNELS_KEPT: usize = 255;
/// Characters of a client's name.
const NAME: usize = 15;

/// What a client says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// The protocol's version, such as `10.7`.
    pub version: String,
    /// Width and height of the desktop asked for, in pixels.
    pub desktop: (u16, u16),
    /// The client's build.
    pub build: u32,
    /// The client's computer name.
    pub name: String,
    /// The static channels asked for, comma-separated.
    pub channels: String,
    /// Which transports beside TCP it can use.
    pub transports: Option<u32>,
}

/// What a server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// The protocol's version.
    pub version: String,
    /// Encryption method and level.
    pub encryption: Option<(u32, u32)>,
}

/// Whether an MCS Connect Initial holds Microsoft's client data.
#[must_use]
pub fn has_client_data(connect_initial: &[u8]) -> bool {
    user_data(connect_initial, CLIENT_KEY).is_some()
}

impl ClientSettings {
    /// Reads an MCS Connect Initial; `None` if it holds no core data.
    #[must_use]
    pub fn read(connect_initial: &[u8]) -> Option<Self> {
        let mut settings = Self::default();
        let mut core = false;
        for (kind, mut block) in Blocks(user_data(connect_initial, CLIENT_KEY)?) {
            match kind {
                CS_CORE => {
                    settings.core(&mut block)?;
                    core = true;
                }
                CS_NET => settings.channels = channels(&mut block).unwrap_or_default(),
                CS_MULTITRANSPORT => settings.transports = u32_le(&mut block),
                _ => {}
            }
        }
        core.then_some(settings)
    }

    fn core(&mut self, block: &mut Reader<'_>) -> Option<()> {
        self.version = version(u32_le(block)?);
        self.desktop = (u16_le(block)?, u16_le(block)?);
        // Color depth, SAS sequence, and the keyboard layout, which is not read.
        block.take(8)?;
        self.build = u32_le(block)?;
        self.name = text_utf16le(block.take(32)?, NAME);
        Some(())
    }
}

impl ServerSettings {
    /// Reads an MCS Connect Response; `None` if it holds no core data.
    #[must_use]
    pub fn read(connect_response: &[u8]) -> Option<Self> {
        let mut settings = Self::default();
        for (kind, mut block) in Blocks(user_data(connect_response, SERVER_KEY)?) {
            match kind {
                SC_CORE => settings.version = version(u32_le(&mut block)?),
                SC_SECURITY => settings.encryption = u32_le(&mut block).zip(u32_le(&mut block)),
                _ => {}
            }
        }
        (!settings.version.is_empty()).then_some(settings)
    }
}

/// Encryption methods of standard security.
#[must_use]
pub fn encryption_name(method: u32, level: u32) -> String {
    let method = match method {
        0 => "none",
        1 => "rc4-40",
        2 => "rc4-128",
        8 => "rc4-56",
        16 => "fips",
        _ => "unknown",
    };
    let level = match level {
        0 => "none",
        1 => "low",
        2 => "client-compatible",
        3 => "high",
        4 => "fips",
        _ => "unknown",
    };
    format!("{method}/{level}")
}

/// The data blocks behind an H.221 key in a GCC Conference Create Request or Response.
fn user_data<'a>(connect: &'a [u8], key: &[u8]) -> Option<Reader<'a>> {
    let at = connect.windows(key.len()).position(|window| window == key)?;
    let mut reader = Reader::new(connect.get(at + key.len()..)?);
    // PER length: one byte, or two with the top bit set.
    if reader.u8()? & 0x80 != 0 {
        reader.u8()?;
    }
    Some(reader)
}

/// Blocks of a type, a length that counts its own header, and content.
struct Blocks<'a>(Reader<'a>);

impl<'a> Iterator for Blocks<'a> {
    type Item = (u16, Reader<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = u16_le(&mut self.0)?;
        let len = usize::from(u16_le(&mut self.0)?).checked_sub(4)?;
        Some((kind, Reader::new(self.0.take(len)?)))
    }
}

fn channels(block: &mut Reader<'_>) -> Option<String> {
    let count = usize::try_from(u32_le(block)?).ok()?.min(CHANNELS);
    let names = (0..count).filter_map(|_| {
        let [name @ .., _, _, _, _] = block.array::<12>()?;
        Some(name)
    });
    let names: Vec<[u8; 8]> = names.collect();
    let text = |name: &'_ [u8; 8]| name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Some(printable_list(names.iter().filter_map(|name| name.get(..text(name))), CHANNELS_KEPT))
}

/// 4 is RDP 4.0; 8.4 is everything from 5.0 to 8.1; 8.5 and above count the releases of 10.
fn version(value: u32) -> String {
    match value {
        0x0008_0001 => "4.0".to_owned(),
        0x0008_0004 => "5.0".to_owned(),
        0x0008_0005..=0x0008_00ff => format!("10.{}", value - 0x0008_0005),
        other => format!("{other:#x}"),
    }
}

fn u16_le(reader: &mut Reader<'_>) -> Option<u16> {
    reader.array().map(u16::from_le_bytes)
}

fn u32_le(reader: &mut Reader<'_>) -> Option<u32> {
    reader.array().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_as_its_makers_do() {
        let told = [0x0008_0001, 0x0008_0004, 0x0008_0005, 0x0008_0011, 7].map(version);
        assert_eq!(told, ["4.0", "5.0", "10.0", "10.12", "0x7"]);
    }

    #[test]
    fn a_block_that_lies_about_its_length_ends_the_reading() {
        let short = [CLIENT_KEY, &[8, 0x01, 0xc0, 0xff, 0xff, 1, 2, 3, 4][..]].concat();
        assert_eq!(ClientSettings::read(&short), None);
        let tiny = [SERVER_KEY, &[4, 0x01, 0x0c, 3, 0][..]].concat();
        assert_eq!(ServerSettings::read(&tiny), None);
        assert!(has_client_data(&short) && !has_client_data(&tiny));
    }

    #[test]
    fn channels_are_listed_as_asked_for() {
        let mut block = vec![2, 0, 0, 0];
        block.extend(b"rdpdr\0\0\0\0\0\x80\x80cliprdr\0\0\0\xa0\xc0");
        assert_eq!(channels(&mut Reader::new(&block)), Some("rdpdr,cliprdr".to_owned()));
    }
}
