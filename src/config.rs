//! What the caller decides once: identity, timers, limits, policies.

use alloc::borrow::ToOwned;
#[cfg(feature = "digest")]
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::error::ConfigError;
use crate::machine;
use crate::wire::{Scheme, UriBuf};

/// The configuration of an [`Endpoint`](crate::Endpoint) or [`Agent`](crate::Agent).
///
/// `Config::new("sip:me@192.0.2.1")?` suffices; everything else has the RFC's
/// default.
///
/// ```
/// use sip_events::Config;
/// let config = Config::new("sip:me@192.0.2.1")?.user_agent("example/1.0")?;
/// assert_eq!(config.limits.watchers, 100_000);
/// # Ok::<(), sip_events::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Who we are: the From URI of our own requests, and the user part of our
    /// Contact.
    pub identity: UriBuf,
    /// Timers.
    pub timers: Timers,
    /// Limits.
    pub limits: Limits,
    /// Policies.
    pub policy: Policy,
    /// Alone, or beside another stack.
    pub role: Role,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) user_agent: Option<String>,
    pub(crate) packages: Vec<PackageConfig>,
    pub(crate) shard: Option<u8>,
}

impl Config {
    /// A configuration for the identity `uri`.
    ///
    /// # Errors
    /// [`ConfigError::Identity`] if it is not a SIP or SIPS URI.
    pub fn new(uri: &str) -> Result<Self, ConfigError> {
        let identity = UriBuf::try_from(uri).map_err(|_| ConfigError::Identity)?;
        if !matches!(identity.as_uri().scheme(), Scheme::Sip | Scheme::Sips) {
            return Err(ConfigError::Identity);
        }
        Ok(Self {
            identity,
            timers: Timers::default(),
            limits: Limits::default(),
            policy: Policy::default(),
            role: Role::Standalone,
            authentication: None,
            user_agent: None,
            packages: Vec::new(),
            shard: None,
        })
    }

    /// The text of `User-Agent` in requests and `Server` in responses; none by
    /// default.
    ///
    /// # Errors
    /// [`ConfigError::Text`] for control characters.
    pub fn user_agent(mut self, text: &str) -> Result<Self, ConfigError> {
        if text.bytes().any(|b| b.is_ascii_control()) {
            return Err(ConfigError::Text);
        }
        self.user_agent = Some(text.to_owned());
        Ok(self)
    }

    /// Replaces the limits.
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Replaces the timers.
    ///
    /// # Errors
    /// [`ConfigError::Timers`] unless `0 < T1 <= T2`.
    pub fn with_timers(mut self, timers: Timers) -> Result<Self, ConfigError> {
        if timers.sip.t1.is_zero() || timers.sip.t2 < timers.sip.t1 {
            return Err(ConfigError::Timers);
        }
        self.timers = timers;
        Ok(self)
    }

    /// Replaces the policies.
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How those are authenticated who send us SUBSCRIBEs. Nobody is accepted
    /// before this is said: `accept` gives
    /// [`Misuse::NoAuthentication`](crate::Misuse::NoAuthentication).
    pub fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Alone or shared; see [`Role`].
    pub const fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// One of several endpoints that share an address: its number among
    /// [`Shards`](crate::Shards), which its tags and branches carry. They have
    /// 56 unpredictable bits then, instead of 64.
    pub const fn with_shard(mut self, number: u8) -> Self {
        self.shard = Some(number);
        self
    }

    /// Overrides durations and rate of one event package.
    ///
    /// # Errors
    /// [`ConfigError::MinAboveMax`] if no duration could be granted.
    pub fn with_package(mut self, package: PackageConfig) -> Result<Self, ConfigError> {
        if let (Some(min), Some(max)) = (package.min_expires, package.max_expires)
            && min > max
        {
            return Err(ConfigError::MinAboveMax);
        }
        self.packages.retain(|p| p.name != package.name);
        self.packages.push(package);
        Ok(self)
    }

    pub(crate) fn package(&self, name: &str) -> Option<&PackageConfig> {
        self.packages.iter().find(|p| p.name == name)
    }
}

/// How those are authenticated who send us SUBSCRIBEs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// Not at all: the application sees who claims to be asking, and by which
    /// way, and decides on that.
    None,
    /// By digest: without valid credentials nothing is looked at and nothing
    /// kept (RFC 6665 section 6.3).
    #[cfg(feature = "digest")]
    Digest(Box<crate::digest::Settings>),
}

