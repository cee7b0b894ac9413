//! The example `notifier`, 64 subscriptions at a time: SUBSCRIBE, 200, NOTIFY,
//! 200, and the same again with Expires 0. Beside it a bare echo of as many
//! datagrams of the same sizes.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::peer::{Ask, field, ok};
use crate::{Outcome, PATIENCE, row};

const OPEN: usize = 64;
const CYCLES: u32 = 20_000;
/// What is not answered for so long was lost.
const AGAIN: Duration = Duration::from_millis(500);

/// One subscription under way.
struct Cycle {
    number: u32,
    /// The far end's tag, once it is known.
    tag: Option<String>,
    /// Unsubscription: it ends with the next NOTIFY.
    last: bool,
    request: String,
    sent: Instant,
    /// Of the request: the 200 and the NOTIFY have come.
    answered: bool,
    told: bool,
}

pub fn run() -> Outcome {
    let echo = echo()?;
    row("cycle of eight datagrams, bare echo", echo, "us", None);
    let notifier = notifier()?;
    row("cycle of eight messages, example notifier over UDP", notifier, "us", Some(echo + 20.0));
    Ok(())
}

/// The server's processor time for a cycle in microseconds.
fn notifier() -> Result<f64, Box<dyn std::error::Error>> {
    let program = std::env::current_exe()?;
    let directory = program.parent().and_then(|deps| deps.parent()).ok_or("no target directory")?;
    let path: PathBuf = directory.join("examples/notifier");
    if !path.exists() {
        return Err("build it first: cargo build --release --example notifier".into());
    }
    let server: SocketAddr = {
        let free = UdpSocket::bind("127.0.0.1:0")?;
        free.local_addr()?
    };
    let mut child = Command::new(path)
        .args(["--bind", &server.to_string(), "--package", "presence"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let spent = measure(&child, server);
    child.kill()?;
    child.wait()?;
    spent
}

fn measure(child: &Child, server: SocketAddr) -> Result<f64, Box<dyn std::error::Error>> {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    let ask = Ask { transport: "UDP", local: client.local_addr()?, server, package: "presence" };
    std::thread::sleep(Duration::from_millis(300));
    drive(&client, &ask, 0..1_000)?;
    let before = spent(child)?;
    drive(&client, &ask, 1_000..1_000 + CYCLES)?;
    Ok((spent(child)? - before).as_secs_f64() * 1e6 / f64::from(CYCLES))
}

/// What all threads of a process took, to the nanosecond.
fn spent(child: &Child) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{}/task", child.id()))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

fn drive(client: &UdpSocket, ask: &Ask<'_>, numbers: std::ops::Range<u32>) -> Outcome {
    client.set_read_timeout(Some(Duration::from_millis(100)))?;
    let start = Instant::now();
    let (mut buffer, mut next) = (vec![0; 65_535], numbers.clone());
    let mut open: Vec<Cycle> = Vec::new();
    let mut looked = Instant::now();
    loop {
        while open.len() < OPEN
            && let Some(number) = next.next()
        {
            let request = ask.subscribe(number, 1, None, 60);
            client.send_to(request.as_bytes(), ask.server)?;
            let sent = Instant::now();
            open.push(Cycle { number, tag: None, last: false, request, sent, answered: false, told: false });
        }
        if open.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err("the notifier does not keep up".into());
        }
        if let Ok((len, from)) = client.recv_from(&mut buffer) {
            let message = std::str::from_utf8(&buffer[..len])?;
            take(client, ask, message, from, &mut open)?;
        }
        if looked.elapsed() > AGAIN {
            looked = Instant::now();
            for cycle in open.iter_mut().filter(|cycle| cycle.sent.elapsed() > AGAIN) {
                client.send_to(cycle.request.as_bytes(), ask.server)?;
                cycle.sent = Instant::now();
            }
        }
    }
}

fn take(client: &UdpSocket, ask: &Ask<'_>, message: &str, from: SocketAddr, open: &mut Vec<Cycle>) -> Outcome {
    let number = field(message, "Call-ID").split('@').next().unwrap_or_default().parse::<u32>()?;
    let notify = message.starts_with("NOTIFY ");
    if notify {
        client.send_to(ok(message).as_bytes(), from)?;
    }
    let Some(at) = open.iter().position(|cycle| cycle.number == number) else { return Ok(()) };
    let cycle = &mut open[at];
    if notify {
        cycle.told |= !cycle.last || field(message, "Subscription-State").starts_with("terminated");
        cycle.tag = field(message, "From").split(";tag=").nth(1).map(str::to_owned);
    } else {
        let expected = if cycle.last { "2 SUBSCRIBE" } else { "1 SUBSCRIBE" };
        cycle.answered |= message.starts_with("SIP/2.0 200") && field(message, "CSeq") == expected;
    }
    if !cycle.answered || !cycle.told {
        return Ok(());
    }
    if cycle.last {
        open.swap_remove(at);
    } else {
        cycle.request = ask.subscribe(number, 2, cycle.tag.as_deref(), 0);
        client.send_to(cycle.request.as_bytes(), ask.server)?;
        (cycle.sent, cycle.last, cycle.answered, cycle.told) = (Instant::now(), true, false, false);
    }
    Ok(())
}

/// Sizes of what comes and of what goes back, twice a cycle each.
const SIZES: [(usize, usize); 2] = [(400, 450), (330, 480)];

/// Gets four datagrams and sends four: the processor time for that.
fn echo() -> Result<f64, Box<dyn std::error::Error>> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let done = AtomicBool::new(false);
    let (spent, served) = std::thread::scope(|scope| -> Result<(Duration, u64), Box<dyn std::error::Error>> {
        let serve = || -> std::io::Result<(Duration, u64)> {
            server.set_read_timeout(Some(Duration::from_millis(100)))?;
            let (mut buffer, start, mut served) = (vec![0; 65_535], ThreadTime::now(), 0u64);
            while !done.load(Ordering::Relaxed) {
                let Ok((len, from)) = server.recv_from(&mut buffer) else { continue };
                let answer = if len == SIZES[0].0 { SIZES[0].1 } else { SIZES[1].1 };
                server.send_to(&buffer[..answer], from)?;
                served += 1;
            }
            Ok((start.elapsed(), served))
        };
        let server = scope.spawn(serve);
        let asked = ask_echo(address);
        done.store(true, Ordering::Relaxed);
        let spent = server.join().map_err(|_| "the echo died")??;
        asked.map(|()| spent)
    })?;
    Ok(spent.as_secs_f64() * 1e6 * 4.0 / served as f64)
}

fn ask_echo(server: SocketAddr) -> Outcome {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (mut buffer, mut open, mut left) = (vec![0; 65_535], 0, 4 * CYCLES);
    while left > 0 {
        while open < OPEN && left > 0 {
            client.send_to(&buffer[..SIZES[left as usize % 2].0], server)?;
            (open, left) = (open + 1, left - 1);
        }
        // One that is lost is not missed for long.
        open = if client.recv_from(&mut buffer).is_ok() { open - 1 } else { 0 };
    }
    Ok(())
}
