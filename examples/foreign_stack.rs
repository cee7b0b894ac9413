//! The agent under somebody else's SIP stack: a stack of its own, much too
//! small for anything else, that owns parsing, transactions, retransmission
//! and sockets. Two of them talk over loopback UDP; one in five datagrams is
//! thrown away, so the stack's transactions have work to do.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant as Now};

use sip_events::agent::{Origin, Outgoing, RequestId, Token};
use sip_events::wire::{HeaderName, MessageView, Method, StatusCode, Transport};
use sip_events::{
    Agent, Authentication, Body, Clock, Config, Decision, Event, Failure, Flow, Packages, ResourceKey, Scope, Seed,
    Subscribe,
};

/// The other stack's own idea of a message: lines and a body.
struct Text {
    start: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Text {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_string();
        let field = |line: &str| line.split_once(':').map(|(n, v)| (n.trim().to_string(), v.trim().to_string()));
        Some(Self { start, fields: lines.filter_map(field).collect(), body: bytes[end + 4..].to_vec() })
    }

    fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v)
    }

    fn branch(&self) -> &str {
        self.get("Via").split(";branch=").nth(1).unwrap_or_default()
    }
}

/// What the agent needs to know of it.
impl MessageView for Text {
    fn request_uri(&self) -> Option<&[u8]> {
        let uri = self.start.split(' ').nth(1)?;
        (!self.start.starts_with("SIP/")).then_some(uri.as_bytes())
    }

    fn field(&self, name: HeaderName<'_>, nth: usize) -> Option<&[u8]> {
        let same = |(n, _): &&(String, String)| HeaderName::from_bytes(n.as_bytes()) == name;
        self.fields.iter().filter(same).nth(nth).map(|(_, v)| v.as_bytes())
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A request that waits for its final response.
struct Client {
    id: RequestId,
    bytes: Vec<u8>,
    to: SocketAddr,
    again: Now,
    interval: Duration,
    give_up: Now,
}

struct Stack {
    agent: Agent,
    socket: UdpSocket,
    local: SocketAddr,
    clock: Clock,
    clients: HashMap<String, Client>,
    /// Requests received, by number: their branch, text, source, and our final response.
    servers: Vec<(String, Text, SocketAddr, Option<Vec<u8>>)>,
    sent: u32,
    thrown_away: u32,
}

const T1: Duration = Duration::from_millis(500);

impl Stack {
    fn new(user: &str, seed: u8) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let local = socket.local_addr()?;
        let clock = Clock::new(Now::now());
        let config = Config::new(&format!("sip:{user}@127.0.0.1")).map_err(io::Error::other)?;
        let config = config.with_authentication(Authentication::None);
        let now = clock.convert(Now::now());
        // A fixed seed makes the example repeatable; a real program takes it from the system.
        let mut agent = Agent::new(Arc::new(config), Packages::standard(), &Seed([seed; 32]), now);
        agent.add_local(Transport::Udp, local, None, None).map_err(io::Error::other)?;
        Ok(Self { agent, socket, local, clock, clients: HashMap::new(), servers: Vec::new(), sent: 0, thrown_away: 0 })
    }

    fn now(&self) -> sip_events::Instant {
        self.clock.convert(Now::now())
    }

    /// Every fifth datagram is lost.
    fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.sent += 1;
        if self.sent % 5 == 3 {
            self.thrown_away += 1;
            return Ok(());
        }
        self.socket.send_to(bytes, to).map(|_| ())
    }

