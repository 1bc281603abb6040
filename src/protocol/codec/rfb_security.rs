//! The numbers of RFB's security types, and Tight's capabilities.
//!
//! Does not: follow a handshake; the reader of RFB does.
//!
//! Reference: RFC 6143 and IANA's registry of RFB security types; rfbproto.rst (Tight, VeNCrypt); TigerVNC and UltraVNC
//! for the types that they have of their own.

use super::text::printable;

/// No authentication.
pub const NONE: u8 = 1;
/// Challenge and response with DES.
pub const VNC_AUTH: u8 = 2;
/// RealVNC's RSA-AES; TigerVNC speaks it too.
pub const RA2: u8 = 5;
/// The same, where only the authentication is encrypted.
pub const RA2NE: u8 = 6;
/// `TightVNC`'s tunnels, authentications and capabilities.
pub const TIGHT: u8 = 16;
/// `UltraVNC`: the choice is made again among its own types.
pub const ULTRA: u8 = 17;
/// Anonymous TLS around everything.
pub const TLS: u8 = 18;
/// TLS or plain, with a choice of its own.
pub const VENCRYPT: u8 = 19;
/// SASL, as QEMU has it.
pub const SASL: u8 = 20;
/// Xen's: a user and a target, then [`VNC_AUTH`].
pub const XVP: u8 = 22;
/// Apple's Diffie-Hellman with name and password.
pub const APPLE_DH: u8 = 30;
/// Apple's RSA with name and password.
pub const APPLE_RSA: u8 = 33;
/// `UltraVNC`'s MS-Logon II.
pub const MS_LOGON_2: u8 = 113;
/// [`RA2`] with SHA-256.
pub const RA2_256: u8 = 129;
/// [`RA2NE`] with SHA-256.
pub const RA2NE_256: u8 = 130;

/// The word for a security type.
#[must_use]
pub const fn security_name(kind: u8) -> &'static str {
    match kind {
        0 => "invalid",
        NONE => "none",
        VNC_AUTH => "vnc-auth",
        RA2 => "ra2",
        RA2NE => "ra2ne",
        7 => "sspi",
        8 => "sspine",
        TIGHT => "tight",
        ULTRA => "ultra",
        TLS => "tls",
        VENCRYPT => "vencrypt",
        SASL => "sasl",
        21 => "md5-hash",
        XVP => "xvp",
        23 => "secure-tunnel",
        24 => "integrated-ssh",
        APPLE_DH => "apple-dh",
        APPLE_RSA => "apple-rsa",
        35 => "apple-35",
        36 => "apple-36",
        31 | 32 | 34 => "apple",
        0x68 => "ultra-sc-prompt",
        0x69 => "ultra-session-select",
        0x70 => "ms-logon-1",
        MS_LOGON_2 => "ms-logon-2",
        0x72..=0x75 => "ultra-plugin",
        RA2_256 => "ra2-256",
        RA2NE_256 => "ra2ne-256",
        3..=15 | 128..=255 => "realvnc",
        _ => "unknown",
    }
}

/// Whether only `UltraVNC`'s server offers a type. MS-Logon II is left out: other servers have taken it over.
#[must_use]
pub const fn is_ultravncs_own(kind: u8) -> bool {
    matches!(kind, ULTRA | 0x68 | 0x69 | 0x70 | 0x72..=0x75)
}

/// The word for a `VeNCrypt` subtype.
#[must_use]
pub const fn vencrypt_name(kind: u32) -> &'static str {
    match kind {
        256 => "plain",
        257 => "tls-none",
        258 => "tls-vnc",
        259 => "tls-plain",
        260 => "x509-none",
        261 => "x509-vnc",
        262 => "x509-plain",
        263 => "tls-sasl",
        264 => "x509-sasl",
        265 => "ident",
        266 => "tls-ident",
        267 => "x509-ident",
        _ => "unknown",
    }
}

/// The word for an authentication that is chosen inside Tight.
#[must_use]
pub const fn tight_auth_name(code: u32) -> &'static str {
    match code {
        1 => "none",
        2 => "vnc-auth",
        16 => "tight",
        19 => "vencrypt",
        20 => "sasl",
        129 => "unix-login",
        130 => "external",
        _ => "unknown",
    }
}

/// Bytes of one of Tight's capabilities: a code, who defined it, its signature.
pub const CAPABILITY_LEN: usize = 16;

/// The signatures of a list of capabilities, without the underscores that fill them up.
#[must_use]
pub fn signatures(capabilities: &[u8]) -> Vec<String> {
    let signature = |capability: &[u8]| {
        let text = printable(capability.get(8..CAPABILITY_LEN).unwrap_or_default(), 8);
        text.trim_end_matches('_').to_ascii_lowercase()
    };
    capabilities.chunks_exact(CAPABILITY_LEN).map(signature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_trimmed() {
        let list = b"\0\0\0\x01STDVNOAUTH__\0\0\0\x02STDVVNCAUTH_\0\0\0\x81TGHTULGN\x1bUTHcut";
        assert_eq!(signatures(list), ["noauth", "vncauth", "ulgn\u{fffd}uth"]);
    }

    #[test]
    fn every_type_has_a_word() {
        for (kind, word) in [(2, "vnc-auth"), (13, "realvnc"), (113, "ms-logon-2"), (130, "ra2ne-256"), (99, "unknown")]
        {
            assert_eq!(security_name(kind), word);
        }
        assert!(is_ultravncs_own(17) && !is_ultravncs_own(113) && !is_ultravncs_own(2));
        assert_eq!((vencrypt_name(262), tight_auth_name(129)), ("x509-plain", "unix-login"));
    }
}
