//! A package whose name is known only at run time, and whose bodies are
//! nobody's business but the application's.

use alloc::string::String;
use core::time::Duration;

use super::{EventPackage, Expires, Forking};

/// Any event package, by name: bodies of any type pass through unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    name: String,
    forking: Forking,
    rate: Duration,
    duration: Expires,
}

impl Opaque {
    /// The package `name` with a default duration of 3600 s, one notification
    /// a second at most, and the first fork only.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            forking: Forking::FirstOnly,
            rate: Duration::from_secs(1),
            duration: Expires::new(60, 3600, 86_400),
        }
    }

    /// Replaces the fork rule.
    pub const fn with_forking(mut self, forking: Forking) -> Self {
        self.forking = forking;
        self
    }

    /// Replaces the least time between notifications.
    pub const fn with_rate(mut self, rate: Duration) -> Self {
        self.rate = rate;
        self
    }

    /// Replaces the durations.
    pub const fn with_duration(mut self, duration: Expires) -> Self {
        self.duration = duration;
        self
    }
}

impl EventPackage for Opaque {
    fn name(&self) -> &str {
        &self.name
    }

    fn duration(&self) -> Expires {
        self.duration
    }

    fn notify_bodies(&self) -> &[&str] {
        &[]
    }

    fn forking(&self) -> Forking {
        self.forking
    }

    fn rate(&self) -> Duration {
        self.rate
    }
}
