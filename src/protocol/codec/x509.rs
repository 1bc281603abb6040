//! The names in an X.509 certificate.
//!
//! Reads: one DER certificate (RFC 5280). Does not: verify anything; a name here is a claim.

use super::text::printable;
use crate::base::IdentityKind;
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

impl CertificateNames {
    /// Whom a certificate of a client names: an address of mail or an account as a user, a host name as a machine. Nobody
    /// where it vouches for itself: programs make such certificates with names of their own (`AnyDesk Client`).
    #[must_use]
    pub fn holder(&self) -> Option<(IdentityKind, &str)> {
        let vouched = self.subject != self.issuer;
        let common = self.subject.split(", ").find_map(|part| part.strip_prefix("CN="));
        let name = common.filter(|name| vouched && !name.is_empty())?;
        let is_host = !name.contains('@')
            && name.contains('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        // A name with a dot may be a person's (`first.last`): a host's has a domain behind it.
        let is_host = is_host && name.split('.').count() > 2;
        Some((if is_host { IdentityKind::Host } else { IdentityKind::User }, name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_certificate_names_whom_somebody_vouches_for() {
        let names = |subject: &str, issuer: &str| CertificateNames {
            subject: subject.into(),
            issuer: issuer.into(),
            alternative: String::new(),
            other_usage: String::new(),
        };
        for (subject, holder) in [
            ("C=US, O=Corp, CN=alice", Some((IdentityKind::User, "alice"))),
            ("CN=alice@corp.example, O=Corp", Some((IdentityKind::User, "alice@corp.example"))),
            ("CN=first.last", Some((IdentityKind::User, "first.last"))),
            ("CN=Alice B. Carol", Some((IdentityKind::User, "Alice B. Carol"))),
            ("CN=pc7.corp.example", Some((IdentityKind::Host, "pc7.corp.example"))),
            ("O=Corp", None),
            ("CN=", None),
        ] {
            assert_eq!(names(subject, "CN=Corp CA").holder(), holder, "{subject}");
        }
        assert_eq!(names("CN=AnyDesk Client", "CN=AnyDesk Client").holder(), None);
    }
}
