//! The endpoint's state as bytes to take a digest of.

use alloc::collections::VecDeque;
use alloc::format;

use super::super::Endpoint;
use super::super::client::Client;
use super::super::connections::Connections;
use super::super::core::{Core, Out};
use super::super::locate::{Hop, Plan};
use super::super::resolver::Resolver;
use super::super::respond::Marks;
use super::super::seats::{Home, Seat};
use super::super::server::Server;
use super::records;
use crate::agent::Agent;
use crate::codec::{Mode, Put, Writer, put_list};
use crate::io::Io;
use crate::snapshot::put_table;

impl Endpoint {
    /// A digest of all that the endpoint will do, whatever its identifiers:
    /// two endpoints that differ in Call-IDs, tags, branches, CSeq numbers,
    /// versions, ids and random values alone have the same. Times count as
    /// what is left of them at the latest `now`. The configuration, the addresses given to
    /// [`add_local`](Self::add_local) and the counters of
    /// [`stats`](Self::stats) are left out.
    ///
    /// A snapshot that was taken while the endpoint was
    /// [quiescent](Self::is_quiescent) is restored to an endpoint of the same
    /// digest, unless it had streams.
    pub fn digest(&self) -> u64 {
        let ranks = self.agent.ranks();
        crate::snapshot::digest(self.now, Mode::Behaviour, Some(&ranks), |w| self.put_all(w))
    }

    /// A digest of everything that later output depends on: two endpoints of
    /// the same configuration that have the same give the same bytes for the
    /// same calls.
    pub fn digest_exact(&self) -> u64 {
        crate::snapshot::digest(self.now, Mode::Exact, None, |w| self.put_all(w))
    }

    fn put_all(&self, w: &mut Writer<'_>) {
        let Self { agent, core, capabilities: _, stalled, drained, now: _ } = self;
        agent.put_all(w);
        put_core(w, core, agent);
        w.put(&stalled.is_some());
        if let Some((request, lines)) = stalled.as_deref() {
            agent.put_request(w, &request.id);
            w.ident(&lines[..]);
            w.put(&request.body);
        }
        w.put(drained);
    }
}

fn put_core(w: &mut Writer<'_>, core: &Core, agent: &Agent) {
    let Core {
        config: _,
        entropy,
        // Those of the agent.
        locals: _,
        clients,
        servers,
        connections:
            Connections { list, by_stream: _, by_remote: _, opening: _, most_opening: _, unwanted: _, entropy: _ },
        resolver: Resolver { entries, index: _, no_naptr, no_srv },
        unproven,
        down,
        no_stream,
        keepers: _,
        kept,
        ready,
        io,
        up,
        stats: _,
        raws: _,
        spare: _,
    } = core;
    w.ident(&entropy.fingerprint());
    w.ident(&entropy.counter());
    put_table(w, &clients.list, |w, _, client| put_client(w, client, agent));
    put_table(w, &servers.list, |w, _, server| put_server(w, server));
    put_table(w, list, |w, _, connection| {
        records::put_connection(w, connection);
        put_queue(w, &connection.parked.queue, core, agent);
    });
    put_table(w, entries, |w, _, entry| records::put_entry(w, entry));
    w.put(no_naptr);
    w.put(no_srv);
    unproven.put(w, entropy);
    down.put(w);
    no_stream.put(w, entropy);
    w.put(kept);
    put_queue(w, ready, core, agent);
    w.put(&io.len());
    for io in io {
        put_io(w, io);
    }
    // Emptied by the call that filled it.
    w.put(&up.len());
}

fn put_client(w: &mut Writer<'_>, client: &Client, agent: &Agent) {
    let Client {
        request,
        method,
        nonce,
        head,
        via_at,
        hop,
        named,
        contact,
        body,
        number,
        proven,
        machine,
        expires,
        flow,
        plan,
        seat,
        datagrams,
        any_size,
        repeated,
        queued,
    } = client;
    agent.put_request(w, request);
    w.put(method.as_bytes());
    w.ident(nonce);
    w.put(&head.is_empty());
    w.ident(&head[..]);
    w.ident(via_at);
    w.ident(hop);
    w.put(named);
    w.put(body);
    w.put(&number.is_some());
    w.ident(number);
    w.put(proven);
    w.put(machine);
    w.put(expires);
    w.put(flow);
    w.put(plan);
    w.put(&contact.is_some());
    if let Some(crate::agent::Placeholder { range, secure }) = contact {
        w.put(&range.start);
        w.put(&range.end);
        w.put(secure);
    }
    w.put(seat);
    w.put(datagrams);
    w.put(any_size);
    w.put(repeated);
    w.put(queued);
}

