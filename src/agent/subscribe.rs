//! What the application wants to be subscribed to: kept as the intent from
//! which every attempt is built.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::Misuse;
use crate::flow::Flow;
use crate::id::RawId;
use crate::package::Body;
use crate::wire::{AcceptRange, Event, UriBuf, is_token};

/// A subscription to be made. `Subscribe::new("sip:bob@example.com", "presence")?`
/// suffices.
///
/// It is kept as long as the subscription lives, so that every automatic new
/// attempt is built from it and never from defaults.
///
/// ```
/// use sip_events::Subscribe;
/// let request = Subscribe::new("sip:bob@example.com", "presence")?.expires(600).accept("application/pidf+xml")?;
/// # let _ = request;
/// # Ok::<(), sip_events::Misuse>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub(crate) resource: UriBuf,
    /// The value of the Event header field.
    pub(crate) event: Box<str>,
    /// Seconds; `None` for the package's default.
    pub(crate) expires: Option<u32>,
    pub(crate) auto_refresh: bool,
    pub(crate) auto_resubscribe: bool,
    pub(crate) user_data: u64,
    more: Option<Box<More>>,
}

/// What few subscriptions have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct More {
    pub(crate) accept: Vec<String>,
    pub(crate) from: Option<UriBuf>,
    pub(crate) route: Vec<UriBuf>,
    pub(crate) body: Option<Body>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) flow: Option<Flow>,
    /// In whose dialog.
    pub(crate) within: Option<RawId>,
    /// For whoever challenges its SUBSCRIBEs.
    pub(crate) credentials: super::auth::Keyring,
}

impl More {
    const NONE: Self = Self {
        accept: Vec::new(),
        from: None,
        route: Vec::new(),
        body: None,
        fields: Vec::new(),
        flow: None,
        within: None,
        credentials: super::auth::NO_KEYS,
    };
}

static NO_MORE: More = More::NONE;

const _: () = assert!(size_of::<Subscribe>() <= 112);

impl Subscribe {
    /// A subscription to `event` of the resource `uri`. `event` may carry
    /// parameters: `dialog;id=7`.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if `uri` is not a SIP or SIPS URI or `event` not the
    /// value of an Event header field (RFC 6665 section 8.4).
    pub fn new(uri: &str, event: &str) -> Result<Self, Misuse> {
        let resource = sip_uri(uri)?;
        if event.len() > 1024 || Event::parse(event.as_bytes()).is_err() || event.bytes().any(|b| b.is_ascii_control())
        {
            return Err(Misuse::BadValue);
        }
        Ok(Self {
            resource,
            event: event.into(),
            expires: None,
            auto_refresh: true,
            auto_resubscribe: true,
            user_data: 0,
            more: None,
        })
    }

    /// One that was saved.
    pub(crate) fn restored(
        (resource, event, expires): (UriBuf, Box<str>, Option<u32>),
        more: More,
        (auto_refresh, auto_resubscribe, user_data): (bool, bool, u64),
    ) -> Self {
        let more = Some(more).filter(|more| *more != NO_MORE).map(Box::new);
        Self { resource, event, expires, auto_refresh, auto_resubscribe, user_data, more }
    }

    pub(crate) fn more(&self) -> &More {
        self.more.as_deref().unwrap_or(&NO_MORE)
    }

