//! The same loop on mio: one thread, sockets that never block, and readiness
//! as what back-pressure looks like. Runs a notifier and a watcher, each on a
//! thread with a loop of its own; `--transport tcp` for connections.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};
use sip_events::wire::Transport;
use sip_events::{
    Answer, Authentication, Body, Clock, Config, ConnectFailure, ConnectId, Decision, Ending, Endpoint, Event, Flow,
    Instant, Io, Packages, ResolveFailure, ResourceKey, Scope, Seed, StreamId, Subscribe,
};

const UDP: Token = Token(0);
const LISTENER: Token = Token(1);

/// A connection; its token is the number of its `StreamId`.
struct Connection {
    stream: TcpStream,
    /// The request for it, until it is established.
    wanted: Option<ConnectId>,
    established: bool,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

struct Driver {
    endpoint: Endpoint,
    local: SocketAddr,
    clock: Clock,
    poll: Poll,
    udp: UdpSocket,
    listener: TcpListener,
    connections: HashMap<usize, Connection>,
    next: usize,
    /// A datagram that the socket did not take.
    stuck: Option<(Vec<u8>, SocketAddr)>,
}

impl Driver {
    fn bind(user: &str, seed: u8) -> io::Result<Self> {
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().map_err(io::Error::other)?)?;
        let local = listener.local_addr()?;
        let mut udp = UdpSocket::bind(local)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut udp, UDP, Interest::READABLE | Interest::WRITABLE)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let config = Config::new(&format!("sip:{user}@127.0.0.1")).map_err(io::Error::other)?;
        let config = config.with_authentication(Authentication::None);
        let clock = Clock::new(std::time::Instant::now());
        // A fixed seed makes the example repeatable; a real program takes it from the system.
        let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &Seed([seed; 32]), Instant::ZERO);
        endpoint.add_local(Transport::Udp, local, None, None).map_err(io::Error::other)?;
        endpoint.add_local(Transport::Tcp, local, None, None).map_err(io::Error::other)?;
        let (connections, next, stuck) = (HashMap::new(), 2, None);
        Ok(Self { endpoint, local, clock, poll, udp, listener, connections, next, stuck })
    }

    fn now(&self) -> Instant {
        self.clock.convert(std::time::Instant::now())
    }

    /// Whatever is ready and due, then everything that it leads to.
    fn turn(&mut self) -> io::Result<Vec<Event>> {
        let events = self.drain();
        if !events.is_empty() {
            return Ok(events);
        }
        // While a datagram is stuck its successors stay queued, so only timers count.
        let timer = match self.stuck {
            Some(_) => self.endpoint.next_timer().map(|timer| timer.0),
            None => self.endpoint.poll_timeout(),
        };
        let sleep = timer.map(|at| at - self.now());
        let mut ready = Events::with_capacity(64);
        match self.poll.poll(&mut ready, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &ready {
            match event.token() {
                UDP => self.datagrams(),
                LISTENER => {
                    while let Ok((stream, _)) = self.listener.accept() {
                        self.add(stream, None);
                    }
                }
                Token(id) => self.connection(id, event.is_readable()),
            }
        }
        self.endpoint.handle_timeout(self.now());
        Ok(self.drain())
    }

    /// Readiness is told once: read until there is no more.
    fn datagrams(&mut self) {
        if let Some((bytes, to)) = self.stuck.take()
            && would_block(&self.udp.send_to(&bytes, to))
        {
            self.stuck = Some((bytes, to));
        }
        let mut buffer = [0; 65_535];
        while let Ok((len, from)) = self.udp.recv_from(&mut buffer) {
            let _ = self.endpoint.handle_message(self.now(), Flow::udp(self.local, from), &buffer[..len]);
        }
    }

    fn add(&mut self, mut stream: TcpStream, wanted: Option<ConnectId>) {
        let id = self.next;
        self.next += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(id), interest).is_ok() {
            let connection = Connection { stream, wanted, established: false, unsent: Vec::new() };
            self.connections.insert(id, connection);
        }
    }

    fn connection(&mut self, id: usize, readable: bool) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.established {
            match connection.stream.peer_addr() {
                Ok(remote) => {
                    connection.established = true;
                    let flow = Flow::stream(Transport::Tcp, self.local, remote, StreamId(id as u64));
                    let _ = self.endpoint.handle_stream_opened(now, connection.wanted.take(), flow);
                }
                // Not yet; or it failed.
                Err(_) if connection.stream.take_error().is_ok_and(|error| error.is_none()) => return,
                Err(_) => {
                    if let Some(wanted) = connection.wanted.take() {
                        let _ = self.endpoint.handle_connect_failed(now, wanted, ConnectFailure::Refused);
                    }
                    self.connections.remove(&id);
                    return;
                }
            }
        }
        if readable {
            self.read(id);
        }
        self.write(id, &[]);
    }

    fn read(&mut self, id: usize) {
        let (now, mut buffer) = (self.now(), [0; 16_384]);
        while let Some(connection) = self.connections.get_mut(&id) {
            match connection.stream.read(&mut buffer) {
                Ok(len @ 1..) => _ = self.endpoint.handle_stream(now, StreamId(id as u64), &buffer[..len]),
                read if would_block(&read) => return,
                _ => self.close(id),
            }
        }
    }

    fn write(&mut self, id: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.unsent.extend_from_slice(bytes);
        while !connection.unsent.is_empty() {
            match connection.stream.write(&connection.unsent) {
                Ok(len @ 1..) => drop(connection.unsent.drain(..len)),
                written if would_block(&written) => break,
                _ => return self.close(id),
            }
        }
        let writable = connection.unsent.is_empty();
        let _ =
            self.endpoint.set_writable(self.clock.convert(std::time::Instant::now()), StreamId(id as u64), writable);
    }

    fn close(&mut self, id: usize) {
        if let Some(mut connection) = self.connections.remove(&id) {
            let _ = self.poll.registry().deregister(&mut connection.stream);
            let _ = self.endpoint.handle_stream_closed(self.now(), StreamId(id as u64));
        }
    }

    /// Sends what is due, and does what the endpoint asks of its driver.
    fn drain(&mut self) -> Vec<Event> {
        let (mut events, mut buffer) = (Vec::new(), Vec::new());
        while self.stuck.is_none() {
            let Some(transmit) = self.endpoint.poll_transmit(self.now(), &mut buffer) else { break };
            transmit.append_body(&mut buffer);
            match transmit.flow.stream {
                Some(stream) => self.write(stream.0 as usize, &buffer),
                None => match self.udp.send_to(&buffer, transmit.flow.remote) {
                    Ok(_) => {}
                    sent if would_block(&sent) => self.stuck = Some((buffer.clone(), transmit.flow.remote)),
                    Err(_) => self.endpoint.handle_transmit_failed(self.now(), transmit.id),
                },
            }
            buffer.clear();
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Io(Io::Connect { connect, transport, remote, .. }) => {
                    // It is under way when this returns; the loop hears when it stands.
                    match (transport == Transport::Tcp).then(|| TcpStream::connect(remote)) {
                        Some(Ok(stream)) => self.add(stream, Some(connect)),
                        _ => {
                            let failure = ConnectFailure::NotPossible;
                            let _ = self.endpoint.handle_connect_failed(self.now(), connect, failure);
                        }
                    }
                }
                // There are no names in this example; see examples/resolve.rs.
                Event::Io(Io::Resolve { query, .. }) => {
                    let answer = Answer::Failed(ResolveFailure::NotSupported);
                    let _ = self.endpoint.handle_resolved(self.now(), query, answer);
                }
                Event::Io(Io::Close { stream }) => self.close(stream.0 as usize),
                event => events.push(event),
            }
        }
        events
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn notifier(mut driver: Driver, key: &ResourceKey) -> io::Result<()> {
    let bob = driver.endpoint.add_resource(key).map_err(io::Error::other)?;
    let state = |text: &'static str| Body::from_static("application/simple-message-summary", text.as_bytes());
    let set = driver.endpoint.set_state(driver.now(), bob, state("Messages-Waiting: no\r\n"));
    set.map_err(io::Error::other)?;
    loop {
        for event in driver.turn()? {
            match event {
                Event::Subscribe(incoming) => {
                    let watcher = driver.endpoint.accept(driver.now(), incoming, Decision::ACCEPT);
                    let watcher = watcher.map_err(io::Error::other)?;
                    driver.endpoint.report_delivery(watcher, true).map_err(io::Error::other)?;
                }
                // The watcher has the first state: time for the second.
                Event::Notified { .. } => {
                    let set = driver.endpoint.set_state(driver.now(), bob, state("Messages-Waiting: yes\r\n"));
                    set.map_err(io::Error::other)?;
                }
                Event::WatcherGone { why, .. } => {
                    println!("bob: the watcher is gone: {why:?}");
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

fn watcher(mut driver: Driver, uri: &str) -> io::Result<Vec<String>> {
    let request = Subscribe::new(uri, "message-summary").map_err(io::Error::other)?;
    let id = driver.endpoint.subscribe(driver.now(), request).map_err(io::Error::other)?;
    let mut heard = Vec::new();
    let patience = driver.now() + Duration::from_secs(40);
    while driver.now() < patience {
        for event in driver.turn()? {
            match event {
                Event::Notify { body: Some(body), state, .. } => {
                    let text = String::from_utf8_lossy(&body.data).trim().to_string();
                    println!("ann hears: {text} ({state:?})");
                    heard.push(text);
                    if heard.len() == 2 {
                        driver.endpoint.unsubscribe(driver.now(), id, Scope::This).map_err(io::Error::other)?;
                    }
                }
                Event::Terminated { why: Ending::Unsubscribed, .. } => return Ok(heard),
                Event::Terminated { why, .. } => return Err(io::Error::other(format!("{why:?}"))),
                _ => {}
            }
        }
    }
    Err(io::Error::other("the notifier does not answer"))
}

fn main() -> io::Result<()> {
    let tcp = std::env::args().skip(1).collect::<Vec<_>>() == ["--transport", "tcp"];
    let (ann, bob) = (Driver::bind("ann", 1)?, Driver::bind("bob", 2)?);
    let uri = format!("sip:bob@{};transport={}", bob.local, if tcp { "tcp" } else { "udp" });
    let key = ResourceKey::new(&uri, "message-summary").map_err(io::Error::other)?;
    let served = std::thread::spawn(move || notifier(bob, &key));
    let heard = watcher(ann, &uri)?;
    served.join().map_err(|_| io::Error::other("the notifier panicked"))??;
    let expected = ["Messages-Waiting: no", "Messages-Waiting: yes", "Messages-Waiting: yes"];
    if heard == expected { Ok(()) } else { Err(io::Error::other(format!("heard {heard:?}"))) }
}
