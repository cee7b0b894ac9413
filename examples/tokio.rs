//! The same loop on tokio: one task owns the endpoint; a task for each
//! connection reads it, another writes it from a bounded channel, and a full
//! channel is what back-pressure looks like. Runs a notifier and a watcher in
//! two such tasks; `--transport tcp` for connections.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_events::wire::Transport;
use sip_events::{
    Answer, Authentication, Body, Clock, Config, ConnectFailure, ConnectId, Decision, Ending, Endpoint, Event, Flow,
    Instant, Io, Packages, QuestionKind, ResolveFailure, ResourceKey, Scope, Seed, StreamId, Subscribe,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// What the tasks around the loop report to it.
enum Input {
    Opened(ConnectId, io::Result<TcpStream>),
    Bytes(StreamId, Vec<u8>),
    Written(StreamId),
    Closed(StreamId),
}

/// Messages that wait to be written to one connection.
const DEPTH: usize = 16;

struct Driver {
    endpoint: Endpoint,
    local: SocketAddr,
    clock: Clock,
    udp: UdpSocket,
    listener: TcpListener,
    inputs: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    writers: HashMap<StreamId, mpsc::Sender<Vec<u8>>>,
    next_stream: u64,
}

impl Driver {
    async fn bind(user: &str, seed: u8) -> io::Result<Self> {
        let udp = UdpSocket::bind("127.0.0.1:0").await?;
        let local = udp.local_addr()?;
        let listener = TcpListener::bind(local).await?;
        let config = Config::new(&format!("sip:{user}@127.0.0.1")).map_err(io::Error::other)?;
        let config = config.with_authentication(Authentication::None);
        let clock = Clock::new(std::time::Instant::now());
        // A fixed seed makes the example repeatable; a real program takes it from the system.
        let seed = Seed([seed; 32]);
        let mut endpoint = Endpoint::new(Arc::new(config), Packages::standard(), &seed, Instant::ZERO);
        endpoint.add_local(Transport::Udp, local, None, None).map_err(io::Error::other)?;
        endpoint.add_local(Transport::Tcp, local, None, None).map_err(io::Error::other)?;
        let (inputs, writers) = (mpsc::channel(256), HashMap::new());
        Ok(Self { endpoint, local, clock, udp, listener, inputs, writers, next_stream: 0 })
    }

    fn now(&self) -> Instant {
        self.clock.convert(std::time::Instant::now())
    }

    /// One input or timer, then everything that it leads to.
    async fn turn(&mut self) -> Vec<Event> {
        let mut events = self.drain().await;
        if events.is_empty() {
            let sleep = self.endpoint.poll_timeout().map_or(Duration::from_secs(60), |at| at - self.now());
            let mut buffer = vec![0; 65_535];
            tokio::select! {
                received = self.udp.recv_from(&mut buffer) => {
                    if let Ok((len, from)) = received {
                        let flow = Flow::udp(self.local, from);
                        let _ = self.endpoint.handle_message(self.now(), flow, &buffer[..len]);
                    }
                }
                Ok((stream, _)) = self.listener.accept() => self.open(None, stream),
                Some(input) = self.inputs.1.recv() => self.take(input),
                () = tokio::time::sleep(sleep) => {}
            }
            self.endpoint.handle_timeout(self.now());
            events = self.drain().await;
        }
        events
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Opened(connect, Ok(stream)) => self.open(Some(connect), stream),
            Input::Opened(connect, Err(_)) => {
                let _ = self.endpoint.handle_connect_failed(now, connect, ConnectFailure::Refused);
            }
            Input::Bytes(id, bytes) => _ = self.endpoint.handle_stream(now, id, &bytes),
            Input::Written(id) => _ = self.endpoint.set_writable(now, id, true),
            Input::Closed(id) => {
                if self.writers.remove(&id).is_some() {
                    let _ = self.endpoint.handle_stream_closed(now, id);
                }
            }
        }
    }

    fn open(&mut self, connect: Option<ConnectId>, stream: TcpStream) {
        let Ok(remote) = stream.peer_addr() else { return };
        self.next_stream += 1;
        let id = StreamId(self.next_stream);
        let flow = Flow::stream(Transport::Tcp, self.local, remote, id);
        let Ok(()) = self.endpoint.handle_stream_opened(self.now(), connect, flow) else { return };
        let (mut reader, mut writer) = stream.into_split();
        let (sender, mut unsent) = mpsc::channel::<Vec<u8>>(DEPTH);
        self.writers.insert(id, sender);
        let inputs = self.inputs.0.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 16_384];
            while let Ok(len @ 1..) = reader.read(&mut buffer).await {
                let _ = inputs.send(Input::Bytes(id, buffer[..len].to_vec())).await;
            }
            let _ = inputs.send(Input::Closed(id)).await;
        });
        let inputs = self.inputs.0.clone();
        tokio::spawn(async move {
            while let Some(bytes) = unsent.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    let _ = inputs.send(Input::Closed(id)).await;
                    return;
                }
                if unsent.is_empty() {
                    let _ = inputs.send(Input::Written(id)).await;
                }
            }
        });
    }

    /// Sends what is due, and does what the endpoint asks of its driver.
    async fn drain(&mut self) -> Vec<Event> {
        let (mut events, mut buffer) = (Vec::new(), Vec::new());
        while let Some(transmit) = self.endpoint.poll_transmit(self.now(), &mut buffer) {
            transmit.append_body(&mut buffer);
            let bytes = std::mem::take(&mut buffer);
            match transmit.flow.stream {
                None => {
                    if self.udp.send_to(&bytes, transmit.flow.remote).await.is_err() {
                        self.endpoint.handle_transmit_failed(self.now(), transmit.id);
                    }
                }
                Some(id) => {
                    let Some(writer) = self.writers.get(&id) else { continue };
                    let sent = writer.try_send(bytes).is_ok();
                    if !sent {
                        self.endpoint.handle_transmit_failed(self.now(), transmit.id);
                    } else if writer.capacity() == 0 {
                        // Nothing more for this connection until its task has caught up.
                        let _ = self.endpoint.set_writable(self.now(), id, false);
                    }
                }
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Io(Io::Connect { connect, transport: Transport::Tcp, remote, .. }) => {
                    let inputs = self.inputs.0.clone();
                    tokio::spawn(async move {
                        let _ = inputs.send(Input::Opened(connect, TcpStream::connect(remote).await)).await;
                    });
                }
                Event::Io(Io::Connect { connect, .. }) => {
                    let _ = self.endpoint.handle_connect_failed(self.now(), connect, ConnectFailure::NotPossible);
                }
                Event::Io(Io::Resolve { query, question }) => {
                    let name = String::from_utf8_lossy(&question.name).into_owned();
                    let found = tokio::net::lookup_host((name, 0)).await.map(|a| a.map(|a| a.ip()).collect::<Vec<_>>());
                    let answer = match (question.kind, &found) {
                        (QuestionKind::Address, Ok(addresses)) => {
                            Answer::Addresses { addresses, ttl: Duration::from_secs(60) }
                        }
                        (QuestionKind::Address, Err(_)) => Answer::Failed(ResolveFailure::NotFound),
                        _ => Answer::Failed(ResolveFailure::NotSupported),
                    };
                    let _ = self.endpoint.handle_resolved(self.now(), query, answer);
                }
                // Dropping the sender ends the writing task, which closes the connection.
                Event::Io(Io::Close { stream }) => self.take(Input::Closed(stream)),
                event => events.push(event),
            }
        }
        events
    }
}

