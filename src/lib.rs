//! SIP-Specific Event Notification (RFC 6665, and RFC 3265 before it) as a
//! sans-IO protocol state machine: bytes and time go in, bytes and events come
//! out. The crate opens no socket and reads no clock, so it runs under any
//! runtime, in a simulator, and without an operating system.
//!
//! ```text
//!   your program   sockets, clock, DNS, a seed; whom to accept, what the state is
//!        |  bytes and time, commands          ^  messages to send, events, deadline
//!   Endpoint       framing, transactions, connections, location of servers
//!        |  parsed requests and responses     ^  requests and responses to send
//!   Agent          dialogs, subscriptions, watchers, resources    package   bodies and rules
//!        |  the inputs of one subscription    ^  what to send, what it came to
//!   machine        the RFCs' state tables                         wire      text in, text out
//! ```
//!
//! Start with [`Endpoint`]: it is a whole user agent for events, as subscriber,
//! as notifier, or both. [`Agent`] is for programs that own a SIP stack already,
//! [`machine`] for those that want one state machine, [`wire`] for the codec,
//! [`package`] for whoever brings an event package of their own.
//!
//! # The run loop
//!
//! *After every `handle_*` or command, call [`poll_transmit`](Endpoint::poll_transmit)
//! and [`poll_event`](Endpoint::poll_event) until `None`, then sleep until
//! [`poll_timeout`](Endpoint::poll_timeout) or the next input.*
//!
//! Here it is for two endpoints in memory. [`Event::Io`] does not come up, since
//! datagrams between numeric addresses need neither connections nor names.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use sip_events::wire::Transport;
//! use sip_events::{
//!     Authentication, Body, Config, Decision, Endpoint, Event, Flow, Instant, Packages, ResourceKey, Scope, Seed, Subscribe,
//! };
//!
//! /// Sends what `from` has to send. Whether there was anything.
//! fn carry(now: Instant, from: &mut Endpoint, to: &mut Endpoint) -> bool {
//!     let (mut datagram, mut any) = (Vec::new(), false);
//!     while let Some(transmit) = from.poll_transmit(now, &mut datagram) {
//!         transmit.append_body(&mut datagram);
//!         let flow = Flow::udp(transmit.flow.remote, transmit.flow.local);
//!         let _ = to.handle_message(now, flow, &datagram);
//!         datagram.clear();
//!         any = true;
//!     }
//!     any
//! }
//!
//! fn endpoint(identity: &str, address: &str, seed: u8) -> Result<Endpoint, Box<dyn std::error::Error>> {
//!     let address: SocketAddr = address.parse()?;
//!     // Whoever asks is believed; `Authentication::Digest` is better.
//!     let config = Config::new(identity)?.with_authentication(Authentication::None);
//!     // A real program takes its seed from the operating system.
//!     let (config, seed) = (Arc::new(config), Seed([seed; 32]));
//!     let mut endpoint = Endpoint::new(config, Packages::standard(), &seed, Instant::ZERO);
//!     endpoint.add_local(Transport::Udp, address, None, None)?;
//!     Ok(endpoint)
//! }
//!
//! let mut ann = endpoint("sip:ann@192.0.2.1", "192.0.2.1:5060", 1)?;
//! let mut bob = endpoint("sip:bob@192.0.2.2", "192.0.2.2:5060", 2)?;
//! let mut now = Instant::ZERO;
//!
//! let resource = bob.add_resource(&ResourceKey::new("sip:bob@192.0.2.2", "presence")?)?;
//! bob.set_state(now, resource, Body::new("application/pidf+xml", "<presence/>"))?;
//! let subscription = ann.subscribe(now, Subscribe::new("sip:bob@192.0.2.2", "presence")?.expires(600))?;
//!
//! let mut told = 0;
//! let ended = loop {
//!     // Output, until there is none.
//!     while carry(now, &mut ann, &mut bob) | carry(now, &mut bob, &mut ann) {}
//!     let mut ended = None;
//!     while let Some(event) = bob.poll_event() {
//!         if let Event::Subscribe(incoming) = event {
//!             bob.accept(now, incoming, Decision::ACCEPT)?;
//!         }
//!     }
//!     while let Some(event) = ann.poll_event() {
//!         match event {
//!             Event::Notify { body: Some(body), .. } => {
//!                 assert_eq!(&body.data[..], b"<presence/>");
//!                 told += 1;
//!                 // The first NOTIFY, then the one of the automatic refresh.
//!                 if told == 2 {
//!                     ann.unsubscribe(now, subscription, Scope::This)?;
//!                 }
//!             }
//!             Event::Terminated { why, .. } => ended = Some(why),
//!             _ => {}
//!         }
//!     }
//!     if let Some(why) = ended {
//!         break why;
//!     }
//!     // Sleep, here by moving the clock: output that is left makes this `now`.
//!     now = [ann.poll_timeout(), bob.poll_timeout()].into_iter().flatten().min().expect("timers run");
//!     ann.handle_timeout(now);
//!     bob.handle_timeout(now);
//! };
//! assert_eq!((told, ended), (3, sip_events::Ending::Unsubscribed));
//! assert!(now > Instant::ZERO + Duration::from_secs(300));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds always
//!
//! - **The next output follows from state and input alone.** Inputs are all calls
//!   with `&mut self`, polls included, with their `now`. An [`Endpoint`] is
//!   [`Clone`], and a clone that gets the same inputs gives the same bytes.
//! - **Everything is bounded**, by [`Limits`].
//! - **No byte from the network and no mistake of the caller panics.** What a peer
//!   did wrong is a SIP answer and a [`DropReason`] that [`Stats`] counts; what the
//!   caller did wrong is a [`Misuse`], and nothing has changed.
//! - **It explains itself**: [`Endpoint::explain`] says what an object waits for,
//!   and why.
//!
//! # Features
//!
//! `digest` (default) authenticates, both ways. `std` (default) adds `Clock`,
//! which maps `std::time::Instant` to [`Instant`]. `testing` brings simulated
//! worlds, and needs `std`. Everything else is `no_std` with `alloc`, and needs a
//! target with atomic compare-and-swap.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::dbg_macro,
    clippy::float_arithmetic,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[macro_use]
