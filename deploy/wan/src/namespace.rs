//! Places as network namespaces, each with one TUN device whose other end is here.
//!
//! A device is made where this process stands and then moved: its descriptor goes on to work, so that nothing here has
//! to enter a namespace. Invariant: whatever was made is removed when the last handle is dropped.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context, bail};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// A namespace with a device, removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace and its device, with some addresses of the lab's network on it.
    ///
    /// # Errors
    /// This machine allows no namespaces, or a command failed.
    pub fn make(name: &str, addresses: &[Ipv4Addr]) -> anyhow::Result<(Self, SyncDevice)> {
        // One that an interrupted run left behind.
        let _ = ip(&["netns", "del", name]);
        ip(&["netns", "add", name]).context("network namespaces are needed, and root")?;
        let namespace = Self { name: name.to_owned() };
        // No name is longer than 15 bytes.
        let device_name = format!("w{name}");
        let device = DeviceBuilder::new()
            .name(&device_name)
            .layer(Layer::L3)
            .build_sync()
            .context("a TUN device is needed: /dev/net/tun, and CAP_NET_ADMIN")?;
        ip(&["link", "set", &device_name, "netns", name])?;
        for address in addresses {
            let with_net = format!("{address}/{NET_BITS}");
            namespace.ip(&["addr", "add", &with_net, "dev", &device_name])?;
        }
        namespace.ip(&["link", "set", &device_name, "mtu", MTU, "up"])?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok((namespace, device))
    }

    fn ip(&self, words: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.name], words].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).output().context("the program ip")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

/// The lab's network: 10.0.0.0/8, which nothing outside of the namespaces sees.
const NET_BITS: u8 = 8;
const MTU: &str = "1500";
