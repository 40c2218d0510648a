//! BIRD's configuration, written from the settings: every prefix at every level as a protocol, the gate, the neighbours.
//!
//! Routes go `static protocols → anycast table → gate → announced table → neighbours`. Invariant: as it stands in the
//! file, everything is announced normally and the gate is open, so that a machine that boots serves without anybody.

use std::fmt::Write;

use tidegate_contract::{anycast::Level, id::PeerId};

use super::name;
use crate::anycast::config::{Config, Peer, PrefixConfig};

/// The file's text.
#[must_use]
pub fn write(config: &Config) -> String {
    let mut out = String::new();
    let _ = begin(&mut out, config);
    for is_v6 in [false, true] {
        let _ = family(&mut out, config, is_v6);
    }
    out
}

fn begin(out: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(out, "# Written by `tidegate-edge bird-config`; change the edge's settings instead.")?;
    writeln!(out, "# Protocols are enabled and disabled at run time, routes are never made then.")?;
    if let Some(id) = config.router_id {
        writeln!(out, "router id {id};")?;
    }
    writeln!(out, "protocol device {{ scan time 2; }}")?;
    if config.bfd.is_on {
        let (ms, times) = (config.bfd.interval.as_millis(), config.bfd.multiplier);
        writeln!(out, "protocol bfd anycast_bfd {{")?;
        writeln!(
            out,
            "  interface \"*\" {{ min rx interval {ms} ms; min tx interval {ms} ms; idle tx interval {ms} ms; multiplier {times}; }};"
        )?;
        writeln!(out, "}}")?;
    }
    Ok(())
}

fn family(out: &mut String, config: &Config, is_v6: bool) -> std::fmt::Result {
    let prefixes: Vec<_> =
        config.prefixes.iter().filter(|p| p.block.parts().0.is_ipv6() == is_v6).collect();
    let peers: Vec<_> = config.peers.iter().filter(|p| p.address.is_ipv6() == is_v6).collect();
    if prefixes.is_empty() {
        return Ok(());
    }
    let (channel, number) = if is_v6 { ("ipv6", 6) } else { ("ipv4", 4) };
    writeln!(out, "\n{channel} table anycast{number};\n{channel} table announced{number};")?;
    let ids: Vec<PeerId> = config.peers.iter().map(|peer| peer.id.clone()).collect();
    for prefix in prefixes {
        for (place, level) in name::prepared(&ids).iter().enumerate() {
            protocol(out, config, prefix, level, place, channel, number)?;
        }
    }
    let gate = name::gate(is_v6);
    writeln!(
        out,
        "protocol pipe {gate} {{ table announced{number}; peer table anycast{number}; import all; export none; }}"
    )?;
    for peer in peers {
        neighbour(out, config, peer, channel, number)?;
    }
    Ok(())
}

fn protocol(
    out: &mut String,
    config: &Config,
    prefix: &PrefixConfig,
    level: &Level,
    place: usize,
    channel: &str,
    number: u8,
) -> std::fmt::Result {
    let Some(name) = name::of(&prefix.id, level) else { return Ok(()) };
    let local_as = config.local_as;
    let change = match level {
        Level::Prepend(times) => format!("bgp_path.prepend({local_as}); ").repeat((*times).into()),
        Level::GracefulShutdown => "bgp_community.add((65535, 0)); ".to_owned(),
        Level::NoExport(peers) => {
            let tags = peers.iter().filter_map(|peer| tag(config, peer));
            tags.map(|tag| format!("bgp_large_community.add({tag}); ")).collect()
        }
        Level::Normal | Level::Withdrawn => String::new(),
    };
    let disabled = if *level == Level::Normal { "" } else { "disabled; " };
    let preference = PREFERENCE_FIRST + place;
    let block = prefix.block;
    writeln!(
        out,
        "protocol static {name} {{ {disabled}{channel} {{ table anycast{number}; preference {preference}; \
         import filter {{ {change}accept; }}; }}; route {block} unreachable; }}"
    )
}

fn neighbour(
    out: &mut String,
    config: &Config,
    peer: &Peer,
    channel: &str,
    number: u8,
) -> std::fmt::Result {
    let (hold, local_as) = (config.hold_time.as_secs(), config.local_as);
    let (address, as_number) = (peer.address, peer.as_number);
    let bfd = if config.bfd.is_on { "bfd on; " } else { "" };
    let tag = tag(config, &peer.id).unwrap_or_default();
    let keepalive = (hold / 3).max(1);
    writeln!(out, "protocol bgp up_{} {{", name::symbol(peer.id.as_str()))?;
    writeln!(out, "  local as {local_as}; neighbor {address} as {as_number};")?;
    writeln!(
        out,
        "  hold time {hold}; keepalive time {keepalive}; connect retry time 5; connect delay time 1; error wait time 1, 30; {bfd}"
    )?;
    writeln!(
        out,
        "  {channel} {{ table announced{number}; import none; next hop self; export filter {{ \
         if {tag} ~ bgp_large_community then reject; \
         bgp_large_community.delete([({local_as}, {NO_EXPORT}, *)]); accept; }}; }};"
    )?;
    writeln!(out, "}}")
}

/// The community that keeps a prefix from a neighbour; it never leaves this speaker.
fn tag(config: &Config, peer: &PeerId) -> Option<String> {
    let place = config.peers.iter().position(|known| known.id == *peer)?;
    Some(format!("({}, {NO_EXPORT}, {})", config.local_as, place + 1))
}

/// BIRD prefers the higher number; static routes have 200 by default.
const PREFERENCE_FIRST: usize = 200;
/// What the tags of `no-export` mean among other large communities of this site.
const NO_EXPORT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_a_protocol_for_every_level_and_only_normal_ones_are_on() {
        let text = "local_as = 65001\nrouter_id = \"10.0.0.1\"\n\
                    prefixes = [{ id = \"a-1\", block = \"192.0.2.0/24\" }, { id = \"b\", block = \"2001:db8::/48\" }]\n\
                    peers = [{ id = \"up\", address = \"10.0.1.1\", as = 65100 }]\n";
        let config: Config = toml::from_str(text).unwrap();
        config.check().unwrap();
        let file = write(&config);
        for expected in [
            "protocol static any_a_1_normal { ipv4 { table anycast4; preference 200; import filter { accept; }; }; route 192.0.2.0/24 unreachable; }",
            "protocol static any_a_1_prepend2 { disabled; ipv4 { table anycast4; preference 203; import filter { bgp_path.prepend(65001); bgp_path.prepend(65001); accept; }; }; route 192.0.2.0/24 unreachable; }",
            "any_a_1_gshut { disabled;",
            "any_b_noexport_up { disabled; ipv6 { table anycast6; preference 201; import filter { bgp_large_community.add((65001, 1, 1)); accept; }; }; route 2001:db8::/48 unreachable; }",
            "protocol pipe anycast_gate6",
            "neighbor 10.0.1.1 as 65100",
            "min tx interval 300 ms",
        ] {
            assert!(file.contains(expected), "{expected}\n{file}");
        }
        let on = file.lines().filter(|l| l.contains("static any_") && !l.contains("disabled"));
        assert_eq!(on.count(), 2);
        assert_eq!(file.matches("protocol static").count(), 2 * 6);
    }
}
