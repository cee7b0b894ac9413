//! A run as a file: every call that changed an endpoint, repeated on another.
//!
//! What an endpoint does follows from its configuration, its seed and the calls
//! it got. [`Recorder`] writes all of that down beside what came out, and
//! [`replay`] does it again: the same bytes, or the place where they differ. So
//! a bug report is a file.

mod replay;
mod setup;
#[cfg(test)]
mod tests;
mod values;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Deref;
use core::time::Duration;

#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
pub use replay::replay_with_users;
pub use replay::{ReplayError, Replayed, recorded_packages, replay};

use crate::codec::{Mode, Reader, Writer};
use crate::error::RestoreError;
use crate::io::{Answer, ConnectFailure, ConnectId, QueryId, StreamSummary, Transmit, TransmitId};
use crate::package::Reject;
use crate::wire::{FramingLost, HostPort, Transport, UriBuf};
use crate::{
    Body, Close, Config, Decision, Endpoint, Event, Flow, Handled, IncomingId, Instant, Misuse, ObjectId, Packages,
    Reason, ResourceId, ResourceKey, Restart, Scope, Seed, StateSet, StreamId, Subscribe, SubscriptionId, View,
    WatcherId,
};

/// What a recording begins with.
const RECORDING: &[u8; 8] = b"SIPEVRUN";
const VERSION: u16 = 2;
const POLL_TRANSMIT: u64 = 1;
const POLL_EVENT: u64 = 2;
const HANDLE_RESOLVED: u64 = 3;
const SUBSCRIBE: u64 = 20;

/// An [`Endpoint`] that writes down every call that changes it, and every byte
/// that comes out of it.
///
/// It has the endpoint's own calls, and the endpoint's views through
/// [`Deref`]; the three calls that give a `&mut u64` are `set_*_data` here. The
/// recording holds the seed, all messages and all credentials that were given:
/// it is as secret as they are. Of a `UserStore` it holds nothing; see
/// [`replay_with_users`].
///
/// ```
/// use std::sync::Arc;
/// use sip_events::testing::{Recorder, replay};
/// use sip_events::wire::Transport;
/// use sip_events::{Config, Instant, Packages, Seed, Subscribe};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (config, now) = (Arc::new(Config::new("sip:ann@192.0.2.1")?), Instant::ZERO);
/// let mut endpoint = Recorder::new(config, Packages::standard(), &Seed([7; 32]), now);
/// endpoint.add_local(Transport::Udp, "192.0.2.1:5060".parse()?, None, None)?;
/// endpoint.subscribe(now, Subscribe::new("sip:bob@192.0.2.2", "presence")?)?;
/// while endpoint.poll_transmit(now, &mut Vec::new()).is_some() {}
///
/// let again = replay(&endpoint.take(), Packages::standard())?;
/// assert_eq!(again.log.frames.len(), 1);
/// assert_eq!(again.endpoint.digest_exact(), endpoint.digest_exact());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Recorder {
    endpoint: Endpoint,
    /// Times are relative to it.
    start: Instant,
    log: Vec<u8>,
}

impl Deref for Recorder {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Recorder {
    /// Records a new endpoint; see [`Endpoint::new`].
    pub fn new(config: Arc<Config>, packages: Packages, seed: &Seed, now: Instant) -> Self {
        let mut log = Vec::new();
        setup::put(&mut log, now, &config, &packages, &setup::Origin::New(seed.clone()));
        Self { endpoint: Endpoint::new(config, packages, seed, now), start: now, log }
    }

    /// Records an endpoint that goes on from a snapshot, which becomes part of
    /// the recording; see [`Endpoint::restore`].
    ///
    /// # Errors
    /// Those of [`Endpoint::restore`].
    pub fn restore(
        config: Arc<Config>,
        packages: Packages,
        snapshot: &[u8],
        now: Instant,
        downtime: Duration,
        restart: &Restart,
    ) -> Result<Self, RestoreError> {
        let endpoint = Endpoint::restore(config.clone(), packages.clone(), snapshot, now, downtime, restart)?;
        let mut log = Vec::new();
        let origin = setup::Origin::Restored(snapshot.into(), downtime, restart.clone());
        setup::put(&mut log, now, &config, &packages, &origin);
        Ok(Self { endpoint, start: now, log })
    }

