//! Words for IKE's numbers: algorithms, notifications, exchanges, and the vendor ids that programs are known by.
//!
//! Reads: numbers and vendor ids. Emits: words in lower-case kebab. Does not: know any message.
//!
//! Reference: IANA "Internet Key Exchange Version 2 (IKEv2) Parameters" and "Internet Key Exchange (IKE) Attributes".
//! Vendor ids are mostly MD5 of a text (`strongSwan`, `FORTIGATE`, `MS NT5 ISAKMPOAKLEY`); those of which no text is
//! known are as ike-scan's list and the programs' sources have them.

use std::fmt::Write;

/// Attribute type of a key's length in bits (RFC 7296 3.3.5).
pub const KEY_LENGTH_V2: u16 = 14;
/// Names of one kind that are kept.
const NAMES: usize = 16;
/// Bytes of an unknown vendor id that are told; those of known programs have 8 to 28.
const VENDOR_BYTES: usize = 20;

/// Names, each once.
#[derive(Debug, Default)]
pub struct List(Vec<String>);

impl List {
    /// Adds a name, or the number where there is none, with the key's bits behind it.
    pub fn add(&mut self, name: Option<&str>, id: u16, bits: Option<u16>) {
        let mut text = name.map_or_else(|| id.to_string(), ToOwned::to_owned);
        if let Some(bits) = bits {
            let _ = write!(text, "-{bits}");
        }
        if self.0.len() < NAMES && !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, with commas between.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.join(",")
    }
}

/// Transform type 1.
#[must_use]
pub const fn encryption(id: u16) -> Option<&'static str> {
    Some(match id {
        2 => "des",
        3 => "3des",
        11 => "null",
        12 => "aes-cbc",
        13 => "aes-ctr",
        14 => "aes-ccm-8",
        15 => "aes-ccm-12",
        16 => "aes-ccm-16",
        18 => "aes-gcm-8",
        19 => "aes-gcm-12",
        20 => "aes-gcm-16",
        23 => "camellia-cbc",
        28 => "chacha20-poly1305",
        _ => return None,
    })
}

/// Transform type 2.
#[must_use]
pub const fn prf(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "hmac-md5",
        2 => "hmac-sha1",
        4 => "aes128-xcbc",
        5 => "hmac-sha2-256",
        6 => "hmac-sha2-384",
        7 => "hmac-sha2-512",
        8 => "aes128-cmac",
        _ => return None,
    })
}

/// Transform type 3.
#[must_use]
pub const fn integrity(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "none",
        1 => "hmac-md5-96",
        2 => "hmac-sha1-96",
        5 => "aes-xcbc-96",
        6 => "hmac-md5-128",
        7 => "hmac-sha1-160",
        8 => "aes-cmac-96",
        12 => "hmac-sha2-256-128",
        13 => "hmac-sha2-384-192",
        14 => "hmac-sha2-512-256",
        _ => return None,
    })
}

/// Key exchange methods; IKEv1's groups have the same numbers.
#[must_use]
pub const fn group(id: u16) -> Option<&'static str> {
    Some(match id {
        0 => "none",
        1 => "modp-768",
        2 => "modp-1024",
        5 => "modp-1536",
        14 => "modp-2048",
        15 => "modp-3072",
        16 => "modp-4096",
        17 => "modp-6144",
        18 => "modp-8192",
        19 => "ecp-256",
        20 => "ecp-384",
        21 => "ecp-521",
        22 => "modp-1024-160",
        23 => "modp-2048-224",
        24 => "modp-2048-256",
        25 => "ecp-192",
        26 => "ecp-224",
        27 => "brainpool-224",
        28 => "brainpool-256",
        29 => "brainpool-384",
        30 => "brainpool-512",
        31 => "curve25519",
        32 => "curve448",
        35 => "ml-kem-512",
        36 => "ml-kem-768",
        37 => "ml-kem-1024",
        _ => return None,
    })
}

/// IKEv1's attribute 1.
#[must_use]
pub const fn encryption_v1(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "des",
        2 => "idea",
        3 => "blowfish",
        5 => "3des",
        6 => "cast",
        7 => "aes-cbc",
        8 => "camellia-cbc",
        _ => return None,
    })
}

/// IKEv1's attribute 2.
#[must_use]
pub const fn hash_v1(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "md5",
        2 => "sha1",
        3 => "tiger",
        4 => "sha2-256",
        5 => "sha2-384",
        6 => "sha2-512",
        _ => return None,
    })
}

/// IKEv1's attribute 3; the large numbers are those of XAUTH and hybrid authentication (draft-ietf-ipsec-isakmp-xauth).
#[must_use]
pub const fn authentication_v1(id: u16) -> Option<&'static str> {
    Some(match id {
        1 => "psk",
        2 => "dss",
        3 => "rsa",
        4 | 5 => "rsa-encryption",
        9 => "ecdsa-256",
        10 => "ecdsa-384",
        11 => "ecdsa-521",
        64_221 => "hybrid-rsa",
        65_001 => "xauth-psk",
        65_005 => "xauth-rsa",
        _ => return None,
    })
}

