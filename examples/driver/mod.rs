//! One driver for all examples: UDP and TCP on one port, `std::net` only, one thread that owns the
//! endpoint. Connections and standard input are read by threads of their own, which hand over what
//! they read and wake the loop with an empty datagram. Copy it and change what you need.
use sip_events::wire::Transport;
use sip_events::{
    Answer, Clock, Config, ConnectFailure, ConnectId, Endpoint, Event, Flow, Instant, Io, Packages, Question,
    QuestionKind, ResolveFailure, Seed, StreamId,
};
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant as Now};

pub mod cli;

type Job = Box<dyn FnOnce(&mut Driver) + Send>;

pub struct Driver {
    pub endpoint: Endpoint,
    /// Lines of standard input; `None` is its end.
    pub lines: VecDeque<Option<String>>,
    /// Sees every message: whether it was sent, and its bytes.
    pub trace: fn(bool, &[u8]),
    local: SocketAddr,
    clock: Clock,
    udp: UdpSocket,
    waker: Arc<UdpSocket>,
    jobs: (mpsc::Sender<Job>, mpsc::Receiver<Job>),
    /// Each connection with what its socket did not take yet.
    connections: HashMap<StreamId, (TcpStream, Vec<u8>)>,
    next_stream: u64,
}

impl Driver {
    pub fn bind(address: SocketAddr, config: Config, packages: Packages) -> io::Result<Self> {
        let (udp, clock, mut seed) = (UdpSocket::bind(address)?, Clock::new(Now::now()), [0; 32]);
        let local = udp.local_addr()?;
        let listener = TcpListener::bind(local)?;
        std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let mut endpoint = Endpoint::new(Arc::new(config), packages, &Seed(seed), Instant::ZERO);
        for transport in [Transport::Udp, Transport::Tcp] {
            endpoint.add_local(transport, local, None, None).map_err(io::Error::other)?;
        }
        let waker = Arc::new(UdpSocket::bind((local.ip(), 0))?);
        let (lines, connections, jobs) = (VecDeque::new(), HashMap::new(), mpsc::channel());
        let trace = |_: bool, _: &[u8]| {};
        let driver = Self { endpoint, lines, trace, local, clock, udp, waker, jobs, connections, next_stream: 1 };
        driver.spawn(move |put| listener.incoming().flatten().for_each(|s| put(Box::new(|d| d.open(None, s)))));
        Ok(driver)
    }

    pub fn read_lines(&self) {
        self.spawn(|put| {
            let lines = io::stdin().lock().lines().map_while(Result::ok).map(Some);
            lines.chain([None]).for_each(|line| put(Box::new(|d| d.lines.push_back(line))));
        });
    }

    /// Runs `work` on a thread of its own; what it puts runs on the loop.
    fn spawn(&self, work: impl FnOnce(&dyn Fn(Job)) + Send + 'static) {
        let (sender, waker, local) = (self.jobs.0.clone(), self.waker.clone(), self.local);
        std::thread::spawn(move || {
            work(&|job| {
                let _ = sender.send(job);
                let _ = waker.send_to(&[], local);
            })
        });
    }

    pub fn now(&self) -> Instant {
        self.clock.convert(Now::now())
    }

