//! One driver for all examples: UDP and TCP on one port, and one thread that owns the endpoint. Other
//! threads read connections, and wake the loop with an empty datagram. Copy it and change what you need.
use sip_events::{
    Answer, Clock, Config, ConnectFailure, ConnectId, Endpoint, Event, Flow, Instant, Io, Packages, QuestionKind,
    ResolveFailure, Seed, StreamId, wire::Transport,
};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::{collections::HashMap, io, io::Read, io::Write, sync::Arc, sync::mpsc, time::Duration, time::Instant as Now};
pub mod cli;
pub type Job = Box<dyn FnOnce(&mut Driver) + Send>;
pub type Trace = Box<dyn FnMut(bool, &mut Flow, &[u8])>;

pub struct Driver {
    pub endpoint: Endpoint,
    pub trace: Trace, // sees all bytes; true: they are sent, where it says
    local: SocketAddr,
    clock: Clock,
    udp: UdpSocket,
    buffer: Vec<u8>,
    jobs: (mpsc::SyncSender<Job>, mpsc::Receiver<Job>),
    connections: HashMap<StreamId, (TcpStream, Vec<u8>)>, // and what the socket did not take yet
    next_stream: u64,
}

impl Driver {
    pub fn bind(address: SocketAddr, config: Config, packages: Packages) -> io::Result<Self> {
        let (udp, clock, mut seed) = (UdpSocket::bind(address)?, Clock::new(Now::now()), [0; 32]);
        let buffer = vec![0; 65_535];
        let (local, listener) = (udp.local_addr()?, TcpListener::bind(udp.local_addr()?)?);
        std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let mut endpoint = Endpoint::new(Arc::new(config), packages, &Seed(seed), Instant::ZERO);
        let mut add = |transport| endpoint.add_local(transport, local, None, None).map_err(io::Error::other);
        add(Transport::Udp).and_then(|()| add(Transport::Tcp))?;
        let (connections, jobs, next_stream) = (HashMap::new(), mpsc::sync_channel(256), 1);
        let trace: Trace = Box::new(|_, _, _| ());
        let this = Self { endpoint, trace, local, clock, udp, buffer, jobs, connections, next_stream };
        this.spawn(move |put| listener.incoming().flatten().for_each(|s| put(Box::new(|d| d.open(None, s)))));
        Ok(this)
    }

    /// Runs `work` on a thread of its own; what it puts runs on the loop.
    pub fn spawn(&self, work: impl FnOnce(&dyn Fn(Job)) + Send + 'static) {
        let (sender, local) = (self.jobs.0.clone(), self.local);
        std::thread::spawn(move || {
            let waker = UdpSocket::bind((local.ip(), 0));
            work(&|job| _ = sender.send(job).map(|()| waker.as_ref().map(|w| w.send_to(&[], local))));
        });
    }

    pub fn now(&self) -> Instant {
        self.clock.convert(Now::now())
    }

    /// The run loop: one input or timer, then everything that it leads to. Sleeps until `until` at most.
    pub fn turn(&mut self, until: Option<Instant>) -> io::Result<Vec<Event>> {
        let full: Vec<_> = self.connections.iter().filter(|c| !c.1.1.is_empty()).map(|c| *c.0).collect();
        // While a socket is full its output stays queued, so only timers count, and the next try.
        let retry = (!full.is_empty()).then(|| self.now() + Duration::from_millis(20));
        let timer = retry.map_or_else(|| self.endpoint.poll_timeout(), |_| self.endpoint.next_timer().map(|t| t.0));
        let wake = [timer, until, retry].into_iter().flatten().min();
        let sleep = wake.map_or(Duration::from_secs(60), |at| at - self.now());
        self.udp.set_read_timeout(Some(sleep.max(Duration::from_millis(1))))?;
        if let Ok((len @ 1.., from)) = self.udp.recv_from(&mut self.buffer) {
            (self.trace)(false, &mut Flow::udp(self.local, from), &self.buffer[..len]);
            let _ = self.endpoint.handle_message(self.now(), Flow::udp(self.local, from), &self.buffer[..len]);
        }
        while let Ok(job) = self.jobs.1.try_recv() {
            job(self);
        }
        full.into_iter().for_each(|id| self.write(id, &[]));
        self.endpoint.handle_timeout(self.now());
        Ok(self.drain())
    }