/// An exchange type.
#[must_use]
pub const fn exchange(kind: u8) -> &'static str {
    match kind {
        1 => "base",
        2 => "main-mode",
        3 => "authentication-only",
        4 => "aggressive-mode",
        6 => "transaction",
        32 => "quick-mode",
        33 => "new-group",
        34 => "sa-init",
        35 => "auth",
        36 => "create-child-sa",
        38 => "session-resume",
        39 => "gsa-auth",
        40 => "gsa-registration",
        41 => "gsa-rekey",
        43 => "intermediate",
        44 => "followup-ke",
        _ => "informational",
    }
}

/// A notification: COOKIE (RFC 7296 2.6).
pub const COOKIE: u16 = 16_390;
/// A notification: another group is wanted (RFC 7296 1.2).
pub const INVALID_KE_PAYLOAD: u16 = 17;

/// A notification, or its number.
#[must_use]
pub fn notification(version: u8, kind: u16) -> String {
    let name = match (version, kind) {
        (_, 4) => "invalid-spi-of-ike",
        (_, 5) => "invalid-major-version",
        (_, 7) => "invalid-syntax",
        (_, 9) => "invalid-message-id",
        (_, 11) => "invalid-spi",
        (_, 14) => "no-proposal-chosen",
        (1, 16) => "payload-malformed",
        (_, INVALID_KE_PAYLOAD) => "invalid-ke-payload",
        (1, 18) => "invalid-id-information",
        (_, 24) => "authentication-failed",
        (1, 24_578) | (2, 16_384) => "initial-contact",
        (1, 36_136) => "r-u-there",
        (1, 36_137) => "r-u-there-ack",
        (2, 16_388) => "nat-detection-source-ip",
        (2, 16_389) => "nat-detection-destination-ip",
        (2, COOKIE) => "cookie",
        (2, 16_404) => "multiple-auth-supported",
        (2, 16_406) => "redirect-supported",
        (2, 16_407) => "redirect",
        (2, 16_418) => "childless-supported",
        (2, 16_430) => "fragmentation-supported",
        (2, 16_431) => "signature-hash-algorithms",
        (2, 16_435) => "use-ppk",
        (2, 16_438) => "intermediate-exchange-supported",
        _ => return kind.to_string(),
    };
    name.to_owned()
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// How a vendor id begins, its word, and the program or maker that it gives away.
type Vendor = (&'static str, &'static str, Option<&'static str>);

const VENDORS: &[Vendor] = &[
    ("882fe56d6fd20dbc2251613b2ebe5beb", "strongswan", Some("strongswan")),
    ("afcad71368a1f1c96b8696fc7757", "dead-peer-detection", None),
    ("09002689dfd6b712", "xauth", None),
    ("4a131c81070358455c5728f20e95452f", "nat-t-rfc3947", None),
    ("7d9419a65310ca6f2c179d9215529d56", "nat-t-draft-03", None),
    ("90cb80913ebb696e086381b5ec427b1f", "nat-t-draft-02n", None),
    ("cd60464335df21f87cfdb2fc68b6a448", "nat-t-draft-02", None),
    ("16f6ca16e4a4066d83821a0f0aeaa862", "nat-t-draft-01", None),
    ("4485152d18b6bbcd0be8a8469579ddcc", "nat-t-draft-00", None),
    ("9909b64eed937c6573de52ace952fa6b", "nat-t-draft-04", None),
    ("80d0bb3def54565ee84645d4c85ce3ee", "nat-t-draft-05", None),
    ("4d1e0e136deafa34c4f3ea9f02ec7285", "nat-t-draft-06", None),
    ("439b59f8ba676c4c7737ae22eab8f582", "nat-t-draft-07", None),
    ("8f8d83826d246b6fc7a8a6a428c11de8", "nat-t-draft-08", None),
    ("4df37928e9fc4fd1b3262170d515c662", "nat-t-draft", None),
    ("4048b7d56ebce88525e7de7f00d6c2d3", "fragmentation", None),
    ("1e2b516905991c7d7c96fcbfb587e461", "microsoft", Some("microsoft")),
    ("26244d38eddb61b3172a36e3d0cfb819", "microsoft-initial-contact", Some("microsoft")),
    ("fb1de3cdf341b7ea16b7e5be0855f120", "microsoft-negotiation-discovery", Some("microsoft")),
    ("e3a5966a76379fe707228231e5ce8652", "microsoft-cga", Some("microsoft")),
    // Others answer to Unity too, since Cisco's clients ask for it.
    ("12f5f28c457168a9702d9fe274cc", "cisco-unity", None),
    ("1f07f70eaa6514d3b0fa96542a", "cisco-vpn-3000", Some("cisco")),
    // ASCII: "CISCO" and "FLEXVPN".
    ("434953434f", "cisco", Some("cisco")),
    ("464c455856504e", "cisco-flexvpn", Some("cisco")),
    ("8299031757a36082c6a621de", "fortigate", Some("fortinet")),
    ("1d6e178f6c2c0be284985465450fe9d4", "fortigate", Some("fortinet")),
    ("f4ed19e0c114eb516faaac0ee37daf2807b4381f", "check-point", Some("check-point")),
    ("5b362bc820f6", "sonicwall", Some("sonicwall")),
    ("5b362bc820f7", "sonicwall", Some("sonicwall")),
    ("404bf439522ca3f6", "sonicwall", Some("sonicwall")),
    ("166f932d55eb64d8e4df4fd37e2313f0d0fd8451", "netscreen", Some("juniper")),
    ("4a4340b543e02b84c88a8b96a8af9ebe77d9accc", "netscreen", Some("juniper")),
    ("299ee8289f40a8973bc78687e2e7226b532c3b76", "netscreen", Some("juniper")),
    ("8404adf9cda05760b2ca292e4bff537b", "ipsec-tools", Some("racoon")),
    ("7003cbc1097dbe9c2600ba6983bc8b35", "racoon", Some("racoon")),
    ("f14b94b7bff1fef02773b8c49feded26", "shrew-soft", Some("shrew-soft")),
    ("47bbe7c993f1fc13b4e6d0db565c68e5", "safenet-softremote", Some("softremote")),
    ("b858d1addd08c1e8adafea150608aa4497aa6cc8", "zywall", Some("zyxel")),
    ("f758f22668750f03b08df6ebe1d0", "zywall", Some("zyxel")),
    ("625027749d5ab97f5616c1602765cf480a3b7d0b", "zywall", Some("zyxel")),
    ("c573b056d7faca36c2fba28374127cbf", "stonegate", Some("stonegate")),
    ("baeb239037e17787d730eed9d95d48aa", "stonegate", Some("stonegate")),
    ("424e4553000000", "contivity", Some("nortel")),
    // ASCII: "OpenIKED".
    ("4f70656e494b4544", "openiked", Some("openiked")),
];

/// The word for a vendor id, and the program that it gives away. An unknown one is told as its text, if it is one, or
/// in hexadecimal.
#[must_use]
pub fn vendor(id: &[u8]) -> (String, Option<&'static str>) {
    let code = hex(id.get(..VENDOR_BYTES).unwrap_or(id));
    if let Some((_, name, program)) = VENDORS.iter().find(|(begins, ..)| code.starts_with(begins)) {
        return ((*name).to_owned(), *program);
    }
    // Openswan's and libreswan's are twelve characters: a mark, then a hash written in printable ones.
    match id {
        [b'O', b'S', b'W', rest @ ..] | [b'O', b'E', rest @ ..]
            if id.len() == 12 && rest.iter().all(|b| (0x20..0x80).contains(b)) =>
        {
            let libreswan = id.starts_with(b"OEN") || id.starts_with(b"OE-");
            let name = if libreswan { "openswan-or-libreswan" } else { "openswan" };
            (name.to_owned(), Some(if libreswan { "libreswan" } else { "openswan" }))
        }
        [_, _, _, _, _, _, ..] if id.iter().all(|b| b.is_ascii_graphic() || *b == b' ') => {
            (String::from_utf8_lossy(id.get(..32).unwrap_or(id)).replace(',', ";"), None)
        }
        _ => (code, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_are_known_by_how_they_begin() {
        let windows = [0x1e, 0x2b, 0x51, 0x69, 5, 0x99, 0x1c, 0x7d, 0x7c, 0x96, 0xfc, 0xbf, 0xb5, 0x87, 0xe4, 0x61];
        assert_eq!(vendor(&[&windows[..], &[0, 0, 0, 9]].concat()), ("microsoft".to_owned(), Some("microsoft")));
        assert_eq!(vendor(b"CISCO-DELETE-REASON").1, Some("cisco"));
        assert_eq!(vendor(b"OEu\\d\\jy\\\\ap"), ("openswan".to_owned(), Some("openswan")));
        assert_eq!(vendor(b"hello, world"), ("hello; world".to_owned(), None));
        assert_eq!(vendor(&[1, 2, 0xff]), ("0102ff".to_owned(), None));
        assert_eq!(vendor(&[]), (String::new(), None));
    }

    #[test]
    fn prefixes_of_vendors_are_hexadecimal_and_each_the_first_that_fits() {
        for (i, (begins, ..)) in VENDORS.iter().enumerate() {
            assert!(begins.len() % 2 == 0 && begins.chars().all(|c| c.is_ascii_hexdigit()), "{begins}");
            assert!(!VENDORS.iter().take(i).any(|(before, ..)| begins.starts_with(before)), "{begins}");
        }
    }
}
