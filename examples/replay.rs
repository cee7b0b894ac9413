//! Repeats a recorded run and draws it as a ladder: `replay FILE`. Without a
//! file it records a short run of its own first.

#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sip_events::digest::{Algorithm, Secret, UserStore};
use sip_events::testing::{Recorder, Replayed, recorded_packages, replay, replay_with_users};
use sip_events::wire::Transport;
use sip_events::{
    Authentication, Body, Config, Decision, Event, Flow, Instant, Packages, ResourceKey, Scope, Seed, Subscribe,
};

const USAGE: &str = "\
usage: replay [--events] [--user NAME:PASSWORD]... [FILE]
  FILE       a recording (testing::Recorder); without it a short run is recorded
  --events   print what the application was told
  --user     a user that the recorded endpoint looked up in a store of its own";

fn main() -> ExitCode {
    let (mut file, mut events, mut users) = (None, false, Users::default());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--events" => events = true,
            "--user" => match args.next().as_deref().and_then(|user| user.split_once(':')) {
                Some((name, password)) => users.0.push((name.to_owned(), password.to_owned())),
                None => {
                    eprintln!("replay: --user wants NAME:PASSWORD\n{USAGE}");
                    return ExitCode::from(2);
                }
            },
            option if option.starts_with('-') => {
                eprintln!("replay: {option} is no option\n{USAGE}");
                return ExitCode::from(2);
            }
            path => file = Some(PathBuf::from(path)),
        }
    }
    match file.map_or_else(record, Ok).and_then(|file| repeat(&file, users)) {
        Ok(run) => {
            print!("{}", run.log.ladder());
            if events {
                run.events.iter().for_each(|(at, event)| println!("{at} {event}"));
            }
            let torn = if run.torn { "; the recording breaks off there" } else { "" };
            println!("{} calls, {} messages: the same bytes again{torn}", run.calls, run.log.frames.len());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Those that a recording without their secrets needs again.
#[derive(Debug, Default)]
struct Users(Vec<(String, String)>);

impl UserStore for Users {
    fn secret(&self, user: &[u8], _hashed: bool, _realm: &str, _algorithm: Algorithm) -> Option<Secret> {
        let (_, password) = self.0.iter().find(|(name, _)| name.as_bytes() == user)?;
        Some(Secret::password(password))
    }
}

fn repeat(file: &Path, users: Users) -> Result<Replayed, Box<dyn Error>> {
    let recording = std::fs::read(file)?;
    // A package of the program's own is not here; one that takes any body stands in for it. Where
    // that makes a difference the replay says so.
    let mut packages = Packages::new();
    for name in recorded_packages(&recording)? {
        match name.as_str() {
            "presence" => packages.register(sip_events::package::Presence)?,
            "message-summary" => packages.register(sip_events::package::MessageSummary)?,
            name => packages.register_opaque(name)?,
        }
    }
    if users.0.is_empty() {
        return Ok(replay(&recording, packages)?);
    }
    Ok(replay_with_users(&recording, packages, Arc::new(users))?)
}

/// Two endpoints in this process, one of them recorded: a subscription, a
/// change of state, and the end.
fn record() -> Result<PathBuf, Box<dyn Error>> {
    let (ann_at, bob_at): (SocketAddr, SocketAddr) = ("192.0.2.1:5060".parse()?, "192.0.2.2:5060".parse()?);
    let start = Instant::ZERO;
    let endpoint = |user: &str, at: SocketAddr, seed: u8| -> Result<Recorder, Box<dyn Error>> {
        let config =
            Arc::new(Config::new(&format!("sip:{user}@{}", at.ip()))?.with_authentication(Authentication::None));
        // A real program takes its seed from the operating system.
        let mut recorder = Recorder::new(config, Packages::standard(), &Seed([seed; 32]), start);
        recorder.add_local(Transport::Udp, at, None, None)?;
        Ok(recorder)
    };
    let (mut ann, mut bob) = (endpoint("ann", ann_at, 1)?, endpoint("bob", bob_at, 2)?);
    let resource = bob.add_resource(&ResourceKey::new("sip:bob@192.0.2.2", "presence")?)?;
    bob.set_state(start, resource, Body::new("application/pidf+xml", "<presence/>"))?;
    let subscription = ann.subscribe(start, Subscribe::new("sip:bob@192.0.2.2", "presence")?.expires(600))?;
    for second in 0..60 {
        let now = start + Duration::from_secs(second);
        match second {
            10 => {
                _ =
                    bob.set_state(now, resource, Body::new("application/pidf+xml", "<presence><!-- 2 --></presence>"))?
            }
            20 => ann.refresh(now, subscription, None)?,
            25 => ann.unsubscribe(now, subscription, Scope::This)?,
            _ => {}
        }
        ann.handle_timeout(now);
        bob.handle_timeout(now);
        while carry(now, &mut ann, &mut bob)? | carry(now, &mut bob, &mut ann)? {}
    }
    let file = std::env::temp_dir().join(format!("sip-events-{}.recording", std::process::id()));
    std::fs::write(&file, bob.take())?;
    eprintln!("replay: a run was recorded in {}", file.display());
    Ok(file)
}

/// Brings what one has to say to the other. Whether there was anything.
fn carry(now: Instant, from: &mut Recorder, to: &mut Recorder) -> Result<bool, Box<dyn Error>> {
    let (mut any, mut bytes) = (false, Vec::new());
    while let Some(transmit) = from.poll_transmit(now, &mut bytes) {
        transmit.append_body(&mut bytes);
        let _ = to.handle_message(now, Flow::udp(transmit.flow.remote, transmit.flow.local), &bytes);
        bytes.clear();
        any = true;
    }
    while let Some(event) = from.poll_event() {
        if let Event::Subscribe(incoming) = event {
            from.accept(now, incoming, Decision::ACCEPT)?;
            any = true;
        }
    }
    Ok(any)
}