    pub(crate) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(More::NONE))
    }

    /// Asks for this many seconds; 0 fetches the state once (RFC 6665 section
    /// 4.4.3). Without it the package's default is asked for.
    #[must_use]
    pub const fn expires(mut self, seconds: u32) -> Self {
        self.expires = Some(seconds);
        self
    }

    /// Adds a media type to Accept. Without any, the package's types are listed.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if it is not a media type.
    pub fn accept(mut self, media_type: &str) -> Result<Self, Misuse> {
        let sound =
            AcceptRange::parse(media_type.as_bytes()).is_ok() && !media_type.bytes().any(|b| b.is_ascii_control());
        if !sound || self.more().accept.len() >= 32 {
            return Err(Misuse::BadValue);
        }
        self.more_mut().accept.push(media_type.to_string());
        Ok(self)
    }

    /// Subscribes as somebody else than [`Config::identity`](crate::Config::identity).
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if it is not a SIP or SIPS URI.
    pub fn from(mut self, uri: &str) -> Result<Self, Misuse> {
        self.more_mut().from = Some(sip_uri(uri)?);
        Ok(self)
    }

    /// Adds a hop to the pre-loaded route set, such as an outbound proxy (RFC
    /// 3261 section 8.1.2). A URI without `lr` is a strict router.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] if it is not a SIP or SIPS URI, or the tenth.
    pub fn route(mut self, uri: &str) -> Result<Self, Misuse> {
        if self.more().route.len() >= 9 {
            return Err(Misuse::BadValue);
        }
        self.more_mut().route.push(sip_uri(uri)?);
        Ok(self)
    }

    /// A body, such as a filter (RFC 4660).
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.more_mut().body = Some(body);
        self
    }

    /// Adds a header field to every SUBSCRIBE.
    ///
    /// # Errors
    /// [`Misuse::BadValue`] for a name that the library writes itself, or for
    /// what may not stand in a header field.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, Misuse> {
        const OWN: [&str; 20] = [
            "via",
            "from",
            "to",
            "call-id",
            "cseq",
            "max-forwards",
            "contact",
            "route",
            "record-route",
            "event",
            "expires",
            "accept",
            "allow-events",
            "content-length",
            "content-type",
            "v",
            "f",
            "t",
            "i",
            "m",
        ];
        let own = OWN.contains(&name.to_ascii_lowercase().as_str()) || ["o", "u", "l", "c"].contains(&name);
        let bad = !is_token(name.as_bytes()) || value.bytes().any(|b| b.is_ascii_control());
        if own || bad || self.more().fields.len() >= 32 {
            return Err(Misuse::BadValue);
        }
        self.more_mut().fields.push((name.to_string(), value.to_string()));
        Ok(self)
    }

    /// Adds credentials for whoever challenges the SUBSCRIBEs: the notifier, or
    /// proxies on the way. Where several fit a realm, the first are used.
    ///
    /// # Errors
    /// [`Misuse::Limit`] for the 17th.
    #[cfg(feature = "digest")]
    pub fn credentials(mut self, credentials: crate::digest::Credentials) -> Result<Self, Misuse> {
        if self.more().credentials.len() >= super::auth::MAX_CREDENTIALS {
            return Err(Misuse::Limit);
        }
        self.more_mut().credentials.push(credentials);
        Ok(self)
    }

    /// Sends the first SUBSCRIBE on this flow instead of locating the resource
    /// (an open connection, or an outbound proxy's address).
    #[must_use]
    pub fn on_flow(mut self, flow: Flow) -> Self {
        self.more_mut().flow = Some(flow);
        self
    }

    /// Whether the library refreshes by itself; it does by default. After the
    /// loss of its connection, and after
    /// [`rehome`](crate::agent::Agent::rehome), it does so in any case.
    #[must_use]
    pub const fn auto_refresh(mut self, yes: bool) -> Self {
        self.auto_refresh = yes;
        self
    }

    /// Whether the library subscribes again by itself where RFC 6665 section
    /// 4.1.3 allows it; it does by default.
    #[must_use]
    pub const fn auto_resubscribe(mut self, yes: bool) -> Self {
        self.auto_resubscribe = yes;
        self
    }

    /// A number of the application's own, kept with the subscription.
    #[must_use]
    pub const fn user_data(mut self, data: u64) -> Self {
        self.user_data = data;
        self
    }

    /// The event type without parameters.
    pub(crate) fn package(&self) -> &str {
        self.event.split(';').next().unwrap_or_default().trim()
    }
}

fn sip_uri(text: &str) -> Result<UriBuf, Misuse> {
    let uri = UriBuf::try_from(text).map_err(|_| Misuse::BadValue)?;
    if uri.as_uri().is_sip() { Ok(uri) } else { Err(Misuse::BadValue) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: 3261-19.1.5-3, 6665-8.2.1-4
    #[test]
    fn what_may_not_stand_in_a_message_is_refused() {
        for (uri, event) in [
            ("tel:+1", "presence"),
            ("sip:a b@c", "presence"),
            ("sip:a@b\r\nX: y", "presence"),
            ("sip:a@b", ""),
            ("sip:a@b", "a, b"),
            ("sip:a@b", "presence;id"),
            ("sip:a@b", "presence\r\nX: y"),
        ] {
            assert_eq!(Subscribe::new(uri, event), Err(Misuse::BadValue), "{uri:?} {event:?}");
        }
        let request = Subscribe::new("sip:a@b", "dialog;id=7").unwrap();
        assert_eq!(request.package(), "dialog");
        assert!(request.clone().field("Via", "x").is_err());
        assert!(request.clone().field("X-A", "x\r\ny").is_err());
        assert!(request.clone().accept("nonsense").is_err());
        assert!(request.field("X-A", "x").is_ok());
    }
}
