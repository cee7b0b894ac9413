//! A recorded run, once more.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::super::log::{Frame, Log};
use super::setup::{self, Setup};
use super::values::OwnAnswer;
use super::{HANDLE_RESOLVED, POLL_EVENT, POLL_TRANSMIT, RECORDING, SUBSCRIBE, VERSION, get_subscribe, repeat};
use crate::codec::Reader;
use crate::error::RestoreError;
use crate::io::QueryId;
use crate::{Endpoint, Flow, Instant, Packages, StreamId};

/// Codes of calls whose arguments the log shows.
const HANDLE_MESSAGE: u64 = 11;
const HANDLE_STREAM: u64 = 12;
const STREAM_OPENED: u64 = 13;

/// A run that was repeated to its end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Replayed {
    /// The endpoint as it was at the end.
    pub endpoint: Endpoint,
    /// Calls that were repeated.
    pub calls: u64,
    /// The recording ends in the middle of a call, which was left out.
    pub torn: bool,
    /// The messages that came and went; [`Log::ladder`] draws them.
    pub log: Log,
    /// What was told, and when.
    pub events: Vec<(Instant, String)>,
}

/// Why a recording cannot be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bytes are something else.
    NotARecording,
    /// It was written in a form that this version of the crate does not read.
    Version {
        /// The number of that form.
        found: u16,
    },
    /// The event packages are not those of the recording, in their order.
    Packages,
    /// Users were looked up in a store, which a recording does not hold; see
    /// `replay_with_users`.
    Users,
    /// It began with a snapshot that cannot be restored.
    Snapshot(RestoreError),
    /// A call cannot be read.
    Malformed {
        /// Which one, from 1.
        call: u64,
        /// Where it begins, bytes from the start.
        at: u64,
    },
    /// A call had another effect than before: the configuration's code, a
    /// package, or this crate is not the same any more.
    Differs {
        /// Which one, from 1.
        call: u64,
        /// Where it begins, bytes from the start.
        at: u64,
        /// Its name.
        name: &'static str,
        /// What came of it when it was recorded.
        recorded: String,
        /// What came of it now.
        replayed: String,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("not a recording"),
            Self::Version { found } => write!(f, "a recording of form {found}"),
            Self::Packages => f.write_str("other event packages than those of the recording"),
            Self::Users => f.write_str("users were looked up in a store, which is needed again"),
            Self::Snapshot(error) => write!(f, "the snapshot it began with: {error}"),
            Self::Malformed { call, at } => write!(f, "call {call}, at byte {at}, cannot be read"),
            Self::Differs { call, at, name, recorded, replayed } => {
                write!(f, "call {call}, {name}, at byte {at}, had another effect\nthen: {recorded}\nnow:  {replayed}")
            }
        }
    }
}

impl core::error::Error for ReplayError {}

fn begin(recording: &[u8]) -> Result<(Setup, Reader<'_>), ReplayError> {
    let (name, rest) = recording.split_first_chunk::<8>().ok_or(ReplayError::NotARecording)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(ReplayError::NotARecording)?;
    if name != RECORDING {
        return Err(ReplayError::NotARecording);
    }
    let found = u16::from_le_bytes(*version);
    if found != VERSION {
        return Err(ReplayError::Version { found });
    }
    let mut r = Reader::new(rest, Instant::ZERO, Duration::ZERO);
    let setup = setup::get(&mut r).map_err(|_| ReplayError::Malformed { call: 0, at: 0 })?;
    Ok((setup, r))
}

/// The names of the event packages that [`replay`] needs for a recording, in
/// their order.
///
/// # Errors
/// See [`ReplayError`].
pub fn recorded_packages(recording: &[u8]) -> Result<Vec<String>, ReplayError> {
    begin(recording).map(|(setup, _)| setup.packages)
}

/// Repeats a recorded run on a fresh endpoint.
///
/// # Errors
/// See [`ReplayError`]; the first difference ends it.
pub fn replay(recording: &[u8], packages: Packages) -> Result<Replayed, ReplayError> {
    let (setup, r) = begin(recording)?;
    if setup.has_users() {
        return Err(ReplayError::Users);
    }
    run(recording, &setup, r, packages)
}

/// The same for an endpoint that looked users up in a store
/// ([`Settings::users`](crate::digest::Settings::users)): `users` has to give
/// what that gave.
///
/// # Errors
/// See [`ReplayError`]; the first difference ends it.
#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
pub fn replay_with_users(
    recording: &[u8],
    packages: Packages,
    users: alloc::sync::Arc<dyn crate::digest::UserStore>,
) -> Result<Replayed, ReplayError> {
    let (mut setup, r) = begin(recording)?;
    setup.set_users(users);
    run(recording, &setup, r, packages)
}

