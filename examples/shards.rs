//! Several endpoints behind one UDP socket, a thread each: notifiers that accept whatever is asked for.
//!
//! `cargo run --release --example shards -- --bind 127.0.0.1:5070 --shards 2` serves. With `--measure 20000`
//! it also subscribes that many times to itself, once with one shard and once with as many as were asked for,
//! and prints the processor time of each thread: what the busiest one needs bounds the throughput.
#![allow(clippy::disallowed_methods)]
use cpu_time::ThreadTime;
use sip_events::package::Opaque;
use sip_events::wire::Transport;
use sip_events::{
    Authentication, Body, Clock, Config, Decision, Endpoint, Event, Flow, Instant, Packages, Policy, Seed, Shards,
    UnknownResource,
};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant as Now};
use std::{error::Error, io::Read, thread};

type Datagram = (Vec<u8>, SocketAddr);
const PACKAGE: &str = "x-shards";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (mut bind, mut count, mut measure) = ("127.0.0.1:5070".parse()?, 2, None);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or("--bind ADDRESS, --shards NUMBER, --measure SUBSCRIPTIONS")?;
        match arg.as_str() {
            "--bind" => bind = value.parse()?,
            "--shards" => count = value.parse()?,
            "--measure" => measure = Some(value.parse()?),
            _ => return Err("unknown option".into()),
        }
    }
    let Some(subscriptions) = measure else {
        return serve(&UdpSocket::bind(bind)?, count, &AtomicBool::new(false)).map(|_| ());
    };
    let one = trial(bind, 1, subscriptions)?;
    let all = trial(bind, count, subscriptions)?;
    println!("throughput by the busiest thread: {:.2} times that of one shard", one.as_secs_f64() / all.as_secs_f64());
    Ok(())
}

/// Reads the socket and hands each datagram to its shard, until `stop` says otherwise. The processor time of
/// the dispatcher, then of each shard.
fn serve(socket: &UdpSocket, count: u8, stop: &AtomicBool) -> Result<Vec<Duration>, Box<dyn Error>> {
    let seed = || -> std::io::Result<Seed> {
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Seed(seed))
    };
    let (shards, local, clock) = (Shards::new(&seed()?, count)?, socket.local_addr()?, Clock::new(Now::now()));
    let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
    // Any resource is served.
    let mut policy = Policy::default();
    policy.unknown_resource = UnknownResource::Ask;
    for number in 0..count {
        let (inbox, messages) = mpsc::sync_channel::<Datagram>(4_096);
        let config = Config::new(&format!("sip:shards@{}", local.ip()))?
            .with_shard(number)
            .with_policy(policy)
            .with_authentication(Authentication::None);
        let mut packages = Packages::new();
        packages.register(Opaque::new(PACKAGE))?;
        let mut endpoint = Endpoint::new(Arc::new(config), packages, &seed()?, Instant::ZERO);
        endpoint.add_local(Transport::Udp, local, None, None)?;
        let socket = socket.try_clone()?;
        threads.push(thread::spawn(move || shard(endpoint, &messages, &socket, local, &clock)));
        inboxes.push(inbox);
    }
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (mut buffer, start) = (vec![0; 65_535], ThreadTime::now());
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let message = &buffer[..len];
        if let Some(inbox) = inboxes.get(usize::from(shards.owner(message))) {
            // A full inbox is a full socket: who sent it sends it again.
            let _ = inbox.try_send((message.to_vec(), from));
        }
    }
    let dispatcher = start.elapsed();
    drop(inboxes);
    let shards = threads.into_iter().map(|thread| thread.join().map_err(|_| "a shard died".into()));
    std::iter::once(Ok(dispatcher)).chain(shards).collect()
}

