//! How the values are written that several records have.

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU32;

use crate::codec::{Get, Put, Reader, Writer};
use crate::config::Limits;
use crate::error::RestoreError;
use crate::event::Reason;
use crate::flow::{Flow, StreamId};
use crate::id::RawId;
use crate::package::{Body, View};
use crate::wire::{StatusCode, Transport, UriBuf};

tags!(Transport { Udp = 0, Tcp = 1, Tls = 2, Ws = 3, Wss = 4 });
fields!(RawId { slot, generation });

impl Put for NonZeroU32 {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.get());
    }
}

impl Get for NonZeroU32 {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Self::new(r.get()?).ok_or(RestoreError::Malformed)
    }
}

impl Put for View {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.0);
    }
}

impl Get for View {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.get().map(Self)
    }
}

impl Put for StreamId {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.0);
    }
}

impl Get for StreamId {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        r.get().map(Self)
    }
}

impl Put for StatusCode {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.as_u16());
    }
}

impl Get for StatusCode {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Self::new(r.get()?).ok_or(RestoreError::Malformed)
    }
}

impl Put for IpAddr {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::V4(ip) => {
                w.word(4);
                w.raw(&ip.octets());
            }
            Self::V6(ip) => {
                w.word(6);
                w.raw(&ip.octets());
            }
        }
    }
}

impl Get for IpAddr {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let bad = |_| RestoreError::Malformed;
        match r.word()? {
            4 => Ok(Self::from(<[u8; 4]>::try_from(r.raw(4)?).map_err(bad)?)),
            6 => Ok(Self::from(<[u8; 16]>::try_from(r.raw(16)?).map_err(bad)?)),
            _ => Err(RestoreError::Malformed),
        }
    }
}

/// Flow label and scope of IPv6 are kept: they are part of what is sent to.
impl Put for SocketAddr {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.ip());
        w.put(&self.port());
        if let Self::V6(address) = self {
            w.put(&address.flowinfo());
            w.put(&address.scope_id());
        }
    }
}

impl Get for SocketAddr {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let mut address = Self::new(r.get()?, r.get()?);
        if let Self::V6(address) = &mut address {
            address.set_flowinfo(r.get()?);
            address.set_scope_id(r.get()?);
        }
        Ok(address)
    }
}

impl Put for Flow {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { transport, local, remote, stream } = self;
        w.put(transport);
        w.put(local);
        w.put(remote);
        w.put(&stream.is_some());
        if let Some(stream) = stream {
            w.ident(stream);
        }
    }
}

impl Get for Flow {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(Self { transport: r.get()?, local: r.get()?, remote: r.get()?, stream: r.get()? })
    }
}

fields!(Body { content_type, data });

impl Put for Reason {
    fn put(&self, w: &mut Writer<'_>) {
        let tag = match self {
            Self::Deactivated => 0,
            Self::Probation => 1,
            Self::Rejected => 2,
            Self::Timeout => 3,
            Self::Giveup => 4,
            Self::NoResource => 5,
            Self::Invariant => 6,
            Self::BadFilter => 7,
            Self::Other(token) => {
                w.word(8);
                return w.put(token);
            }
        };
        w.word(tag);
    }
}

impl Get for Reason {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Deactivated,
            1 => Self::Probation,
            2 => Self::Rejected,
            3 => Self::Timeout,
            4 => Self::Giveup,
            5 => Self::NoResource,
            6 => Self::Invariant,
            7 => Self::BadFilter,
            8 => Self::Other(r.get()?),
            _ => return Err(RestoreError::Malformed),
        })
    }
}

impl Put for UriBuf {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(self.as_bytes());
    }
}

impl Get for UriBuf {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Self::parse(r.bytes()?).map_err(|_| RestoreError::Malformed)
    }
}

fields!(Limits {
    subscriptions,
    forks,
    watchers,
    watchers_per_resource,
    watchers_per_source,
    usages,
    resources,
    incoming,
    events,
    flows,
    body,
    dialog,
    server_transactions,
    client_transactions,
    streams,
    stream_head,
    notify_window,
    notify_window_per_flow,
    timers_per_wakeup,
    resolved,
    unproven,
    retries_per_hour,
    redirects,
    nonces,
    sessions,
});