mod codec;

pub mod agent;
mod config;
#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
pub mod digest;
mod endpoint;
mod entropy;
mod error;
mod event;
mod flow;
mod id;
mod io;
pub mod machine;
#[cfg(all(any(doc, doctest), feature = "std"))]
pub mod manual;
pub mod package;
mod parts;
mod shards;
mod snapshot;
mod stats;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
// A tool for tests: what overflows in it fails them.
#[allow(clippy::arithmetic_side_effects)]
pub mod testing;
mod time;
mod timers;
pub mod wire;

pub use agent::{Agent, Close, Decision, IncomingRef, ResourceKey, Scope, StateSet, Subscribe};
pub use config::{
    Authentication, BadGateway, Config, ContactFlow, Delivery, Dialect, DialogSharing, FlowGone, KeepAlive, Limits,
    MissingState, NotifyTimeout, PackageConfig, Policy, Role, RouteSet, Timers, Undecided, UnknownResource, Unproven,
    ViaMaddr,
};
pub use endpoint::Endpoint;
pub use entropy::Seed;
pub use error::{ConfigError, DropReason, Failure, Handled, Misuse, RestoreError, Retry};
pub use event::{Ending, Event, Explanation, Gone, NotifyResult, ObjectId, Reason, SubscriptionState, TimerKind};
pub use flow::{Flow, StreamId};
#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
pub use id::ClaimId;
pub use id::{IncomingId, ResourceId, SubscriptionId, WatcherId};
pub use io::{
    Answer, ConnectFailure, ConnectId, Io, QueryId, Question, QuestionKind, Record, ResolveFailure, StreamInfo,
    StreamSummary, Transmit, TransmitId,
};
pub use package::{Body, EventPackage, Packages, View};
pub use shards::Shards;
pub use snapshot::{Progress, Restart, SnapshotWriter};
pub use stats::Stats;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use time::Clock;
pub use time::Instant;
