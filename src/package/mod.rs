//! Event packages: RFC 3265 calls itself a base class, and [`EventPackage`]
//! is what derives from it.
//!
//! ```
//! use sip_events::Packages;
//! use sip_events::package::{EventPackage, Opaque, Presence};
//! assert_eq!(Presence.notify_bodies(), ["application/pidf+xml"]);
//! let mut packages = Packages::standard();
//! packages.register(Opaque::new("dialog"))?;
//! assert_eq!(packages.allow_events(), "presence, message-summary, dialog");
//! # Ok::<(), sip_events::package::PackageError>(())
//! ```

mod mwi;
mod opaque;
mod presence;
mod registry;

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

pub use mwi::MessageSummary;
pub use opaque::Opaque;
pub use presence::Presence;
pub(crate) use registry::PackageIndex;
pub use registry::{PackageError, Packages};

use crate::wire::StatusCode;

/// A body and its media type. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Body {
    /// The media type with its parameters, such as `application/pidf+xml`.
    pub content_type: Bytes,
    /// The bytes, exactly as they travel.
    pub data: Bytes,
}

impl Body {
    /// A body of the media type `content_type`. A type that may not stand in
    /// a header field is replaced by `application/octet-stream`.
    pub fn new(content_type: &str, data: impl Into<Bytes>) -> Self {
        let sound = content_type.contains('/') && content_type.bytes().all(|b| (0x20..0x7f).contains(&b));
        let content_type = if sound {
            Bytes::copy_from_slice(content_type.as_bytes())
        } else {
            Bytes::from_static(b"application/octet-stream")
        };
        Self { content_type, data: data.into() }
    }

    /// A body whose media type is known when the program is built.
    pub fn from_static(content_type: &'static str, data: &'static [u8]) -> Self {
        Self { content_type: Bytes::from_static(content_type.as_bytes()), data: Bytes::from_static(data) }
    }

    /// The media type as text.
    pub fn content_type(&self) -> &str {
        core::str::from_utf8(&self.content_type).unwrap_or("application/octet-stream")
    }

    /// Whether the media type, parameters aside, is `other`; case does not
    /// matter (RFC 3261 section 7.3.1).
    pub fn is(&self, other: &str) -> bool {
        let own = self.content_type.split(|b| *b == b';').next().unwrap_or_default();
        own.trim_ascii().eq_ignore_ascii_case(other.as_bytes())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.content_type(), self.data.len())
    }
}

/// A class of watchers that are told the same state: the application's number
/// for a privacy filter or a polite block. Zero is the full state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct View(pub u32);

/// How long a subscription lasts, in seconds (RFC 6665 section 5.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expires {
    /// Shortest duration granted; a shorter request gets 423 if below one hour.
    pub min: u32,
    /// What a SUBSCRIBE without Expires asks for.
    pub default: u32,
    /// Longest duration granted.
    pub max: u32,
}

impl Expires {
    /// Durations of at least `min`, at most `max`, and `default` where nobody says.
    pub const fn new(min: u32, default: u32, max: u32) -> Self {
        Self { min, default, max }
    }
}

/// Whether one SUBSCRIBE may create several subscriptions (RFC 6665 section 5.4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forking {
    /// The first NOTIFY wins; further forks get 481.
    FirstOnly,
    /// Each fork is a subscription of its own.
    All,
}

/// A refusal: the SIP answer that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// The status, 300 to 699. 408 (RFC 4320), 423 without a minimum, and 401
    /// and 407 without a challenge are replaced by 403.
    pub status: StatusCode,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
}

impl Reject {
    /// A refusal with `status` and without `Retry-After`.
    pub const fn new(status: StatusCode) -> Self {
        Self { status, retry_after: None }
    }

