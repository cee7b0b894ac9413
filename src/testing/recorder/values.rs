//! How the arguments of calls are written.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::codec::{Get, Put, Reader, Writer};
use crate::error::RestoreError;
use crate::id::{IncomingId, RawId, ResourceId, SubscriptionId, WatcherId};
use crate::io::{Answer, ConnectFailure, ConnectId, QueryId, Record, ResolveFailure, Sent, TransmitId};
use crate::package::Reject;
use crate::wire::HostPort;
use crate::{Decision, ObjectId, ResourceKey, Scope};

tags!(ConnectFailure { Refused = 0, Unreachable = 1, TimedOut = 2, Handshake = 3, NotPossible = 4 });
tags!(ResolveFailure { NotFound = 0, NotSupported = 1, Unavailable = 2 });
tags!(Scope { This = 0, AllForks = 1 });
fields!(Reject { status, retry_after });
fields!(ResourceKey { uri, package });

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl Put for $id {
            fn put(&self, w: &mut Writer<'_>) {
                w.put(&self.0);
            }
        }

        impl Get for $id {
            fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
                r.get::<RawId>().map(Self)
            }
        }
    )*};
}

ids!(SubscriptionId, WatcherId, ResourceId, IncomingId, ConnectId, QueryId);

impl Put for ObjectId {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Subscription(id) => {
                w.word(0);
                w.put(id);
            }
            Self::Watcher(id) => {
                w.word(1);
                w.put(id);
            }
            Self::Resource(id) => {
                w.word(2);
                w.put(id);
            }
        }
    }
}

impl Get for ObjectId {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Subscription(r.get()?),
            1 => Self::Watcher(r.get()?),
            2 => Self::Resource(r.get()?),
            _ => return Err(RestoreError::Malformed),
        })
    }
}

impl Put for TransmitId {
    fn put(&self, w: &mut Writer<'_>) {
        match self.0 {
            Sent::Request { slot, nonce } => {
                w.word(0);
                w.put(&slot);
                w.put(&nonce);
            }
            Sent::Response => w.word(1),
        }
    }
}

impl Get for TransmitId {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(Self(match r.word()? {
            0 => Sent::Request { slot: r.get()?, nonce: r.get()? },
            1 => Sent::Response,
            _ => return Err(RestoreError::Malformed),
        }))
    }
}

impl Put for Decision {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Active { expires, view } => {
                w.word(0);
                w.put(expires);
                w.put(view);
            }
            Self::Pending { expires, give_up } => {
                w.word(1);
                w.put(expires);
                w.put(give_up);
            }
        }
    }
}

impl Get for Decision {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Active { expires: r.get()?, view: r.get()? },
            1 => Self::Pending { expires: r.get()?, give_up: r.get()? },
            _ => return Err(RestoreError::Malformed),
        })
    }
}

impl Put for HostPort {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(self.to_string().as_str());
    }
}

impl Get for HostPort {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.text()?.parse().map_err(|_| RestoreError::Malformed)
    }
}

impl Put for Answer<'_> {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Records { records, ttl } => {
                w.word(0);
                crate::codec::put_list(w, records.iter());
                w.put(ttl);
            }
            Self::Addresses { addresses, ttl } => {
                w.word(1);
                crate::codec::put_list(w, addresses.iter());
                w.put(ttl);
            }
            Self::Failed(why) => {
                w.word(2);
                w.put(why);
            }
        }
    }
}

/// An [`Answer`] that owns what it says.
pub(super) enum OwnAnswer {
    Records(Vec<Record>, Duration),
    Addresses(Vec<IpAddr>, Duration),
    Failed(ResolveFailure),
}

impl OwnAnswer {
    pub(super) fn as_answer(&self) -> Answer<'_> {
        match self {
            Self::Records(records, ttl) => Answer::Records { records, ttl: *ttl },
            Self::Addresses(addresses, ttl) => Answer::Addresses { addresses, ttl: *ttl },
            Self::Failed(why) => Answer::Failed(*why),
        }
    }
}

impl Get for OwnAnswer {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Records(r.get()?, r.get()?),
            1 => Self::Addresses(r.get()?, r.get()?),
            2 => Self::Failed(r.get()?),
            _ => return Err(RestoreError::Malformed),
        })
    }
}
