//! The packets of a client: one every millisecond to the anycast address, and who answered each.
//!
//! Both ends run inside namespaces as processes of their own. Invariant: times are the machine's, so that all processes
//! agree on them.

use std::{
    io::Write,
    net::UdpSocket,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Where both PoPs answer.
pub(crate) const ANYCAST: &str = "192.0.2.1:9000";

/// One packet: when it was sent, and who answered when.
pub(crate) type Packet = (u64, Option<(char, u64)>);

/// Microseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Answers with its name until it is killed.
pub(crate) fn echo(name: &str) -> ! {
    let socket = UdpSocket::bind(ANYCAST).unwrap();
    println!("ready");
    let mut bytes = [0; 64];
    loop {
        if let Ok((count, from)) = socket.recv_from(&mut bytes) {
            let mut answer = bytes[..count].to_vec();
            answer.push(name.as_bytes()[0]);
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// Sends for so many milliseconds and prints every packet.
pub(crate) fn probe(ms: u64) -> ! {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let answers = Arc::new(Mutex::new(Vec::<(u64, char, u64)>::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let listening = thread::spawn({
        let (socket, answers, is_over) =
            (socket.try_clone().unwrap(), answers.clone(), is_over.clone());
        move || {
            let mut bytes = [0; 64];
            while !is_over.load(SeqCst) {
                if let Ok(count) = socket.recv(&mut bytes)
                    && count == 9
                {
                    let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
                    answers.lock().unwrap().push((number, char::from(bytes[8]), now()));
                }
            }
        }
    });
    println!("ready");
    let began = Instant::now();
    let mut sent = Vec::new();
    for number in 0..ms {
        let due = began + Duration::from_millis(number);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.push(now());
        // A packet that the kernel has no route for is a lost one.
        let _ = socket.send_to(&number.to_be_bytes(), ANYCAST);
    }
    thread::sleep(Duration::from_millis(300));
    is_over.store(true, SeqCst);
    listening.join().unwrap();
    let mut packets: Vec<Packet> = sent.into_iter().map(|at| (at, None)).collect();
    for (number, who, at) in answers.lock().unwrap().iter() {
        packets[*number as usize].1 = Some((*who, *at));
    }
    let mut out = std::io::stdout().lock();
    for (sent, answer) in packets {
        let (who, at) = answer.unwrap_or(('-', 0));
        writeln!(out, "{sent} {who} {at}").unwrap();
    }
    std::process::exit(0)
}

/// Reads what a probe printed.
pub(crate) fn read(text: &str) -> Vec<Packet> {
    let packet = |line: &str| {
        let mut words = line.split(' ');
        let (sent, who, at) = (words.next()?, words.next()?, words.next()?);
        let who = who.chars().next().filter(|who| *who != '-');
        Some((sent.parse().ok()?, who.and_then(|who| Some((who, at.parse().ok()?)))))
    };
    text.lines().filter_map(packet).collect()
}
