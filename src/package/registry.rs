//! The packages that a user agent understands.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{EventPackage, MessageSummary, Opaque, Presence};

/// Why a package cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The name is not tokens joined by single dots (RFC 6665 section 8.4).
    #[error("not the name of an event package")]
    Name,
    /// The name is taken; packages and templates share one name space (RFC
    /// 6665 section 7.1).
    #[error("an event package of that name is registered")]
    Taken,
    /// More than 65,535 packages.
    #[error("too many event packages")]
    TooMany,
}

/// A registry of event packages. The order of registration is the order in
/// Allow-Events.
#[derive(Debug, Clone, Default)]
pub struct Packages {
    list: Vec<Arc<dyn EventPackage>>,
    allow_events: String,
}

/// A package's place in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PackageIndex(pub(crate) u16);

impl Packages {
    /// An empty registry: every SUBSCRIBE gets 489.
    pub fn new() -> Self {
        Self::default()
    }

    /// The packages that this crate brings: `presence` and `message-summary`.
    pub fn standard() -> Self {
        let mut packages = Self::new();
        for package in [Arc::new(Presence) as Arc<dyn EventPackage>, Arc::new(MessageSummary)] {
            // The names are distinct and well formed.
            let _ = packages.add(package);
        }
        packages
    }

    /// Adds `package`.
    ///
    /// # Errors
    /// See [`PackageError`]; the registry is unchanged.
    pub fn register(&mut self, package: impl EventPackage) -> Result<(), PackageError> {
        self.add(Arc::new(package))
    }

    /// Adds the package `name` with any bodies; see [`Opaque`].
    ///
    /// # Errors
    /// See [`PackageError`]; the registry is unchanged.
    pub fn register_opaque(&mut self, name: &str) -> Result<(), PackageError> {
        self.register(Opaque::new(name))
    }

    fn add(&mut self, package: Arc<dyn EventPackage>) -> Result<(), PackageError> {
        let name = package.name();
        if !is_event_type(name) {
            return Err(PackageError::Name);
        }
        if self.contains(name) {
            return Err(PackageError::Taken);
        }
        if self.list.len() >= usize::from(u16::MAX) {
            return Err(PackageError::TooMany);
        }
        // Template packages are not listed (RFC 6665 section 4.4.4).
        if !name.contains('.') {
            if !self.allow_events.is_empty() {
                self.allow_events.push_str(", ");
            }
            self.allow_events.push_str(name);
        }
        self.list.push(package);
        Ok(())
    }

    /// Whether the package `name` is registered; names compare byte by byte.
    pub fn contains(&self, name: &str) -> bool {
        self.index(name.as_bytes()).is_some()
    }

    /// The value of Allow-Events; empty when nothing is registered.
    pub fn allow_events(&self) -> &str {
        &self.allow_events
    }

    pub(crate) fn index(&self, name: &[u8]) -> Option<PackageIndex> {
        let at = self.list.iter().position(|p| p.name().as_bytes() == name)?;
        Some(PackageIndex(u16::try_from(at).ok()?))
    }

    pub(crate) fn get(&self, index: PackageIndex) -> Option<&Arc<dyn EventPackage>> {
        self.list.get(usize::from(index.0))
    }

    /// The registered packages, in order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn EventPackage> {
        self.list.iter().map(AsRef::as_ref)
    }
}

/// `package *("." template)`, each a token without dots (RFC 6665 section 8.4).
fn is_event_type(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-!%*_+`'~".contains(&b);
    name.len() <= 255 && name.split('.').all(|part| !part.is_empty() && part.bytes().all(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 6665-7.1-1, 6665-4.4.4-1, 6665-4.4.4-5
    #[test]
    fn names_are_checked_and_templates_not_listed() {
        let mut packages = Packages::standard();
        packages.register_opaque("presence.winfo").unwrap();
        packages.register_opaque("x-door").unwrap();
        assert_eq!(packages.allow_events(), "presence, message-summary, x-door");
        assert_eq!(packages.register_opaque("presence"), Err(PackageError::Taken));
        for bad in ["", ".a", "a.", "a..b", "a b", "a/b", "a;b", "a\r\nb"] {
            assert_eq!(packages.register_opaque(bad), Err(PackageError::Name), "{bad}");
        }
        assert!(packages.contains("presence.winfo"));
        assert!(!packages.contains("Presence"));
    }
}