    /// Adds `Retry-After`.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// A SUBSCRIBE as a package sees it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SubscribeView<'a> {
    /// The Request-URI, as sent.
    pub resource: &'a [u8],
    /// The value of the From header field.
    pub from: &'a [u8],
    /// The whole value of the Event header field.
    pub event: &'a [u8],
    /// Seconds asked for, the package's default filled in.
    pub expires: u32,
    /// The body, if any.
    pub body: Option<&'a Body>,
    /// Whether this refreshes a subscription.
    pub refresh: bool,
}

/// What a NOTIFY is rendered from.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct NotifyContext<'a> {
    /// The resource's URI.
    pub resource: &'a str,
    /// The state, as the application set it for this view (or, without one
    /// of its own, for the full view).
    pub state: &'a Body,
    /// The view of the watcher.
    pub view: View,
    /// Whether `state` was set for exactly this view.
    pub view_is_own: bool,
    /// The state that the watcher is known to hold; `None` when the
    /// notification has to be full.
    pub base: Option<&'a Body>,
    /// The media type to render, one of [`EventPackage::notify_bodies`] or the
    /// type of `state`.
    pub content_type: &'a str,
    /// The whole value of the Event header field of the subscription.
    pub event: &'a [u8],
}

/// A body for one class of watchers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rendered {
    /// The same bytes for every watcher of the class.
    Shared(Body),
    /// The same bytes but for one number, counted per subscription from 0,
    /// which is written in decimal before byte `at`.
    Numbered {
        /// The bytes without the number.
        body: Body,
        /// Where the number goes.
        at: usize,
    },
    /// Bytes for this watcher alone; not cached.
    Private(Body),
    /// Nothing to tell: no NOTIFY is sent for this change.
    Unchanged,
}

/// What a subscriber makes of a NOTIFY's body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// The whole state afterwards.
    pub document: Option<Body>,
    /// Whether it differs from the one before.
    pub changed: bool,
    /// A version is missing: a refresh is wanted to get full state (RFC 6665
    /// section 5.3.2).
    pub resync: bool,
}

impl Merged {
    /// `document` is the state now.
    pub const fn replaced(document: Body, changed: bool) -> Self {
        Self { document: Some(document), changed, resync: false }
    }
}

/// One source of a resource's state (RFC 6665 section 5.4.11).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Part<'a> {
    /// Where the state comes from.
    pub uri: &'a [u8],
    /// The state.
    pub body: &'a Body,
}

impl<'a> Part<'a> {
    /// The state `body` from the source `uri`.
    pub const fn new(uri: &'a [u8], body: &'a Body) -> Self {
        Self { uri, body }
    }
}

/// A message of the package's specification, for tests and as fuzz seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Example {
    /// What it shows.
    pub title: &'static str,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: &'static [u8],
}

impl Example {
    /// An example body.
    pub const fn new(title: &'static str, content_type: &'static str, body: &'static [u8]) -> Self {
        Self { title, content_type, body }
    }
}

