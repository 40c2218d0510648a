//! Forwards packets between the devices: each after half the round trip between its places.
//!
//! One thread reads each device, one hands over what is due. Time is that of the machine; a packet is never early, and
//! late by less than a millisecond on a quiet one. Invariant: packets between two addresses keep their order, since their
//! way is always as long.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    net::Ipv4Addr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tun_rs::SyncDevice;

use crate::matrix::Matrix;

/// What an address is.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Which device has it.
    pub device: usize,
    /// Where it is, in the matrix.
    pub place: usize,
    /// Added to whatever it sends: the way that its news had come before.
    pub news_from: Option<usize>,
}

/// How the ways are.
#[derive(Debug, Clone, Copy)]
pub struct Ways {
    /// How many of a million packets get lost, on every way.
    pub lost_per_million: u32,
    /// Bits a second of each receiver's line; none: no limit.
    pub line_bits_per_second: Option<u64>,
    /// Decides which packets get lost.
    pub seed: u64,
}

/// The whole.
pub struct Internet {
    matrix: Matrix,
    hosts: HashMap<Ipv4Addr, Host>,
    ways: Ways,
    devices: Vec<SyncDevice>,
    due: Mutex<Due>,
    earlier: Condvar,
}

#[derive(Default)]
struct Due {
    packets: BinaryHeap<Reverse<Packet>>,
    count: u64,
    /// When the line of each device is free again.
    free_at: Vec<Option<Instant>>,
    chance: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at: Instant,
    number: u64,
    device: usize,
    bytes: Vec<u8>,
}

impl Internet {
    /// An Internet of some devices and the addresses on them.
    #[must_use]
    pub fn new(
        matrix: Matrix,
        hosts: HashMap<Ipv4Addr, Host>,
        devices: Vec<SyncDevice>,
        ways: Ways,
    ) -> Self {
        let free_at = vec![None; devices.len()];
        let due = Mutex::new(Due { free_at, chance: ways.seed, ..Due::default() });
        Self { matrix, hosts, ways, devices, due, earlier: Condvar::new() }
    }

    /// Forwards from now on, for as long as the process lives.
    ///
    /// # Errors
    /// No more threads can be made.
    pub fn start(self) -> io::Result<()> {
        let internet = Arc::new(self);
        for device in 0..internet.devices.len() {
            let internet = Arc::clone(&internet);
            let reader = thread::Builder::new().name(format!("device {device}"));
            reader.stack_size(STACK_BYTES).spawn(move || internet.read(device))?;
        }
        thread::Builder::new().name("due".to_owned()).spawn(move || internet.deliver())?;
        Ok(())
    }

    fn read(&self, device: usize) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        // It ends when the device is gone.
        while let Ok(length) = self.devices[device].recv(&mut buffer) {
            self.take(&buffer[..length]);
        }
    }

    /// Takes a packet on its way, or loses it.
    fn take(&self, packet: &[u8]) {
        let (Some(from), Some(to)) = (address(packet, 12), address(packet, 16)) else { return };
        let (Some(from), Some(to)) = (self.hosts.get(&from), self.hosts.get(&to)) else { return };
        let mut due = self.due();
        if due.is_lost(self.ways.lost_per_million) {
            return;
        }
        let news = from.news_from.map(|place| self.matrix.round_trip(place, from.place) / 2);
        let way = self.matrix.round_trip(from.place, to.place) / 2 + news.unwrap_or_default();
        let mut at = Instant::now() + way;
        if let Some(line) = self.ways.line_bits_per_second {
            let begins = due.free_at[to.device].map_or(at, |free| free.max(at));
            at = begins + Duration::from_secs_f64(packet.len() as f64 * 8.0 / line as f64);
            due.free_at[to.device] = Some(at);
        }
        if due.packets.len() >= PACKETS_MAX {
            return; // as a router does whose memory is full
        }
        due.count += 1;
        let is_next = due.packets.peek().is_none_or(|Reverse(first)| at < first.at);
        let (number, device) = (due.count, to.device);
        due.packets.push(Reverse(Packet { at, number, device, bytes: packet.to_vec() }));
        drop(due);
        if is_next {
            self.earlier.notify_one();
        }
    }

    fn deliver(&self) {
        let mut ready = Vec::new();
        loop {
            self.wait(&mut ready);
            for packet in ready.drain(..) {
                // A device whose queue is full loses it, as any network does.
                let _ = self.devices[packet.device].send(&packet.bytes);
            }
        }
    }

    /// Waits until something is due, and takes it.
    fn wait(&self, ready: &mut Vec<Packet>) {
        let mut due = self.due();
        loop {
            let now = Instant::now();
            while due.packets.peek().is_some_and(|Reverse(first)| first.at <= now) {
                ready.extend(due.packets.pop().map(|Reverse(packet)| packet));
            }
            if !ready.is_empty() {
                return;
            }
            let next = due.packets.peek().map(|Reverse(first)| first.at - now);
            due = match next {
                None => self.earlier.wait(due).unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    let waited = self.earlier.wait_timeout(due, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Due {
    /// SplitMix64: the same packets get lost for the same seed and order.
    fn is_lost(&mut self, lost_per_million: u32) -> bool {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 1_000_000 < u64::from(lost_per_million)
    }
}

/// An address of an IPv4 packet.
fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let is_v4 = packet.len() >= 20 && packet[0] >> 4 == 4;
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    is_v4.then(|| Ipv4Addr::from(bytes))
}

/// A reader holds little.
const STACK_BYTES: usize = 128 * 1024;
const PACKET_BYTES_MAX: usize = 2048;
/// Packets on their way: about 400 MB.
const PACKETS_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_million_get_lost() {
        let mut due = Due { chance: 7, ..Due::default() };
        let lost = (0..100_000).filter(|_| due.is_lost(10_000)).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert_eq!((0..100_000).filter(|_| due.is_lost(0)).count(), 0);
    }

    #[test]
    fn only_whole_v4_packets_have_addresses() {
        let mut packet = [0_u8; 20];
        packet[0] = 0x45;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(address(&packet, 12), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(address(&packet, 16), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(address(&packet[..19], 12), None);
        packet[0] = 0x60;
        assert_eq!(address(&packet, 12), None);
    }
}