    /// What was recorded since the last call of this: append it to a file. A
    /// file that ends in the middle of a call is replayed up to there.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.log)
    }

    /// Appends one call: its name, its arguments, and what came of it.
    fn note<T>(
        &mut self,
        code: u64,
        arguments: impl FnOnce(&mut Writer<'_>),
        call: impl FnOnce(&mut Endpoint) -> T,
        result: impl FnOnce(&T, &mut Writer<'_>),
    ) -> T {
        let mut entry = Vec::new();
        let mut w = Writer::new(&mut entry, self.start, Mode::Exact);
        w.word(code);
        arguments(&mut w);
        let came = call(&mut self.endpoint);
        result(&came, &mut w);
        Writer::new(&mut self.log, self.start, Mode::Exact).put(&entry[..]);
        came
    }

    /// See [`Endpoint::poll_transmit`].
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, head: &mut Vec<u8>) -> Option<Transmit> {
        let start = head.len();
        // Two borrows of one buffer: what was appended is looked at afterwards.
        let transmit = self.endpoint.poll_transmit(now, head);
        let sent = transmit.as_ref().map(|transmit| {
            let appended = head.get(start..).unwrap_or_default();
            (transmit.flow, [appended, &transmit.body].concat())
        });
        self.note(POLL_TRANSMIT, |w| w.put(&now), |_| (), |(), w| put_sent(w, sent.as_ref()));
        transmit
    }

    /// See [`Endpoint::poll_event`].
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.note(POLL_EVENT, |_| (), Endpoint::poll_event, |event, w| put_debug(w, event))
    }

    /// See [`Endpoint::subscribe`].
    ///
    /// # Errors
    /// Those of [`Endpoint::subscribe`].
    pub fn subscribe(&mut self, now: Instant, request: Subscribe) -> Result<SubscriptionId, Misuse> {
        let mut arguments = Vec::new();
        let mut w = Writer::new(&mut arguments, self.start, Mode::Exact);
        w.put(&now);
        w.put(&request);
        #[cfg(feature = "digest")]
        w.put(&request.more().credentials);
        #[cfg(not(feature = "digest"))]
        w.word(0);
        self.note(
            SUBSCRIBE,
            |w| w.raw(&arguments),
            |endpoint| endpoint.subscribe(now, request),
            |result, w| put_debug(w, result),
        )
    }

    /// See [`Endpoint::handle_resolved`].
    ///
    /// # Errors
    /// Those of [`Endpoint::handle_resolved`].
    pub fn handle_resolved(&mut self, now: Instant, query: QueryId, answer: Answer<'_>) -> Result<(), Misuse> {
        self.note(
            HANDLE_RESOLVED,
            |w| {
                w.put(&now);
                w.put(&query);
                w.put(&answer);
            },
            |endpoint| endpoint.handle_resolved(now, query, answer),
            |result, w| put_debug(w, result),
        )
    }
}

fn put_sent(w: &mut Writer<'_>, sent: Option<&(Flow, Vec<u8>)>) {
    w.put(&sent.is_some());
    if let Some((flow, bytes)) = sent {
        w.put(flow);
        w.put(&bytes[..]);
    }
}

fn put_debug(w: &mut Writer<'_>, value: &impl core::fmt::Debug) {
    w.put(format!("{value:?}").as_str());
}

/// What [`Recorder::subscribe`] wrote.
fn get_subscribe(r: &mut Reader<'_>) -> Result<Subscribe, RestoreError> {
    #[cfg_attr(not(feature = "digest"), expect(unused_mut))]
    let mut request: Subscribe = r.get()?;
    #[cfg(feature = "digest")]
    {
        request.more_mut().credentials = r.get()?;
    }
    #[cfg(not(feature = "digest"))]
    if r.word()? != 0 {
        return Err(RestoreError::Malformed);
    }
    Ok(request)
}