/// An event package: one item for each heading of RFC 3265 section 4.4 (RFC
/// 6665 section 5.4).
///
/// Implementations are pure: no interior mutability, no clock, no randomness;
/// the same arguments give the same answer. Only the name, the durations and
/// the body types have to be given.
///
/// ```
/// use sip_events::package::{Body, EventPackage, Expires};
///
/// #[derive(Debug)]
/// struct Door;
/// impl EventPackage for Door {
///     fn name(&self) -> &str { "x-door" }
///     fn duration(&self) -> Expires { Expires::new(60, 3600, 86_400) }
///     fn notify_bodies(&self) -> &[&str] { &["text/plain"] }
///     fn neutral(&self, _resource: &str) -> Option<Body> {
///         Some(Body::from_static("text/plain", b"closed\r\n"))
///     }
/// }
/// let mut packages = sip_events::Packages::new();
/// packages.register(Door)?;
/// assert!(packages.contains("x-door"));
/// # Ok::<(), sip_events::package::PackageError>(())
/// ```
pub trait EventPackage: fmt::Debug + Send + Sync + 'static {
    /// Section 5.4.1: the package's name, or package and templates with dots.
    /// Compared byte by byte.
    fn name(&self) -> &str;

    /// Section 5.4.2: refuses Event header parameters; `event` is the whole
    /// value. By default unknown ones are ignored.
    ///
    /// # Errors
    /// The answer to give, usually 400.
    fn parameters(&self, event: &[u8]) -> Result<(), Reject> {
        let _ = event;
        Ok(())
    }

    /// Section 5.4.3: media types of SUBSCRIBE bodies that are understood; any
    /// other gets 415. None by default.
    fn subscribe_bodies(&self) -> &[&str] {
        &[]
    }

    /// Section 5.4.3: refuses a body of an understood type.
    ///
    /// # Errors
    /// The answer to give.
    fn subscribe_body(&self, body: &Body) -> Result<(), Reject> {
        let _ = body;
        Ok(())
    }

    /// Section 5.4.4: durations.
    fn duration(&self) -> Expires;

    /// Section 5.4.5: media types of NOTIFY bodies; the first is meant where a
    /// SUBSCRIBE has no Accept. An empty list accepts any type.
    fn notify_bodies(&self) -> &[&str];

    /// Section 5.4.6: immediate refusal of a SUBSCRIBE, before the application
    /// is asked.
    ///
    /// # Errors
    /// The answer to give.
    fn on_subscribe(&self, request: &SubscribeView<'_>) -> Result<(), Reject> {
        let _ = request;
        Ok(())
    }

    /// Section 5.4.7: the body of a NOTIFY. By default the state as it was set.
    fn render(&self, cx: &NotifyContext<'_>) -> Rendered {
        Rendered::Shared(cx.state.clone())
    }

    /// Section 5.4.8: what a NOTIFY's body means. By default it replaces the
    /// state.
    fn merge(&self, current: Option<&Body>, update: &Body) -> Merged {
        Merged::replaced(update.clone(), current != Some(update))
    }

    /// Section 5.4.9: forked requests.
    fn forking(&self) -> Forking {
        Forking::FirstOnly
    }

    /// Section 5.4.10: least time between two notifications of a
    /// subscription. What answers a SUBSCRIBE, an approval, and the last one
    /// are never held back.
    fn rate(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Section 5.4.11: one state from several sources. `None`: this package
    /// does not aggregate.
    fn aggregate(&self, parts: &[Part<'_>]) -> Option<Body> {
        let _ = parts;
        None
    }

    /// Section 5.4.12: examples.
    fn examples(&self) -> &[Example] {
        &[]
    }

    /// Section 5.4.13: whether a NOTIFY may carry a URI to the state instead
    /// of the state (RFC 4483).
    fn accepts_indirect(&self) -> bool {
        false
    }

    /// What is told where there is no state, or none may be told (pending);
    /// `None` is an empty body.
    fn neutral(&self, resource: &str) -> Option<Body> {
        let _ = resource;
        None
    }

    /// Option tags that the package needs in Supported and Require.
    fn option_tags(&self) -> &[&str] {
        &[]
    }
}

/// Escapes `text` for XML content and attribute values.
pub(crate) fn escape_xml(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\'' => out.extend_from_slice(b"&apos;"),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_type_that_would_break_a_header_is_replaced() {
        assert_eq!(Body::new("text/plain\r\nX: y", "a").content_type(), "application/octet-stream");
        assert_eq!(Body::new("nonsense", "a").content_type(), "application/octet-stream");
        assert!(Body::new("Text/Plain;charset=utf-8", "a").is("text/plain"));
    }

    /// Covers: PEER-G14
    #[test]
    fn xml_is_escaped() {
        let mut out = Vec::new();
        escape_xml("a<b>&\"'\u{fc}", &mut out);
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;&apos;\u{fc}".as_bytes());
    }
}
