//! A change of state told to 10,000 watchers over UDP, from one thread with one
//! socket, to 64 addresses that answer at once.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Now};

use cpu_time::ThreadTime;
use sip_events::wire::Transport;
use sip_events::{Clock, Decision, Endpoint, Event, Flow};

use crate::peer::{self, Ask, ok};
use crate::{Outcome, PATIENCE, live_bytes, row};

const WATCHERS: u32 = 10_000;
const ADDRESSES: usize = 64;
const CHANGES: u32 = 5;
/// Messages sent before answers are read.
const BATCH: u32 = 32;

pub fn run() -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let local = socket.local_addr()?;
    let peers: Vec<UdpSocket> =
        (0..ADDRESSES).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Outcome {
        let answering = scope.spawn(|| answer(&peers, &done).map_err(|error| error.to_string()));
        let result = notify(&socket, local, &peers);
        done.store(true, Ordering::Relaxed);
        answering.join().map_err(|_| "the watchers died")??;
        result
    })
}

/// Answers whatever NOTIFY comes.
fn answer(peers: &[UdpSocket], done: &AtomicBool) -> Outcome {
    let mut buffer = vec![0; 65_535];
    for peer in peers {
        peer.set_nonblocking(true)?;
    }
    while !done.load(Ordering::Relaxed) {
        let mut any = false;
        for peer in peers {
            while let Ok((len, from)) = peer.recv_from(&mut buffer) {
                any = true;
                if buffer.starts_with(b"NOTIFY ") {
                    peer.send_to(ok(std::str::from_utf8(&buffer[..len])?).as_bytes(), from)?;
                }
            }
        }
        if !any {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(())
}

/// The driver: nothing but a socket and a buffer.
struct Driver<'a> {
    endpoint: Endpoint,
    clock: Clock,
    socket: &'a UdpSocket,
    local: SocketAddr,
    head: Vec<u8>,
    buffer: Vec<u8>,
    peak: isize,
    answered: u32,
}

impl Driver<'_> {
    /// Sends a few messages, so that their answers fit into the socket until
    /// they are read; whether there were any.
    fn send(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let now = self.clock.convert(Now::now());
        let mut sent = 0;
        while sent < BATCH
            && let Some(transmit) = self.endpoint.poll_transmit(now, &mut self.head)
        {
            transmit.append_body(&mut self.head);
            // What the socket does not take is as good as lost.
            let _ = self.socket.send_to(&self.head, transmit.flow.remote);
            self.head.clear();
            self.peak = self.peak.max(live_bytes());
            sent += 1;
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Subscribe(incoming) => {
                    let watcher = self.endpoint.accept(now, incoming, Decision::ACCEPT)?;
                    self.endpoint.report_delivery(watcher, true)?;
                    sent += 1;
                }
                Event::Notified { .. } => self.answered += 1,
                _ => {}
            }
        }
        Ok(sent > 0)
    }

    /// Reads all that has come; whether there was anything.
    fn read(&mut self) -> bool {
        let mut any = false;
        while let Ok((len, from)) = self.socket.recv_from(&mut self.buffer) {
            any = true;
            let now = self.clock.convert(Now::now());
            let _ = self.endpoint.handle_message(now, Flow::udp(self.local, from), &self.buffer[..len]);
        }
        self.endpoint.handle_timeout(self.clock.convert(Now::now()));
        any
    }

    /// Until `answered` NOTIFYs have been.
    fn until(&mut self, answered: u32) -> Outcome {
        let start = Now::now();
        while self.answered < answered {
            if !(self.send()? | self.read()) {
                std::thread::sleep(Duration::from_micros(100));
            }
            if start.elapsed() > PATIENCE {
                return Err("the watchers do not keep up".into());
            }
        }
        Ok(())
    }
}

fn notify(socket: &UdpSocket, local: SocketAddr, peers: &[UdpSocket]) -> Outcome {
    let (endpoint, resource) = peer::notifier(Transport::Udp, local)?;
    let clock = Clock::new(Now::now());
    socket.set_nonblocking(true)?;
    let (head, buffer) = (Vec::with_capacity(4_096), vec![0; 65_535]);
    let mut driver = Driver { endpoint, clock, socket, local, head, buffer, peak: 0, answered: 0 };
    for (number, peer) in (0..WATCHERS).zip(peers.iter().cycle()) {
        let ask = Ask { transport: "UDP", local: peer.local_addr()?, server: local, package: peer::PACKAGE };
        // The SUBSCRIBE does not cross the socket, the NOTIFY does.
        let text = ask.subscribe(number, 1, None, 3_600);
        let now = driver.clock.convert(Now::now());
        let _ = driver.endpoint.handle_message(now, Flow::udp(local, ask.local), text.as_bytes());
        while driver.send()? {}
        if number % 64 == 63 {
            driver.until(number - 63)?;
        }
    }
    driver.until(WATCHERS)?;
    let (mut best, mut peak) = (f64::INFINITY, 0);
    let before = driver.endpoint.stats().clone();
    for change in 1..=CHANGES {
        let (start, live) = (ThreadTime::now(), live_bytes());
        driver.peak = live;
        let now = driver.clock.convert(Now::now());
        driver.endpoint.set_state(now, resource, peer::body(change))?;
        driver.until((change + 1) * WATCHERS)?;
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(WATCHERS));
        peak = peak.max(driver.peak - live);
    }
    let after = driver.endpoint.stats();
    let again = (after.retransmissions - before.retransmissions) as f64 * 100.0 / f64::from(CHANGES * WATCHERS);
    row("udp fan-out, 10,000 watchers: processor time each", best, "us", None);
    row("udp fan-out: retransmissions", again, "%", Some(1.0));
    row("udp fan-out: memory above the idle state", peak as f64 / 1e3, "kB", Some(1_000.0));
    Ok(())
}