fn run(recording: &[u8], setup: &Setup, mut r: Reader<'_>, packages: Packages) -> Result<Replayed, ReplayError> {
    let endpoint = setup.build(packages).map_err(|error| match error {
        RestoreError::UnknownPackage => ReplayError::Packages,
        error => ReplayError::Snapshot(error),
    })?;
    let mut run = Run {
        replayed: Replayed { endpoint, calls: 0, torn: false, log: Log::default(), events: Vec::new() },
        start: setup.start,
        now: setup.start,
        streams: BTreeMap::new(),
    };
    while !r.is_empty() {
        let at = (recording.len() as u64).saturating_sub(r.left() as u64);
        let call = run.replayed.calls.saturating_add(1);
        let Ok(entry) = r.bytes() else {
            run.replayed.torn = true;
            break;
        };
        match run.call(entry) {
            Err(_) => return Err(ReplayError::Malformed { call, at }),
            Ok(Effect { name, recorded, replayed }) if recorded != replayed => {
                return Err(ReplayError::Differs { call, at, name, recorded, replayed });
            }
            Ok(_) => run.replayed.calls = call,
        }
    }
    Ok(run.replayed)
}

/// What came of a call, then and now.
struct Effect {
    name: &'static str,
    recorded: String,
    replayed: String,
}

struct Run {
    replayed: Replayed,
    start: Instant,
    /// Of the latest call that named it.
    now: Instant,
    streams: BTreeMap<StreamId, Flow>,
}

impl Run {
    fn call(&mut self, entry: &[u8]) -> Result<Effect, RestoreError> {
        let mut r = Reader::new(entry, self.start, Duration::ZERO);
        let code = r.word()?;
        self.look(code, Reader::new(entry, self.start, Duration::ZERO))?;
        let endpoint = &mut self.replayed.endpoint;
        let (name, recorded, replayed) = match code {
            POLL_TRANSMIT => {
                self.now = r.get()?;
                let recorded: Option<(Flow, Bytes)> = r.get()?;
                let mut bytes = Vec::new();
                let sent = endpoint.poll_transmit(self.now, &mut bytes).map(|transmit| {
                    transmit.append_body(&mut bytes);
                    (transmit.flow, bytes)
                });
                self.sent(sent.as_ref());
                let replayed = sent.map(|(flow, bytes)| (flow, Bytes::from(bytes)));
                let name = "poll_transmit";
                if recorded == replayed {
                    return Ok(Effect { name, recorded: String::new(), replayed: String::new() });
                }
                (name, text(recorded.as_ref()), text(replayed.as_ref()))
            }
            POLL_EVENT => {
                let recorded = r.get()?;
                let event = endpoint.poll_event();
                let replayed = format!("{event:?}");
                if event.is_some() {
                    self.replayed.events.push((self.now, replayed.clone()));
                }
                ("poll_event", recorded, replayed)
            }
            HANDLE_RESOLVED => {
                self.now = r.get()?;
                let (query, answer): (QueryId, OwnAnswer) = r.get()?;
                let replayed = format!("{:?}", endpoint.handle_resolved(self.now, query, answer.as_answer()));
                ("handle_resolved", r.get()?, replayed)
            }
            SUBSCRIBE => {
                self.now = r.get()?;
                let request = get_subscribe(&mut r)?;
                let replayed = format!("{:?}", endpoint.subscribe(self.now, request));
                ("subscribe", r.get()?, replayed)
            }
            code => {
                let (name, replayed) = match repeat(code, &mut r, endpoint)? {
                    #[cfg(feature = "digest")]
                    None => super::secrets::repeat(code, &mut r, endpoint)?,
                    other => other,
                }
                .ok_or(RestoreError::Malformed)?;
                self.now = endpoint.latest();
                (name, r.get()?, replayed)
            }
        };
        if r.is_empty() { Ok(Effect { name, recorded, replayed }) } else { Err(RestoreError::Malformed) }
    }

    /// Notes in the log what comes with a call.
    fn look(&mut self, code: u64, mut r: Reader<'_>) -> Result<(), RestoreError> {
        let _ = r.word()?;
        match code {
            HANDLE_MESSAGE => {
                self.now = r.get()?;
                let flow: Flow = r.get()?;
                self.frame(&flow, flow.remote, flow.local, r.get()?);
            }
            HANDLE_STREAM => {
                self.now = r.get()?;
                if let Some(flow) = self.streams.get(&r.get()?).copied() {
                    self.frame(&flow, flow.remote, flow.local, r.get()?);
                }
            }
            STREAM_OPENED => {
                self.now = r.get()?;
                let _: Option<crate::ConnectId> = r.get()?;
                let flow: Flow = r.get()?;
                if let Some(stream) = flow.stream {
                    self.streams.insert(stream, flow);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn sent(&mut self, sent: Option<&(Flow, Vec<u8>)>) {
        if let Some((flow, bytes)) = sent {
            self.frame(flow, flow.local, flow.remote, Bytes::copy_from_slice(bytes));
        }
    }

    fn frame(&mut self, flow: &Flow, from: core::net::SocketAddr, to: core::net::SocketAddr, bytes: Bytes) {
        let (at, transport, stream) = (self.now, flow.transport, flow.stream.map(|stream| stream.0));
        self.replayed.log.frames.push(Frame { at, transport, from, to, stream, bytes });
    }
}

fn text(sent: Option<&(Flow, Bytes)>) -> String {
    match sent {
        None => String::from("nothing sent"),
        Some((flow, bytes)) => format!("{flow}: {}", bytes.escape_ascii()),
    }
}