    /// The run loop: one input or timer, then everything that it leads to. Sleeps until `until` at most.
    pub fn turn(&mut self, until: Option<Instant>) -> io::Result<Vec<Event>> {
        let blocked = self.connections.values().any(|(_, unsent)| !unsent.is_empty());
        // While a socket is full its output stays queued, so only timers count, and the next try.
        let retry = blocked.then(|| self.now() + Duration::from_millis(20));
        let timer = if blocked { self.endpoint.next_timer().map(|t| t.0) } else { self.endpoint.poll_timeout() };
        let wake = [timer, until, retry].into_iter().flatten().min();
        let sleep = wake.map_or(Duration::from_secs(60), |at| at - self.now()).max(Duration::from_millis(1));
        let mut buffer = [0; 65_535];
        self.udp.set_read_timeout(Some(sleep))?;
        // An error is a time-out, or an ICMP report of an earlier datagram, which Timer F tells of too.
        if let Ok((len @ 1.., from)) = self.udp.recv_from(&mut buffer) {
            (self.trace)(false, &buffer[..len]);
            let _ = self.endpoint.handle_message(self.now(), Flow::udp(self.local, from), &buffer[..len]);
        }
        while let Ok(job) = self.jobs.1.try_recv() {
            job(self);
        }
        self.connections.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.write(id, &[]));
        self.endpoint.handle_timeout(self.now());
        Ok(self.drain())
    }

    /// Sends what is due, and does what the endpoint asks of its driver.
    pub fn drain(&mut self) -> Vec<Event> {
        let (mut events, mut buffer) = (Vec::new(), Vec::with_capacity(2048));
        while let Some(transmit) = self.endpoint.poll_transmit(self.now(), &mut buffer) {
            transmit.append_body(&mut buffer);
            (self.trace)(true, &buffer);
            match transmit.flow.stream {
                Some(id) => self.write(id, &buffer),
                None if self.udp.send_to(&buffer, transmit.flow.remote).is_ok() => {}
                None => self.endpoint.handle_transmit_failed(self.now(), transmit.id),
            }
            buffer.clear();
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Io(Io::Connect { connect, transport: Transport::Tcp, remote, .. }) => self.spawn(move |put| {
                    let stream = TcpStream::connect_timeout(&remote, Duration::from_secs(5));
                    put(Box::new(move |d| match stream {
                        Ok(stream) => d.open(Some(connect), stream),
                        Err(_) => _ = d.endpoint.handle_connect_failed(d.now(), connect, ConnectFailure::Refused),
                    }));
                }),
                Event::Io(Io::Connect { connect, .. }) => {
                    _ = self.endpoint.handle_connect_failed(self.now(), connect, ConnectFailure::NotPossible);
                }
                Event::Io(Io::Resolve { query, question }) => self.spawn(move |put| {
                    let found = lookup(&question);
                    put(Box::new(move |d| {
                        let ttl = Duration::from_secs(60);
                        let answer = found.as_deref().map(|addresses| Answer::Addresses { addresses, ttl });
                        _ = d.endpoint.handle_resolved(
                            d.now(),
                            query,
                            answer.unwrap_or_else(|why| Answer::Failed(*why)),
                        );
                    }));
                }),
                Event::Io(Io::Close { stream }) => self.close(stream),
                event => events.push(event),
            }
        }
        events
    }

    fn open(&mut self, connect: Option<ConnectId>, stream: TcpStream) {
        let (Ok(remote), Ok(mut reader)) = (stream.peer_addr(), stream.try_clone()) else { return };
        // A write that would block gives up after a millisecond, and is tried again later.
        let _ = stream.set_write_timeout(Some(Duration::from_millis(1)));
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let flow = Flow::stream(Transport::Tcp, self.local, remote, id);
        if self.endpoint.handle_stream_opened(self.now(), connect, flow).is_ok() {
            self.connections.insert(id, (stream, Vec::new()));
            self.spawn(move |put| {
                let mut buffer = [0; 16_384];
                while let Ok(len @ 1..) = reader.read(&mut buffer) {
                    let bytes = buffer[..len].to_vec();
                    put(Box::new(move |d| {
                        (d.trace)(false, &bytes);
                        _ = d.endpoint.handle_stream(d.now(), id, &bytes);
                    }));
                }
                put(Box::new(move |d| d.close(id)));
            });
        }
    }

    fn write(&mut self, id: StreamId, bytes: &[u8]) {
        let Some((stream, unsent)) = self.connections.get_mut(&id) else { return };
        let was_blocked = !unsent.is_empty();
        unsent.extend_from_slice(bytes);
        while !unsent.is_empty() {
            match stream.write(unsent) {
                Ok(len @ 1..) => drop(unsent.drain(..len)),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                _ => return self.close(id),
            }
        }
        let writable = unsent.is_empty();
        if writable == was_blocked {
            let _ = self.endpoint.set_writable(self.now(), id, writable);
        }
    }

    fn close(&mut self, id: StreamId) {
        if let Some((stream, _)) = self.connections.remove(&id) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = self.endpoint.handle_stream_closed(self.now(), id);
        }
    }
}

/// The system's resolver knows addresses only.
fn lookup(question: &Question) -> Result<Vec<IpAddr>, ResolveFailure> {
    let (QuestionKind::Address, Ok(name)) = (question.kind, std::str::from_utf8(&question.name)) else {
        return Err(ResolveFailure::NotSupported);
    };
    let found = (name, 0).to_socket_addrs().map_err(|_| ResolveFailure::NotFound)?;
    Ok(found.map(|address| address.ip()).collect())
}