/// Calls that an endpoint has under another shape.
trait Data {
    fn set_subscription_data(&mut self, id: SubscriptionId, value: u64) -> Result<(), Misuse>;
    fn set_watcher_data(&mut self, id: WatcherId, value: u64) -> Result<(), Misuse>;
    fn set_resource_data(&mut self, id: ResourceId, value: u64) -> Result<(), Misuse>;
}

impl Data for Endpoint {
    fn set_subscription_data(&mut self, id: SubscriptionId, value: u64) -> Result<(), Misuse> {
        self.subscription_data(id).map(|data| *data = value)
    }

    fn set_watcher_data(&mut self, id: WatcherId, value: u64) -> Result<(), Misuse> {
        self.watcher_data(id).map(|data| *data = value)
    }

    fn set_resource_data(&mut self, id: ResourceId, value: u64) -> Result<(), Misuse> {
        self.resource_data(id).map(|data| *data = value)
    }
}

/// Each call with its code, its arguments and its result, once for recording
/// and once for repeating.
macro_rules! call {
    ($repeat:ident: $(
        $(#[$doc:meta])*
        $code:literal $name:ident ( $($arg:ident : $type:ty $(, as $owned:ty)?);* ) -> $result:ty;
    )*) => {
        impl Recorder {
            $(
                $(#[$doc])*
                #[allow(clippy::missing_errors_doc)]
                pub fn $name(&mut self, $($arg: $type),*) -> $result {
                    let mut arguments = Vec::new();
                    let mut w = Writer::new(&mut arguments, self.start, Mode::Exact);
                    let _ = &mut w;
                    $(w.put(&$arg);)*
                    self.note(
                        $code,
                        |w| w.raw(&arguments),
                        |endpoint| endpoint.$name($($arg),*),
                        |result, w| put_debug(w, result),
                    )
                }
            )*
        }

        /// Repeats a call; its name and its result. `None` for an unknown code.
        pub(super) fn $repeat(
            code: u64,
            r: &mut Reader<'_>,
            endpoint: &mut Endpoint,
        ) -> Result<Option<(&'static str, alloc::string::String)>, RestoreError> {
            Ok(Some(match code {
                $($code => {
                    $(let $arg = call!(@get r $type $(, $owned)?);)*
                    let result = endpoint.$name($(call!(@pass $arg $($owned)?)),*);
                    (stringify!($name), format!("{result:?}"))
                })*
                _ => return Ok(None),
            }))
        }
    };
    (@get $r:ident $type:ty) => { $r.get::<$type>()? };
    (@get $r:ident $type:ty, $owned:ty) => { $r.get::<$owned>()? };
    (@pass $arg:ident) => { $arg };
    (@pass $arg:ident $owned:ty) => { &$arg };
}

#[cfg(feature = "digest")]
mod secrets;

call! { repeat:
    /// See [`Endpoint::add_local`].
    10 add_local(transport: Transport; bind: SocketAddr; advertised: Option<HostPort>; gruu: Option<UriBuf>)
        -> Result<(), Misuse>;
    /// See [`Endpoint::handle_message`].
    11 handle_message(now: Instant; flow: Flow; message: &[u8], as alloc::boxed::Box<[u8]>) -> Handled;
    /// See [`Endpoint::handle_stream`].
    12 handle_stream(now: Instant; stream: StreamId; chunk: &[u8], as alloc::boxed::Box<[u8]>)
        -> Result<StreamSummary, FramingLost>;
    /// See [`Endpoint::handle_stream_opened`].
    13 handle_stream_opened(now: Instant; connect: Option<ConnectId>; flow: Flow) -> Result<(), Misuse>;
    /// See [`Endpoint::handle_stream_closed`].
    14 handle_stream_closed(now: Instant; stream: StreamId) -> Result<(), Misuse>;
    /// See [`Endpoint::handle_connect_failed`].
    15 handle_connect_failed(now: Instant; connect: ConnectId; why: ConnectFailure) -> Result<(), Misuse>;
    /// See [`Endpoint::handle_transmit_failed`].
    16 handle_transmit_failed(now: Instant; id: TransmitId) -> ();
    /// See [`Endpoint::handle_unreachable`].
    17 handle_unreachable(now: Instant; flow: Flow) -> ();
    /// See [`Endpoint::keep_alive`].
    54 keep_alive(now: Instant; flow: Flow; interval: Option<Duration>) -> Result<(), Misuse>;
    /// See [`Endpoint::rehome`].
    55 rehome(now: Instant; from: SocketAddr; to: SocketAddr) -> Result<(), Misuse>;
    /// See [`Endpoint::set_writable`].
    18 set_writable(now: Instant; stream: StreamId; writable: bool) -> Result<(), Misuse>;
    /// See [`Endpoint::handle_timeout`].
    19 handle_timeout(now: Instant) -> ();
    /// See [`Endpoint::refresh`].
    21 refresh(now: Instant; id: SubscriptionId; expires: Option<u32>) -> Result<(), Misuse>;
    /// See [`Endpoint::unsubscribe`].
    22 unsubscribe(now: Instant; id: SubscriptionId; scope: Scope) -> Result<(), Misuse>;
    /// Sets what [`Endpoint::subscription_data`] gives.
    23 set_subscription_data(id: SubscriptionId; value: u64) -> Result<(), Misuse>;
    /// See [`Endpoint::add_resource`].
    30 add_resource(key: &ResourceKey, as ResourceKey) -> Result<ResourceId, Misuse>;
    /// See [`Endpoint::remove_resource`].
    31 remove_resource(now: Instant; id: ResourceId; reason: &Reason, as Reason) -> Result<(), Misuse>;
    /// See [`Endpoint::set_state`].
    32 set_state(now: Instant; resource: ResourceId; state: Body) -> Result<StateSet, Misuse>;
    /// See [`Endpoint::set_state_for`].
    33 set_state_for(now: Instant; resource: ResourceId; view: View; state: Body) -> Result<StateSet, Misuse>;
    /// Sets what [`Endpoint::resource_data`] gives.
    34 set_resource_data(id: ResourceId; value: u64) -> Result<(), Misuse>;
    /// See [`Endpoint::accept`].
    35 accept(now: Instant; id: IncomingId; decision: Decision) -> Result<WatcherId, Misuse>;
    /// See [`Endpoint::reject`].
    36 reject(now: Instant; id: IncomingId; reject: Reject) -> Result<(), Misuse>;
    /// Sets what [`Endpoint::watcher_data`] gives.
    37 set_watcher_data(id: WatcherId; value: u64) -> Result<(), Misuse>;
    /// See [`Endpoint::approve`].
    38 approve(now: Instant; id: WatcherId) -> Result<(), Misuse>;
    /// See [`Endpoint::terminate`].
    39 terminate(now: Instant; id: WatcherId; reason: &Reason, as Reason; retry_after: Option<u32>)
        -> Result<(), Misuse>;
    /// See [`Endpoint::shorten`].
    40 shorten(now: Instant; id: WatcherId; seconds: u32) -> Result<(), Misuse>;
    /// See [`Endpoint::set_view`].
    41 set_view(now: Instant; id: WatcherId; view: View) -> Result<(), Misuse>;
    /// See [`Endpoint::report_delivery`].
    42 report_delivery(id: WatcherId; yes: bool) -> Result<(), Misuse>;
    /// See [`Endpoint::close`].
    43 close(now: Instant; how: Close) -> ();
    /// See [`Endpoint::import`].
    50 import(now: Instant; age: Duration; record: &[u8], as alloc::boxed::Box<[u8]>)
        -> Result<ObjectId, RestoreError>;
    /// See [`Endpoint::forget`].
    51 forget(now: Instant; object: ObjectId) -> Result<(), Misuse>;
    /// See [`Endpoint::poll_changed`].
    52 poll_changed() -> Option<ObjectId>;
    /// See [`Endpoint::take_over`].
    53 take_over(now: Instant; age: Duration) -> ();
}
