//! Message waiting (RFC 3842), with summaries as plain bodies.

use core::time::Duration;

use super::{Body, EventPackage, Example, Expires, Forking};

/// The event package `message-summary`, RFC 3842. Bodies are message
/// summaries, passed as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageSummary;

const SUMMARY: &str = "application/simple-message-summary";

impl EventPackage for MessageSummary {
    fn name(&self) -> &str {
        "message-summary"
    }

    /// RFC 3842 section 3.4.
    fn duration(&self) -> Expires {
        Expires::new(60, 3600, 604_800)
    }

    /// RFC 3842 section 3.5.
    fn notify_bodies(&self) -> &[&str] {
        &[SUMMARY]
    }

    /// RFC 3842 section 3.9: several notifiers may hold mail for one account.
    fn forking(&self) -> Forking {
        Forking::All
    }

    /// RFC 3842 section 3.11.
    fn rate(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn examples(&self) -> &[Example] {
        &[Example::new(
            "two new voice messages, one of them urgent",
            SUMMARY,
            b"Messages-Waiting: yes\r\nMessage-Account: sip:ann@vmail.example.net\r\nVoice-Message: 2/5 (1/0)\r\n",
        )]
    }

    fn neutral(&self, _resource: &str) -> Option<Body> {
        Some(Body::from_static(SUMMARY, b"Messages-Waiting: no\r\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 3842-3.4-1, 3842-3.5-1, 3842-3.11-1
    #[test]
    fn facts_of_the_package() {
        assert_eq!(MessageSummary.name(), "message-summary");
        assert_eq!(MessageSummary.duration().default, 3600);
        assert_eq!(MessageSummary.notify_bodies().first(), Some(&SUMMARY));
        assert_eq!(MessageSummary.rate(), Duration::from_secs(1));
    }
}