/// One endpoint, until its inbox is closed. How much processor time it took.
fn shard(
    mut endpoint: Endpoint,
    inbox: &mpsc::Receiver<Datagram>,
    socket: &UdpSocket,
    local: SocketAddr,
    clock: &Clock,
) -> Duration {
    let (start, mut head) = (ThreadTime::now(), Vec::new());
    loop {
        let now = clock.convert(Now::now());
        let sleep = endpoint.poll_timeout().map_or(Duration::from_secs(60), |at| at - now);
        match inbox.recv_timeout(sleep.max(Duration::from_millis(1))) {
            Ok((message, from)) => {
                let _ = endpoint.handle_message(clock.convert(Now::now()), Flow::udp(local, from), &message);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return start.elapsed(),
        }
        let now = clock.convert(Now::now());
        endpoint.handle_timeout(now);
        while let Some(event) = endpoint.poll_event() {
            if let Event::Subscribe(incoming) = event
                && let Ok(watcher) = endpoint.accept(now, incoming, Decision::ACCEPT)
                && let Ok(resource) = endpoint.watcher(watcher).map(|watcher| watcher.resource)
            {
                let _ = endpoint.set_state(now, resource, Body::from_static("text/plain", b"here"));
            }
        }
        while let Some(transmit) = endpoint.poll_transmit(now, &mut head) {
            transmit.append_body(&mut head);
            let _ = socket.send_to(&head, transmit.flow.remote);
            head.clear();
        }
    }
}

/// Subscribes to so many resources, 64 at a time. What the busiest thread of the server took.
fn trial(bind: SocketAddr, count: u8, subscriptions: u32) -> Result<Duration, Box<dyn Error>> {
    let (server, stop) = (UdpSocket::bind(bind)?, AtomicBool::new(false));
    let client = UdpSocket::bind((bind.ip(), 0))?;
    client.set_read_timeout(Some(Duration::from_millis(100)))?;
    let spent = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let server = scope.spawn(|| serve(&server, count, &stop).map_err(|error| error.to_string()));
        let watched = watch(&client, bind, subscriptions);
        stop.store(true, Ordering::Relaxed);
        let spent = server.join().map_err(|_| "the server died")??;
        watched.map(|()| spent)
    })?;
    let each = |spent: &Duration| format!("{:.1}", spent.as_secs_f64() * 1e6 / f64::from(subscriptions));
    let shards: Vec<_> = spent.iter().skip(1).map(each).collect();
    println!("shards {count}: dispatcher {} us, shards {} us a subscription", each(&spent[0]), shards.join(" and "));
    Ok(spent.into_iter().max().unwrap_or_default())
}

fn watch(client: &UdpSocket, server: SocketAddr, subscriptions: u32) -> Result<(), Box<dyn Error>> {
    let local = client.local_addr()?;
    let subscribe = |number: u32| {
        format!(
            "SUBSCRIBE sip:user{number}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:w@{local}>;tag=t{number}\r\nTo: <sip:user{number}@{server}>\r\n\
             Call-ID: {number}@{local}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:w@{local}>\r\nEvent: {PACKAGE}\r\n\
             Expires: 3600\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let (mut open, mut next, mut buffer) = (HashMap::new(), 0, vec![0; 65_535]);
    while next < subscriptions || !open.is_empty() {
        while open.len() < 64 && next < subscriptions {
            open.insert(format!("{next}@{local}"), (subscribe(next), Now::now()));
            client.send_to(subscribe(next).as_bytes(), server)?;
            next += 1;
        }
        if let Ok((len, from)) = client.recv_from(&mut buffer)
            && buffer.starts_with(b"NOTIFY ")
        {
            let mut answer = String::from("SIP/2.0 200 OK\r\n");
            for line in String::from_utf8_lossy(&buffer[..len]).split_inclusive("\r\n").skip(1) {
                if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                    answer.push_str(line);
                }
                if let Some(call) = line.strip_prefix("Call-ID: ") {
                    open.remove(call.trim());
                }
            }
            client.send_to(format!("{answer}Content-Length: 0\r\n\r\n").as_bytes(), from)?;
        }
        for (text, sent) in open.values_mut().filter(|(_, sent)| sent.elapsed() > Duration::from_millis(500)) {
            client.send_to(text.as_bytes(), server)?;
            *sent = Now::now();
        }
    }
    Ok(())
}
