//! The names in an X.509 certificate.
//!
//! Reads: one DER certificate (RFC 5280). Does not: verify anything; a name here is a claim.

use super::text::printable;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// The names of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateNames {
    /// Subject, as `C=…, O=…, CN=…`.
    pub subject: String,
    /// Issuer, the same way.
    pub issuer: String,
    /// The first few subject alternative names (DNS names and addresses), comma-separated; may be empty.
    pub alternative: String,
    /// The purposes beyond those that RFC 5280 names (ExtendedKeyUsage), as object identifiers, comma-separated; may be
    /// empty.
    pub other_usage: String,
}

impl CertificateNames {
    /// Reads a certificate; `None` if it is not one.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            alternative: alternative(&certificate),
            other_usage: other_usage(&certificate),
        })
    }
}

fn name(name: &X509Name<'_>) -> String {
    printable(name.to_string().as_bytes(), NAME)
}

fn alternative(certificate: &X509Certificate<'_>) -> String {
    let mut out = String::new();
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return out;
    };
    let texts = extension.value.general_names.iter().filter_map(|general| match general {
        GeneralName::DNSName(name) => Some(printable(name.as_bytes(), NAME)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    for text in texts.take(ALTERNATIVES) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&text);
    }
    out
}

fn other_usage(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(extension)) = certificate.extended_key_usage() else {
        return String::new();
    };
    let usages: Vec<String> = extension.value.other.iter().take(USAGES).map(|oid| oid.to_id_string()).collect();
    printable(usages.join(",").as_bytes(), NAME)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Most characters of one name: RFC 5280 bounds the attributes of a name at 64 to 128 each.
const NAME: usize = 512;
/// Alternative names kept; certificates of large sites list hundreds.
const ALTERNATIVES: usize = 8;
/// Purposes kept; a certificate has one or two.
const USAGES: usize = 8;