#[cfg(feature = "digest")]
impl From<crate::digest::Settings> for Authentication {
    fn from(settings: crate::digest::Settings) -> Self {
        Self::Digest(Box::new(settings))
    }
}

/// Overrides for one event package; `None` leaves the package's own value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageConfig {
    /// The package's name.
    pub name: String,
    /// Shortest duration granted, seconds. A shorter request gets 423 if it is
    /// below one hour (RFC 6665 section 4.2.1.1).
    pub min_expires: Option<u32>,
    /// Longest duration granted, seconds.
    pub max_expires: Option<u32>,
    /// Duration when the request names none, seconds.
    pub default_expires: Option<u32>,
    /// Least time between two NOTIFYs of one subscription.
    pub min_interval: Option<Duration>,
}

impl PackageConfig {
    /// No override yet for the package `name`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// Timers. All may be changed; the defaults are RFC 3261's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timers {
    /// T1, T2 and T4 of RFC 3261; Timer N and Timer F are 64*T1.
    pub sip: machine::Timers,
    /// How long the application may leave a SUBSCRIBE undecided before
    /// [`Policy::undecided`] decides: 3 s, below the moment at which RFC 4320
    /// wants a 100.
    pub decision: Duration,
    /// How long a watcher may stay pending before it is told `giveup`: a day.
    pub give_up: Duration,
    /// Least time between two automatic attempts of one subscription: 2 s.
    pub retry_floor: Duration,
    /// Longest back-off between two automatic attempts: 30 min.
    pub retry_cap: Duration,
    /// Longest time between two pings on a connection ([`Policy::keep_alive`]):
    /// 120 s; the shortest is 80 % of it.
    pub keep_alive: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            sip: machine::Timers::default(),
            decision: Duration::from_secs(3),
            give_up: Duration::from_secs(86_400),
            retry_floor: Duration::from_secs(2),
            retry_cap: Duration::from_secs(1800),
            keep_alive: Duration::from_secs(120),
        }
    }
}

/// Bounds of every table and queue. Memory is used as objects come, not in
/// advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Subscriptions of ours, forks included; above it `subscribe` gives
    /// [`Misuse::Limit`](crate::Misuse::Limit) and a further fork 481. 0.75 to 1.2 kB each.
    pub subscriptions: u32,
    /// Dialogs that one SUBSCRIBE of ours may create; a further fork gets 481.
    pub forks: u32,
    /// Watchers in all; above it a SUBSCRIBE gets 503 with Retry-After. About
    /// 512 bytes each.
    pub watchers: u32,
    /// Watchers of one resource; above it 503 with Retry-After, or
    /// `Misuse::Limit` from `accept`.
    pub watchers_per_resource: u32,
    /// Watchers, accepted and undecided, of one source: an IPv4 address, port
    /// aside, or an IPv6 network of 64 bits; above it 503 with Retry-After. A proxy in front of many subscribers is
    /// one source.
    pub watchers_per_source: u32,
    /// Subscriptions in one dialog, where
    /// [`DialogSharing::Allow`] lets it have several; above it 503 with
    /// Retry-After, or [`Misuse::Limit`](crate::Misuse::Limit).
    pub usages: u32,
    /// Resources; above it `add_resource` gives `Misuse::Limit`.
    pub resources: u32,
    /// SUBSCRIBEs that await the application's decision; above it 503 with
    /// Retry-After.
    pub incoming: u32,
    /// Events not yet polled; above it a request that would cause one gets 503
    /// with Retry-After, and news of lesser weight is left out
    /// (`Accepted`, `RefreshFailed`, `Challenge`, `Retrying`, `Notified`). The
    /// end of an object is always told.
    pub events: u32,
    /// Distinct flows in use; above it `accept` gives `Misuse::Limit` and a
    /// refresh on a new flow gets 503.
    pub flows: u32,
    /// Largest body taken from a NOTIFY or SUBSCRIBE, bytes; above it 413.
    pub body: u32,
    /// Most bytes of dialog identity kept per subscription (tags, URIs, route
    /// set, Event); above it 513.
    pub dialog: u16,
    /// Open server transactions; above it a request gets 503 without state.
    pub server_transactions: u32,
    /// Open client transactions; above it nothing new is sent until one ends.
    pub client_transactions: u32,
    /// Connections known; further ones are told to close.
    pub streams: u32,
    /// Largest head of a message on a stream, bytes; above it framing is lost.
    pub stream_head: u32,
    /// NOTIFYs younger than T1 and unanswered, in all.
    pub notify_window: u32,
    /// The same to one destination.
    pub notify_window_per_flow: u32,
    /// Timers fired by one `handle_timeout`; the rest fire in the next call at
    /// the same `now`.
    pub timers_per_wakeup: u32,
    /// Names whose resolution is remembered or under way.
    pub resolved: u32,
    /// Addresses without proof for which it is remembered what came from them
    /// and went to them ([`Policy::unproven`]); above it the oldest is
    /// forgotten.
    pub unproven: u32,
    /// Automatic attempts of one subscription within a (virtual) hour; then
    /// the subscription ends.
    pub retries_per_hour: u32,
    /// Addresses that one request is redirected to by 301, 302 and 305; 0
    /// follows none ([`Event::Redirected`](crate::Event::Redirected) tells of them).
    pub redirects: u32,
    /// Nonces in use that are remembered, 24 bytes each; those who lose theirs
    /// get a new one with the next answer. Used with the feature `digest`.
    pub nonces: u32,
    /// Challenges being answered that are remembered, so that later requests
    /// carry credentials at once. Used with the feature `digest`.
    pub sessions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            subscriptions: 100_000,
            forks: 8,
            watchers: 100_000,
            watchers_per_resource: 100_000,
            watchers_per_source: 100_000,
            usages: 16,
            resources: 100_000,
            incoming: 1_000,
            events: 10_000,
            flows: 200_000,
            body: 262_144,
            dialog: 8_192,
            server_transactions: 100_000,
            client_transactions: 100_000,
            streams: 10_000,
            stream_head: 65_536,
            notify_window: 128,
            notify_window_per_flow: 64,
            timers_per_wakeup: 1_024,
            resolved: 1_024,
            unproven: 4_096,
            retries_per_hour: 30,
            redirects: 5,
            nonces: 100_000,
            sessions: 10_000,
        }
    }
}