impl Put for Seat {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { home, at } = self;
        let (kind, slot) = match home {
            Home::Connection(slot) => (0, slot),
            Home::Query(slot) => (1, slot),
            // That follows from the flow, and its order from nothing that is ever told.
            Home::Remote(_) => return w.word(2),
        };
        w.word(kind);
        w.ident(slot);
        w.put(at);
    }
}

impl Put for Plan {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { hops, server_name, tried, named: _ } = self;
        put_list(w, hops.iter());
        w.put(server_name);
        w.put(tried);
    }
}

impl Put for Hop {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Naptr { name, secure } => {
                w.word(0);
                w.put(name);
                w.put(secure);
            }
            Self::Srv { name, transport, fallback } => {
                w.word(1);
                w.put(name);
                w.put(transport);
                w.put(fallback);
            }
            Self::Name { name, port, transport, fallback } => {
                w.word(2);
                w.put(name);
                w.put(port);
                w.put(transport);
                w.put(fallback);
            }
            Self::Address { remote, transport, late } => {
                w.word(3);
                w.put(remote);
                w.put(transport);
                w.put(late);
            }
        }
    }
}

fn put_server(w: &mut Writer<'_>, server: &Server) {
    let Server {
        machine,
        arrived,
        trying_at,
        flow,
        backup,
        expires,
        data,
        // They follow from the keys.
        key_hash: _,
        merge_hash: _,
        key_end,
        merge_end,
        marks: Marks { start, to_end, ids_end, routes_end, end },
        tag,
        answered,
        once,
        sent,
        cancelled,
        queued,
    } = server;
    w.put(machine);
    w.put(arrived);
    w.put(trying_at);
    w.put(flow);
    w.put(backup);
    w.put(expires);
    w.put(answered);
    w.put(once);
    w.put(sent);
    w.put(cancelled);
    w.put(&tag.is_some());
    if *answered {
        let response = data.get(*merge_end..).unwrap_or_default();
        w.put(response.split(|byte| *byte == b'\r').next().unwrap_or_default());
    }
    w.ident(&data[..]);
    for place in [key_end, merge_end, start, to_end, ids_end, routes_end, end] {
        w.ident(place);
    }
    w.ident(&tag.as_ref().map(|tag| (tag.start, tag.end)));
    w.put(queued);
}

fn put_queue(w: &mut Writer<'_>, queue: &VecDeque<Out>, core: &Core, agent: &Agent) {
    w.put(&queue.len());
    for out in queue {
        match out {
            Out::Client(id) => {
                w.word(0);
                if let Some(client) = core.clients.list.get(*id) {
                    agent.put_request(w, &client.request);
                }
                w.ident(id);
            }
            Out::Server(id) => {
                w.word(1);
                w.put(&core.servers.list.get(*id).map(|server| server.arrived));
                w.ident(id);
            }
            Out::Raw { flow, bytes, close } => {
                w.word(2);
                w.put(flow);
                w.put(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default());
                w.ident(&bytes[..]);
                w.put(close);
            }
        }
    }
}

/// Which work it is; with its data where that is no identifier.
fn put_io(w: &mut Writer<'_>, io: &Io) {
    match io {
        Io::Resolve { question, .. } => w.put(question),
        Io::Connect { transport, remote, .. } => w.put(&(*transport, *remote)),
        Io::FlowGone { flow, .. } | Io::KeepAlive { flow } => w.put(flow),
        Io::Close { .. } => w.word(0),
    }
    w.ident(format!("{io:?}").as_str());
}

impl Core {
    /// Whether no transaction is open and nothing is queued or asked.
    pub(super) fn is_quiescent(&self) -> bool {
        !self.has_output()
            && self.io.is_empty()
            && self.up.is_empty()
            && self.clients.len() == 0
            && self.servers.len() == 0
            && self.connections.list.iter().all(|(_, connection)| records::is_open(connection))
            && self.resolver.entries.iter().all(|(_, entry)| records::is_answered(entry))
    }
}
