//! Streams and answered questions, as they are saved.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::super::connections::{Connection, Parked};
use super::super::resolver::{Entry, Known};
use crate::Instant;
use crate::codec::{Get, Mode, Put, Reader, Writer, put_list};
use crate::error::RestoreError;
use crate::io::{Question, QuestionKind, Record};
use crate::wire::{Framer, FramerLimits};

tags!(QuestionKind { Naptr = 0, Srv = 1, Address = 2 });
fields!(Question { name, kind });

/// One that is being opened is asked for again by whoever needs it.
pub(super) fn is_open(connection: &Connection) -> bool {
    connection.flow.is_some()
}

/// What requests on it are waiting for goes with them.
pub(super) fn put_connection(w: &mut Writer<'_>, connection: &Connection) {
    let Connection { transport, remote, server_name, flow, framer, closing, blocked, clients, servers, parked, keeper } =
        connection;
    w.put(transport);
    w.put(remote);
    w.put(server_name);
    w.put(flow);
    w.put(&framer.is_some());
    if let Some(framer) = framer {
        w.put(framer.pending());
        w.put(&framer.is_half_ping());
        w.put(&framer.last_activity());
        w.put(&framer.waiting_since());
    }
    w.put(closing);
    w.put(blocked);
    w.put(keeper);
    if !w.is(Mode::Saved) {
        w.put(&clients.len());
        w.put(&servers.len());
        let Parked { queue, raws } = parked;
        w.put(&queue.len());
        w.put(raws);
    }
}

pub(super) fn get_connection(r: &mut Reader<'_>, limits: FramerLimits) -> Result<Connection, RestoreError> {
    Ok(Connection {
        transport: r.get()?,
        remote: r.get()?,
        server_name: r.get()?,
        flow: r.get()?,
        framer: if r.get()? {
            let (pending, half_ping) = (r.bytes()?, r.get()?);
            let times: [Option<Instant>; 2] = [r.get()?, r.get()?];
            Some(Box::new(Framer::resume(limits, half_ping, pending, times)))
        } else {
            None
        },
        closing: r.get()?,
        blocked: r.get()?,
        clients: Vec::new(),
        servers: Vec::new(),
        parked: Parked::default(),
        keeper: r.get::<Option<_>>()?.map(Box::new),
    })
}

pub(super) const fn is_answered(entry: &Entry) -> bool {
    entry.answer.is_some()
}

pub(super) fn put_entry(w: &mut Writer<'_>, entry: &Entry) {
    let Entry { question, answer, waiters } = entry;
    w.put(question);
    w.put(answer);
    if !w.is(Mode::Saved) {
        w.put(&waiters.len());
    }
}

pub(super) fn get_entry(r: &mut Reader<'_>) -> Result<Entry, RestoreError> {
    Ok(Entry { question: r.get()?, answer: r.get()?, waiters: Vec::new() })
}

impl Put for Known {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Records(records) => {
                w.word(0);
                put_list(w, records.iter());
            }
            Self::Addresses(addresses) => {
                w.word(1);
                put_list(w, addresses.iter());
            }
            Self::Nothing => w.word(2),
        }
    }
}

impl Get for Known {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Records(r.get::<Vec<Record>>()?.into()),
            1 => Self::Addresses(r.get::<Vec<IpAddr>>()?.into()),
            2 => Self::Nothing,
            _ => return Err(RestoreError::Malformed),
        })
    }
}

impl Put for Record {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Naptr { order, preference, flags, service, replacement } => {
                w.word(0);
                w.put(order);
                w.put(preference);
                w.put(flags);
                w.put(service);
                w.put(replacement);
            }
            Self::Srv { priority, weight, port, target } => {
                w.word(1);
                w.put(priority);
                w.put(weight);
                w.put(port);
                w.put(target);
            }
        }
    }
}

impl Get for Record {
    fn get(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(match r.word()? {
            0 => Self::Naptr {
                order: r.get()?,
                preference: r.get()?,
                flags: r.get()?,
                service: r.get()?,
                replacement: r.get()?,
            },
            1 => Self::Srv { priority: r.get()?, weight: r.get()?, port: r.get()?, target: r.get()? },
            _ => return Err(RestoreError::Malformed),
        })
    }
}
