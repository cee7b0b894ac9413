//! The whole life of a subscription between two endpoints in this process,
//! over real loopback sockets, as a ladder.
// A driver is what reads the clock.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
mod driver;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use driver::Driver;
use driver::cli::ladder::Ladder;
use driver::cli::{Args, failed, line, wrong};
use sip_events::{
    Authentication, Body, Config, Decision, Ending, Event, PackageConfig, Packages, ResourceKey, Scope, Subscribe,
    SubscriptionState,
};

const USAGE: &str = "\
usage: demo [options]
  --transport udp|tcp   transport (udp)
  --package NAME        event package (presence)";

fn main() -> io::Result<()> {
    let mut args = Args::new(USAGE);
    let (mut transport, mut package) = (String::from("udp"), String::from("presence"));
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--transport" => transport = args.value(&arg),
            "--package" => package = args.value(&arg),
            other => wrong(&format!("{other} is no option")),
        }
    }
    if transport != "udp" && transport != "tcp" {
        wrong(&format!("--transport: {transport} is neither udp nor tcp"));
    }
    line("        ann, the watcher                            bob, the notifier");
    let mut world = World::new(&package, &transport)?;
    world.say("ann subscribes");
    world.until(|w| w.seen.len() == 1)?;
    world.say("bob's state changes");
    world.set_state(2);
    world.until(|w| w.seen.len() == 2)?;
    world.say("ann refreshes");
    let refreshed = world.ann.endpoint.refresh(world.ann.now(), world.subscription, None);
    refreshed.map_err(io::Error::other)?;
    world.until(|w| w.seen.len() == 3)?;
    world.say("ann unsubscribes");
    let left = world.ann.endpoint.unsubscribe(world.ann.now(), world.subscription, Scope::This);
    left.map_err(io::Error::other)?;
    world.until(|w| w.ended && w.gone)?;
    // The end of the last transaction is not waited for: it has no effect any more.
    let states = world.seen.iter().map(|(state, body)| format!("{state:?} {body}"));
    let expected = ["Active state 1", "Active state 2", "Active state 2", "Terminated state 2"];
    if !states.eq(expected) {
        failed(&format!("ann saw {:?}", world.seen));
    }
    line("        ann saw every state, in order; nothing is left on either side");
    Ok(())
}

struct World {
    ann: Driver,
    bob: Driver,
    package: String,
    subscription: sip_events::SubscriptionId,
    resource: sip_events::ResourceId,
    /// What ann was told.
    seen: Vec<(SubscriptionState, String)>,
    ended: bool,
    gone: bool,
}

impl World {
    fn new(package: &str, transport: &str) -> io::Result<Self> {
        let side = |user: &str| -> io::Result<(Driver, SocketAddr)> {
            let probe = std::net::TcpListener::bind("127.0.0.1:0")?;
            let address = probe.local_addr()?;
            drop(probe);
            let mut packages = Packages::standard();
            if !packages.contains(package) {
                packages.register_opaque(package).map_err(io::Error::other)?;
            }
            // The package's rate limit would make a reader wait for the second NOTIFY.
            let mut own = PackageConfig::new(package);
            own.min_interval = Some(Duration::ZERO);
            let config = Config::new(&format!("sip:{user}@127.0.0.1")).and_then(|c| c.with_package(own));
            let config = config.map(|c| c.with_authentication(Authentication::None));
            Ok((Driver::bind(address, config.map_err(io::Error::other)?, packages)?, address))
        };
        let ((mut ann, _), (mut bob, at)) = (side("ann")?, side("bob")?);
        let mut ladder = Ladder::new(line);
        ladder.peers = false;
        ann.trace = Box::new(move |sent, flow, bytes| ladder.message(sent, flow, bytes));
        let uri = format!("sip:bob@{at};transport={transport}");
        let key = ResourceKey::new(&uri, package).map_err(io::Error::other)?;
        let resource = bob.endpoint.add_resource(&key).map_err(io::Error::other)?;
        let request = Subscribe::new(&uri, package).map_err(io::Error::other)?.expires(600);
        let subscription = ann.endpoint.subscribe(ann.now(), request).map_err(io::Error::other)?;
        let (seen, package) = (Vec::new(), package.to_string());
        let mut world = Self { ann, bob, package, subscription, resource, seen, ended: false, gone: false };
        world.set_state(1);
        Ok(world)
    }

    fn say(&self, text: &str) {
        line(&format!("        * {text}"));
    }

    fn set_state(&mut self, number: u32) {
        let text = format!("state {number}");
        let body = match self.package.as_str() {
            "presence" => Body::new("application/pidf+xml", text),
            "message-summary" => Body::new("application/simple-message-summary", text),
            _ => Body::new("text/plain", text),
        };
        if let Err(error) = self.bob.endpoint.set_state(self.bob.now(), self.resource, body) {
            failed(&format!("bob's state: {error}"));
        }
    }

    /// Runs both sides until `done`.
    fn until(&mut self, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let patience = Instant::now() + Duration::from_secs(40);
        while !done(self) {
            if Instant::now() > patience {
                failed("the other side does not answer");
            }
            let soon = |d: &Driver| Some(d.now() + Duration::from_millis(2));
            for event in self.ann.turn(soon(&self.ann))? {
                match event {
                    Event::Notify { state, body, .. } => {
                        let text = body.map_or_else(String::new, |b| String::from_utf8_lossy(&b.data).into_owned());
                        self.seen.push((state, text));
                    }
                    Event::Terminated { why: Ending::Unsubscribed, .. } => self.ended = true,
                    Event::Terminated { why, .. } => failed(&format!("the subscription ended: {why:?}")),
                    _ => {}
                }
            }
            for event in self.bob.turn(soon(&self.bob))? {
                match event {
                    Event::Subscribe(incoming) => {
                        let accepted = self.bob.endpoint.accept(self.bob.now(), incoming, Decision::ACCEPT);
                        accepted.map_err(io::Error::other)?;
                    }
                    Event::WatcherGone { .. } => self.gone = true,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
