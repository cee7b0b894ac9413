//! A change of state told to 100,000 watchers over one TCP connection, with a
//! socket that takes what it takes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant as Now};

use cpu_time::ThreadTime;
use sip_events::wire::{Frame, Framer, FramerLimits, Transport};
use sip_events::{Clock, Decision, Endpoint, Event, Flow, StreamId};

use crate::peer::{self, Ask, ok};
use crate::{Outcome, PATIENCE, live_bytes, row};

const WATCHERS: u32 = 100_000;
const CHANGES: u32 = 2;
const STREAM: StreamId = StreamId(1);

pub fn run() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    let client = TcpStream::connect(server)?;
    let (stream, remote) = listener.accept()?;
    std::thread::scope(|scope| -> Outcome {
        let answering = scope.spawn(|| answer(client).map_err(|error| error.to_string()));
        let result = notify(stream, server, remote);
        answering.join().map_err(|_| "the watchers died")??;
        result
    })
}

/// Answers whatever NOTIFY comes, until the connection closes.
fn answer(mut stream: TcpStream) -> Outcome {
    stream.set_nodelay(true)?;
    let mut framer = Framer::new(FramerLimits::default());
    let (mut buffer, mut answers) = (vec![0; 65_536], Vec::new());
    let start = Now::now();
    loop {
        let len = match stream.read(&mut buffer) {
            Ok(len @ 1..) => len,
            _ => return Ok(()),
        };
        framer.push(sip_events::Instant::ZERO + start.elapsed(), &buffer[..len]);
        while let Some(frame) = framer.next_message().map_err(|lost| lost.to_string())? {
            if let Frame::Message(message) = frame
                && message.starts_with(b"NOTIFY ")
            {
                answers.extend_from_slice(ok(std::str::from_utf8(message)?).as_bytes());
            }
        }
        if !answers.is_empty() && stream.write_all(&answers).is_err() {
            return Ok(());
        }
        answers.clear();
    }
}

/// The driver: a socket, a buffer, and what the socket did not take.
struct Driver {
    endpoint: Endpoint,
    clock: Clock,
    stream: TcpStream,
    unsent: Vec<u8>,
    buffer: Vec<u8>,
    peak: isize,
    answered: u32,
}

impl Driver {
    fn send(&mut self) -> Outcome {
        let now = self.clock.convert(Now::now());
        loop {
            // Gathered, so that a call of the system takes many.
            while self.unsent.len() < 32_768 {
                let Some(transmit) = self.endpoint.poll_transmit(now, &mut self.unsent) else { break };
                transmit.append_body(&mut self.unsent);
                self.peak = self.peak.max(live_bytes());
            }
            let events = self.events()?;
            if self.unsent.is_empty() && !events {
                return Ok(());
            }
            match self.stream.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.endpoint.set_writable(now, STREAM, false)?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            self.endpoint.set_writable(now, STREAM, true)?;
        }
    }

    fn events(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let now = self.clock.convert(Now::now());
        let mut any = false;
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Subscribe(incoming) => {
                    any = true;
                    let watcher = self.endpoint.accept(now, incoming, Decision::ACCEPT)?;
                    self.endpoint.report_delivery(watcher, true)?;
                }
                Event::Notified { .. } => self.answered += 1,
                _ => {}
            }
        }
        Ok(any)
    }

    fn until(&mut self, answered: u32) -> Outcome {
        let start = Now::now();
        while self.answered < answered {
            self.send()?;
            match self.stream.read(&mut self.buffer) {
                Ok(len @ 1..) => {
                    let now = self.clock.convert(Now::now());
                    self.endpoint.handle_stream(now, STREAM, &self.buffer[..len])?;
                }
                Ok(0) => return Err("the connection closed".into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_micros(100)),
                Err(error) => return Err(error.into()),
            }
            self.endpoint.handle_timeout(self.clock.convert(Now::now()));
            if start.elapsed() > PATIENCE {
                return Err("the watchers do not keep up".into());
            }
        }
        Ok(())
    }
}

fn notify(stream: TcpStream, server: SocketAddr, remote: SocketAddr) -> Outcome {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let (mut endpoint, resource) = peer::notifier(Transport::Tcp, server)?;
    let clock = Clock::new(Now::now());
    let flow = Flow::stream(Transport::Tcp, server, remote, STREAM);
    endpoint.handle_stream_opened(clock.convert(Now::now()), None, flow)?;
    let (unsent, buffer) = (Vec::with_capacity(65_536), vec![0; 65_536]);
    let mut driver = Driver { endpoint, clock, stream, unsent, buffer, peak: 0, answered: 0 };
    let ask = Ask { transport: "TCP", local: remote, server, package: peer::PACKAGE };
    for number in 0..WATCHERS {
        let text = ask.subscribe(number, 1, None, 3_600);
        let now = driver.clock.convert(Now::now());
        driver.endpoint.handle_stream(now, STREAM, text.as_bytes())?;
        driver.send()?;
        if number % 64 == 63 {
            driver.until(number - 63)?;
        }
    }
    driver.until(WATCHERS)?;
    let (mut best, mut wall, mut peak) = (f64::INFINITY, f64::INFINITY, 0);
    let before = driver.endpoint.stats().clone();
    for change in 1..=CHANGES {
        let (start, began, live) = (ThreadTime::now(), Now::now(), live_bytes());
        driver.peak = live;
        let now = driver.clock.convert(Now::now());
        driver.endpoint.set_state(now, resource, peer::body(change))?;
        driver.until((change + 1) * WATCHERS)?;
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(WATCHERS));
        wall = wall.min(began.elapsed().as_secs_f64());
        peak = peak.max(driver.peak - live);
    }
    let after = driver.endpoint.stats();
    let again = (after.retransmissions - before.retransmissions) as f64 * 100.0 / f64::from(CHANGES * WATCHERS);
    row("tcp fan-out, 100,000 watchers, one connection: processor each", best, "us", None);
    row("tcp fan-out: whole, as a clock sees it", wall * 1e3, "ms", None);
    row("tcp fan-out: retransmissions", again, "%", Some(1.0));
    row("tcp fan-out: memory above the idle state", peak as f64 / 1e3, "kB", Some(1_000.0));
    Ok(())
}