    /// One turn: receive, retransmit, let the agent's timers fire, send what it has to say.
    fn turn(&mut self) -> io::Result<Vec<Event>> {
        let mut buffer = [0; 65_535];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer)
            && let Some(text) = Text::parse(&buffer[..len])
        {
            match text.start.starts_with("SIP/") {
                true => self.response(&text),
                false => self.request(text, from)?,
            }
        }
        self.retransmit()?;
        if self.agent.poll_timeout().is_some_and(|at| at <= self.now()) {
            self.agent.handle_timeout(self.now());
        }
        self.drain()?;
        Ok(std::iter::from_fn(|| self.agent.poll_event()).collect())
    }

    fn request(&mut self, text: Text, from: SocketAddr) -> io::Result<()> {
        let known =
            self.servers.iter().find(|(branch, known, ..)| branch == text.branch() && known.start == text.start);
        if let Some((.., response)) = known {
            // A retransmission: the same answer again, and the agent does not hear of it.
            return match response.clone() {
                Some(response) => self.send(&response, from),
                None => Ok(()),
            };
        }
        let method = text.start.split(' ').next().unwrap_or_default().to_string();
        let token = Token(self.servers.len() as u64);
        let origin = Origin::new(Flow::udp(self.local, from));
        let _ = self.agent.handle_request(self.now(), &origin, &Method::from_bytes(method.as_bytes()), token, &text);
        self.servers.push((text.branch().to_string(), text, from, None));
        Ok(())
    }

    fn response(&mut self, text: &Text) {
        let status = text.start.split(' ').nth(1).and_then(|code| StatusCode::from_bytes(code.as_bytes()));
        if let (Some(status), Some(client)) = (status, self.clients.remove(text.branch())) {
            self.agent.handle_response(self.now(), client.id, status, text);
        }
    }

    fn retransmit(&mut self) -> io::Result<()> {
        let now = Now::now();
        let due: Vec<String> = self.clients.iter().filter(|(_, c)| c.again <= now).map(|(b, _)| b.clone()).collect();
        for branch in due {
            let Some(mut client) = self.clients.remove(&branch) else { continue };
            if client.give_up <= now {
                self.agent.handle_no_response(self.now(), client.id, Failure::Timeout);
                continue;
            }
            self.send(&client.bytes, client.to)?;
            client.interval = (client.interval * 2).min(8 * T1);
            client.again = now + client.interval;
            self.clients.insert(branch, client);
        }
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        let mut head = Vec::new();
        while let Some(out) = self.agent.poll_outgoing(self.now(), &mut head) {
            match out {
                Outgoing::Request(request) => {
                    let branch = format!("z9hG4bK-{}-{}", self.local.port(), self.sent);
                    let hop = String::from_utf8_lossy(&head[request.next_hop.clone()]).into_owned();
                    let via = format!("Via: SIP/2.0/UDP {};branch={branch}\r\nMax-Forwards: 70\r\n", self.local);
                    head.splice(request.via_at..request.via_at, via.into_bytes());
                    head.extend(format!("Content-Length: {}\r\n\r\n", request.body_len()).into_bytes());
                    head.extend_from_slice(&request.body);
                    // This stack's name resolution: everybody is on loopback, with a port.
                    let port = hop.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(5060);
                    let (to, now) = (SocketAddr::from(([127, 0, 0, 1], port)), Now::now());
                    self.send(&head, to)?;
                    let bytes = head.clone();
                    let give_up = now + 64 * T1;
                    let client = Client { id: request.id, bytes, to, again: now + T1, interval: T1, give_up };
                    self.clients.insert(branch, client);
                }
                Outgoing::Response(response) => {
                    let Some((_, request, from, _)) = self.servers.get(response.token.0 as usize) else { continue };
                    let reason = response.reason.unwrap_or(response.status.default_reason());
                    let mut text = format!("SIP/2.0 {} {reason}\r\n", response.status.as_u16()).into_bytes();
                    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
                        text.extend(format!("{name}: {}", request.get(name)).into_bytes());
                        if let ("To", Some(tag)) = (name, response.to_tag) {
                            text.extend_from_slice(b";tag=");
                            tag.write(&mut text);
                        }
                        text.extend_from_slice(b"\r\n");
                    }
                    text.extend_from_slice(&head);
                    text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
                    let from = *from;
                    self.send(&text, from)?;
                    self.servers[response.token.0 as usize].3 = Some(text);
                }
                Outgoing::Abandon(id) => self.clients.retain(|_, client| client.id != id),
                _ => {}
            }
            head.clear();
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let (mut ann, mut bob) = (Stack::new("ann", 1)?, Stack::new("bob", 2)?);
    let uri = format!("sip:bob@{}", bob.local);
    let key = ResourceKey::new(&uri, "message-summary").map_err(io::Error::other)?;
    let mailbox = bob.agent.add_resource(&key).map_err(io::Error::other)?;
    let summary = |text: &'static str| Body::from_static("application/simple-message-summary", text.as_bytes());
    let request = Subscribe::new(&uri, "message-summary").map_err(io::Error::other)?;
    let id = ann.agent.subscribe(ann.now(), request).map_err(io::Error::other)?;
    let patience = Now::now() + Duration::from_secs(60);
    let (mut heard, mut over) = (Vec::new(), false);
    while !over && Now::now() < patience {
        for event in ann.turn()? {
            match event {
                Event::Notify { body: Some(body), state, .. } => {
                    let text = String::from_utf8_lossy(&body.data).trim().to_string();
                    println!("ann hears: {text} ({state:?})");
                    match heard.len() {
                        0 => _ = bob.agent.set_state(bob.now(), mailbox, summary("Messages-Waiting: yes\r\n")),
                        1 => _ = ann.agent.unsubscribe(ann.now(), id, Scope::This),
                        _ => {}
                    }
                    heard.push(text);
                }
                Event::Terminated { why, .. } => {
                    println!("ann's subscription is over: {why:?}");
                    over = true;
                }
                _ => {}
            }
        }
        for event in bob.turn()? {
            if let Event::Subscribe(incoming) = event {
                let accepted = bob.agent.accept(bob.now(), incoming, Decision::ACCEPT);
                println!("bob accepts {:?}", accepted.map_err(io::Error::other)?);
            }
        }
    }
    let lost = ann.thrown_away + bob.thrown_away;
    println!("{lost} of {} datagrams were thrown away on the way", ann.sent + bob.sent);
    let expected = ["Messages-Waiting: no", "Messages-Waiting: yes", "Messages-Waiting: yes"];
    if heard == expected && over { Ok(()) } else { Err(io::Error::other(format!("heard {heard:?}"))) }
}
