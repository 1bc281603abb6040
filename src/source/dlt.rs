//! LINKTYPE numbers, which files carry, and DLT numbers, which libpcap takes and gives at run time.
//!
//! They are the same but for a few types whose DLT number differs between systems (tcpdump.org/linktypes.html).

use crate::base::LinkType;
use pcap::Linktype;

/// LINKTYPE and this system's DLT where they differ (`dlt.h`).
const DIFFERENT: [(u16, i32); 4] =
    [(LinkType::RAW.0, if cfg!(target_os = "openbsd") { 14 } else { 12 }), (100, 11), (102, 15), (103, 16)];

/// The DLT that libpcap compiles filters for.
pub(super) fn dlt(link: LinkType) -> Linktype {
    let found = DIFFERENT.iter().find(|(number, _)| *number == link.0);
    Linktype(found.map_or(i32::from(link.0), |(_, dlt)| *dlt))
}

/// The LINKTYPE of what libpcap captures; 65,535, which is not assigned, if the number is out of range.
pub(super) fn link_type(dlt: Linktype) -> LinkType {
    let found = DIFFERENT.iter().find(|(_, number)| *number == dlt.0);
    LinkType(found.map_or(u16::try_from(dlt.0).unwrap_or(u16::MAX), |(number, _)| *number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_type_survives_the_way_there_and_back() {
        for number in 0..400 {
            let link = LinkType(number);
            if !DIFFERENT.iter().any(|(_, dlt)| *dlt == i32::from(number)) {
                assert_eq!(link_type(dlt(link)), link);
            }
        }
        assert_eq!(dlt(LinkType::RAW).get_name().unwrap(), "RAW");
        assert_eq!(link_type(Linktype(-1)), LinkType(u16::MAX));
    }
}