/// Named choices where RFCs differ or operators disagree; the default is RFC
/// 6665's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Policy {
    /// A SUBSCRIBE that the application did not decide in time.
    pub undecided: Undecided,
    /// A SUBSCRIBE for a resource that was never added.
    pub unknown_resource: UnknownResource,
    /// A NOTIFY that was not answered.
    pub notify_timeout: NotifyTimeout,
    /// A connection that closed under a subscription.
    pub flow_gone: FlowGone,
    /// A SUBSCRIBE with a new event package inside a subscription's dialog.
    pub dialog_sharing: DialogSharing,
    /// Where NOTIFYs of a dialog without route set go over datagrams.
    pub delivery: Delivery,
    /// How much is sent to an address that has not answered.
    pub unproven: Unproven,
    /// Where a response goes whose request names an address in Via's `maddr`.
    pub via_maddr: ViaMaddr,
    /// Which column of RFC 3265's and RFC 6665's tables a failed NOTIFY follows.
    pub dialect: Dialect,
    /// A NOTIFY without Subscription-State.
    pub missing_state: MissingState,
    /// Where a subscriber takes the route set of its dialog from.
    pub route_set: RouteSet,
    /// Whether connections that we open are pinged.
    pub keep_alive: KeepAlive,
    /// What our Contact says of the flow of its request.
    pub contact: ContactFlow,
    /// What a 502 to a request in a dialog says of the dialog.
    pub bad_gateway: BadGateway,
}

impl Policy {
    /// For peers of RFC 3265: its table of NOTIFY failures, route sets as its
    /// proxies record them, and several subscriptions in one dialog. What those peers send otherwise (202, NOTIFYs
    /// without `expires`) is understood in any case.
    pub fn rfc3265() -> Self {
        Self {
            dialect: Dialect::Rfc3265,
            route_set: RouteSet::NotifyOrResponse,
            dialog_sharing: DialogSharing::Allow,
            ..Self::default()
        }
    }
}

/// What becomes of a SUBSCRIBE that stays undecided for [`Timers::decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Undecided {
    /// It is accepted as pending.
    #[default]
    Pending,
    /// It is refused: 500 with Retry-After.
    Refuse,
}

/// What becomes of a SUBSCRIBE for a resource that nobody added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnknownResource {
    /// 404.
    #[default]
    Refuse,
    /// The application is asked as for any other; accepting it adds the resource.
    Ask,
}