async fn notifier(mut driver: Driver, key: ResourceKey) -> io::Result<()> {
    let bob = driver.endpoint.add_resource(&key).map_err(io::Error::other)?;
    let state = |text: &'static str| Body::from_static("application/simple-message-summary", text.as_bytes());
    let set = driver.endpoint.set_state(driver.now(), bob, state("Messages-Waiting: no\r\n"));
    set.map_err(io::Error::other)?;
    loop {
        for event in driver.turn().await {
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

async fn watcher(mut driver: Driver, uri: String) -> io::Result<Vec<String>> {
    let request = Subscribe::new(&uri, "message-summary").map_err(io::Error::other)?;
    let id = driver.endpoint.subscribe(driver.now(), request).map_err(io::Error::other)?;
    let mut heard = Vec::new();
    loop {
        for event in driver.turn().await {
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
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let tcp = std::env::args().skip(1).collect::<Vec<_>>() == ["--transport", "tcp"];
    let (ann, bob) = (Driver::bind("ann", 1).await?, Driver::bind("bob", 2).await?);
    let uri = format!("sip:bob@{};transport={}", bob.local, if tcp { "tcp" } else { "udp" });
    let key = ResourceKey::new(&uri, "message-summary").map_err(io::Error::other)?;
    let both = async { tokio::join!(notifier(bob, key), watcher(ann, uri)) };
    let (served, heard) = tokio::time::timeout(Duration::from_secs(40), both).await?;
    served?;
    let expected = ["Messages-Waiting: no", "Messages-Waiting: yes", "Messages-Waiting: yes"];
    let heard = heard?;
    if heard == expected { Ok(()) } else { Err(io::Error::other(format!("heard {heard:?}"))) }
}