    /// Sends what is due, and does what the endpoint asks of its driver.
    pub fn drain(&mut self) -> Vec<Event> {
        let (mut events, mut buffer) = (Vec::new(), Vec::with_capacity(2048));
        while let Some(mut transmit) = self.endpoint.poll_transmit(self.now(), &mut buffer) {
            transmit.append_body(&mut buffer);
            (self.trace)(true, &mut transmit.flow, &buffer);
            match transmit.flow.stream {
                Some(id) => self.write(id, &buffer),
                None if self.udp.send_to(&buffer, transmit.flow.remote).is_ok() => {}
                None => self.endpoint.handle_transmit_failed(self.now(), transmit.id),
            }
            buffer.clear();
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Io(Io::Connect { connect, transport, remote, .. }) => self.spawn(move |put| {
                    let tcp = (transport == Transport::Tcp).then(|| TcpStream::connect(remote));
                    put(Box::new(move |d| match tcp {
                        Some(Ok(stream)) => d.open(Some(connect), stream),
                        _ => _ = d.endpoint.handle_connect_failed(d.now(), connect, ConnectFailure::Refused),
                    }));
                }),
                Event::Io(Io::Resolve { query, question }) => {
                    let name = (std::str::from_utf8(&question.name).unwrap_or_default(), 0);
                    let found: Vec<_> = name.to_socket_addrs().into_iter().flatten().map(|a| a.ip()).collect();
                    let answer = match question.kind {
                        QuestionKind::Address => Answer::Addresses { addresses: &found, ttl: Duration::from_secs(60) },
                        _ => Answer::Failed(ResolveFailure::NotSupported), // by the system's resolver
                    };
                    _ = self.endpoint.handle_resolved(self.now(), query, answer);
                }
                Event::Io(Io::Close { stream }) => self.close(stream),
                event => events.push(event),
            }
        }
        events
    }

    fn open(&mut self, connect: Option<ConnectId>, stream: TcpStream) {
        let (Ok(remote), Ok(mut reader)) = (stream.peer_addr(), stream.try_clone()) else { return };
        let _ = stream.set_write_timeout(Some(Duration::from_millis(1))); // then it is full, and tried again
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let flow = Flow::stream(Transport::Tcp, self.local, remote, id);
        let Ok(()) = self.endpoint.handle_stream_opened(self.now(), connect, flow) else { return };
        self.connections.insert(id, (stream, Vec::new()));
        self.spawn(move |put| {
            let mut buffer = [0; 16_384];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                let bytes = buffer[..len].to_vec();
                put(Box::new(move |d| {
                    (d.trace)(false, &mut flow.clone(), &bytes);
                    _ = d.endpoint.handle_stream(d.now(), id, &bytes);
                }));
            }
            put(Box::new(move |d| d.close(id)));
        });
    }

    fn write(&mut self, id: StreamId, bytes: &[u8]) {
        let Some((stream, unsent)) = self.connections.get_mut(&id) else { return };
        unsent.extend_from_slice(bytes);
        while !unsent.is_empty() {
            match stream.write(unsent) {
                Ok(len @ 1..) => drop(unsent.drain(..len)),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                _ => return self.close(id),
            }
        }
        _ = self.endpoint.set_writable(self.clock.convert(Now::now()), id, unsent.is_empty());
    }

    fn close(&mut self, id: StreamId) {
        if let Some((stream, _)) = self.connections.remove(&id) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = self.endpoint.handle_stream_closed(self.now(), id);
        }
    }
}