/// Whether a NOTIFY without answer ends the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NotifyTimeout {
    /// It does (RFC 6665 section 4.2.2).
    #[default]
    Remove,
    /// It stays until it expires; the next change is notified again.
    Keep,
}

/// What becomes of watchers whose connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FlowGone {
    /// The next NOTIFY opens a connection to the remote target or route.
    #[default]
    Reconnect,
    /// The watchers are removed.
    Remove,
}

/// Whether a peer of RFC 3265 may put a second subscription into a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DialogSharing {
    /// 403 (RFC 6665 section 4.5.2).
    #[default]
    Refuse,
    /// It may: the application is asked, as for any other; and so may we
    /// ([`Subscribe::within`](crate::Subscribe::within)). The
    /// subscriptions share CSeq, route set and remote target; each has its own
    /// state, and the dialog lives as long as one is left.
    Allow,
}

/// Where a NOTIFY over datagrams goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// To the route set or remote target, as RFC 3261 section 12.2.1.1 says.
    #[default]
    RemoteTarget,
    /// Back along the flow of the SUBSCRIBE, which crosses NATs.
    Flow,
}

/// How much goes over datagrams to an address that has not answered a NOTIFY
/// yet: a forged SUBSCRIBE may have named a victim's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unproven {
    /// Responses, one NOTIFY in full, and beyond these at most three bytes,
    /// retransmissions included, for each byte that came from there. Nothing is
    /// limited after an answer, on a stream, or for an authenticated watcher.
    #[default]
    Limit,
    /// All that RFC 3261 section 17.1.2.2 says, which is up to eleven
    /// NOTIFYs: for networks where source addresses cannot be forged.
    Trust,
}

/// What `maddr` of the topmost Via means for a response over datagrams. One
/// that names a group of hosts, or a host that cannot have asked, never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ViaMaddr {
    /// The response goes there (RFC 3261 section 18.2.2). Who cannot forge a
    /// source address can have responses sent to others that way.
    #[default]
    Follow,
    /// It goes to where the request came from, as if there were no `maddr`.
    Source,
}

/// Which RFC's table of NOTIFY failures holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// RFC 6665 section 4.2.2 and RFC 5057.
    #[default]
    Rfc6665,
    /// RFC 3265 section 3.2.2: any failure but those that may be retried ends it.
    Rfc3265,
}

/// What becomes of a NOTIFY without Subscription-State, which is older than RFC
/// 3265.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MissingState {
    /// 400.
    #[default]
    Refuse,
    /// It counts as `active`.
    Active,
}

/// Where the route set of a subscriber's dialog comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RouteSet {
    /// The first NOTIFY (RFC 6665 section 4.4.1).
    #[default]
    Notify,
    /// The first NOTIFY; where that has none, the 2xx to the SUBSCRIBE from the
    /// same notifier, as RFC 3265 had it: proxies older than RFC 6665 record
    /// their route there alone.
    NotifyOrResponse,
}

/// Whether connections that we open are kept open by pings (RFC 5626 section
/// 4.4.1). Pings of peers are answered in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeepAlive {
    /// They are not, unless [`Endpoint::keep_alive`](crate::Endpoint::keep_alive)
    /// asks for it.
    #[default]
    Off,
    /// They are. A missing answer means nothing unless the next hop has
    /// promised answers (`keep`, RFC 6223).
    Send,
    /// They are, and the next hops are known to answer: one that does not within
    /// 10 s has failed.
    Expect,
}

/// Which requests in a dialog our Contact asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ContactFlow {
    /// Those that reach the address in it.
    #[default]
    Any,
    /// Those that come back along the flow of the request that carried it: `ob`
    /// (RFC 5626 section 4.3), for user agents behind an edge proxy that knows
    /// it. A GRUU says so by itself and goes without.
    Same,
}

/// What a 502 in a dialog ends, where RFC 6665 and RFC 5057 differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BadGateway {
    /// That request: RFC 6665 section 4.1.2.2 does not name it among the codes
    /// that end a subscription.
    #[default]
    Keep,
    /// The dialog (RFC 5057 section 5.1), with all subscriptions in it.
    EndDialog,
}

/// What becomes of a message that is not about subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Role {
    /// The endpoint is the whole user agent and answers everything.
    #[default]
    Standalone,
    /// Another stack shares the socket: such a message is
    /// [`Handled::NotOurs`](crate::Handled::NotOurs).
    Shared,
}
