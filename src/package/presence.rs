//! Presence (RFC 3856), with PIDF documents as plain bodies.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Body, EventPackage, Example, Expires, escape_xml};

/// The event package `presence`, RFC 3856. Bodies are PIDF documents (RFC
/// 3863), passed as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence;

const PIDF: &str = "application/pidf+xml";

impl EventPackage for Presence {
    fn name(&self) -> &str {
        "presence"
    }

    /// RFC 3856 section 6.4.
    fn duration(&self) -> Expires {
        Expires::new(60, 3600, 86_400)
    }

    /// RFC 3856 section 6.5.
    fn notify_bodies(&self) -> &[&str] {
        &[PIDF]
    }

    /// RFC 3856 section 6.10.
    fn rate(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn examples(&self) -> &[Example] {
        const EXAMPLES: &[Example] = &[Example::new(
            "one tuple, open",
            PIDF,
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
              <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:ann@example.net\">\r\n\
              <tuple id=\"t1\"><status><basic>open</basic></status></tuple>\r\n\
              </presence>\r\n",
        )];
        EXAMPLES
    }

    /// A document without tuples, which says nothing about the presentity.
    fn neutral(&self, resource: &str) -> Option<Body> {
        let mut xml = Vec::with_capacity(160);
        xml.extend_from_slice(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
              <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"",
        );
        escape_xml(resource, &mut xml);
        xml.extend_from_slice(b"\"/>\r\n");
        Some(Body::new(PIDF, xml))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 3856-6.1-1, 3856-6.4-1, 3856-6.9-1, 3856-6.10-1, PEER-G17
    #[test]
    fn facts_of_the_package() {
        assert_eq!(Presence.name(), "presence");
        assert_eq!(Presence.duration().default, 3600);
        assert_eq!(Presence.rate(), Duration::from_secs(5));
        assert_eq!(Presence.forking(), super::super::Forking::FirstOnly);
        let neutral = Presence.neutral("sip:a&b@example.net").unwrap();
        assert!(neutral.is(PIDF));
        assert!(core::str::from_utf8(&neutral.data).unwrap().contains("entity=\"sip:a&amp;b@example.net\"/>"));
    }
}
