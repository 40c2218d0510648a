//! `tidegate dns zone`: what is released of zones, what each geo node serves, and the records.
//!
//! Records are printed as a master file, which reads the same again.

use clap::Subcommand;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{
    client::Client,
    failure::{Exit, Failure},
    output::{Output, or_dash},
};
use crate::api::geo_model::{RecordView, ZoneAtNode, ZoneContent, ZoneList, ZoneView};

/// What is done about zones.
#[derive(Subcommand)]
pub(super) enum ZoneCommand {
    /// List zones, with the serials that are released and served; exit code 1 when a node serves another one, refuses one or does
    /// not say
    List,
    /// Show the records of a zone that is released, as a master file; exit code 1 when there are none of that kind
    Show {
        /// The zone
        zone: String,
        /// Only this type
        #[arg(long = "type", value_name = "TYPE")]
        record: Option<String>,
        /// Only this name: whole, below the zone, or @
        #[arg(long)]
        name: Option<String>,
    },
}

/// Runs a command about zones.
pub(super) async fn run(
    command: ZoneCommand,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        ZoneCommand::List => list(&client.get("/v1/dns/zones").await?, out),
        ZoneCommand::Show { zone, record, name } => {
            let mut query = Serializer::new(String::new());
            for (key, value) in [("type", record), ("name", name)] {
                if let Some(value) = value {
                    query.append_pair(key, &value);
                }
            }
            let zone: String = byte_serialize(zone.as_bytes()).collect();
            let path = format!("/v1/dns/zones/{zone}?{}", query.finish());
            show(&client.get(&path).await?, out)
        }
    }
}

fn list(list: &ZoneList, out: &Output) -> Result<Exit, Failure> {
    let header = ["ZONE", "SERIAL", "RECORDS", "STEERED", "SIGNED", "SERVED BY", "SERVED"];
    let asked = list.asked.len();
    out.print(list, header, |list| {
        list.items.iter().map(|zone| row(zone, asked, out.is_wide())).collect()
    })?;
    let mut is_good = list.silent.is_empty();
    for silence in &list.silent {
        out.note(&format!("{}: {}", silence.node, silence.why));
    }
    for zone in &list.items {
        is_good &= serves(zone) == asked || !zone.is_released;
        for node in &zone.nodes {
            if let Some(error) = &node.error {
                is_good = false;
                out.note(&format!("{} at {}: {error}", zone.zone, node.node));
            }
        }
    }
    if asked == 0 {
        out.note("no geo node says what it serves: see `tidegate dns nodes`");
    }
    Ok(if is_good { Exit::Ok } else { Exit::Failed })
}

fn row(zone: &ZoneView, asked: usize, is_wide: bool) -> [String; 7] {
    let signed = |is: bool| zone.nodes.iter().any(|node| node.signed == Some(is));
    let signed = match (signed(true), signed(false)) {
        (true, false) => "yes",
        (false, true) => "no",
        (true, true) => "partly",
        (false, false) => "-",
    };
    // Of one node, the file goes before.
    let served = match is_wide {
        true => zone.nodes.iter().map(at_node).collect::<Vec<_>>().join(" "),
        false => {
            let mut serials: Vec<u32> = zone.nodes.iter().filter_map(|node| node.serial).collect();
            serials.sort_unstable();
            serials.dedup();
            serials.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        }
    };
    [
        zone.zone.clone(),
        or_dash(zone.serial),
        if zone.is_released { zone.records.to_string() } else { "-".to_owned() },
        if zone.is_released { zone.steered.to_string() } else { "-".to_owned() },
        signed.to_owned(),
        format!("{}/{asked}", serves(zone)),
        or_dash(Some(served).filter(|served| !served.is_empty())),
    ]
}

/// How many nodes serve what is released; of a zone of files alone, how many serve it. A file that serves stands before
/// what its node is told.
fn serves(zone: &ZoneView) -> usize {
    let has_file = |name: &str| {
        zone.nodes.iter().any(|node| node.node == name && node.is_file && node.serial.is_some())
    };
    let is_so = |node: &&ZoneAtNode| match zone.is_released {
        true => {
            node.serial == zone.serial
                && node.serial.is_some()
                && (node.is_file || !has_file(&node.node))
        }
        false => node.serial.is_some(),
    };
    let mut nodes: Vec<&str> =
        zone.nodes.iter().filter(is_so).map(|node| node.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.len()
}

fn at_node(node: &ZoneAtNode) -> String {
    let serial = or_dash(node.serial);
    let mark = if node.is_file { " (file)" } else { "" };
    format!("{}:{serial}{mark}", node.node)
}

fn show(content: &ZoneContent, out: &Output) -> Result<Exit, Failure> {
    if out.is_for_people() {
        // A master file is text, never a table: what stands in quotes may be as wide as it likes.
        for record in &content.records {
            out.print_text(&record.line())?;
        }
    } else {
        let header = ["NAME", "TTL", "TYPE", "DATA"];
        let row = |record: &RecordView| {
            let RecordView { name, ttl, kind, data } = record.clone();
            [name, ttl.to_string(), kind, data]
        };
        out.print(content, header, |content| content.records.iter().map(row).collect())?;
    }
    let of = format!("serial {}, release {}", content.serial, content.version);
    if content.left_out > 0 {
        let text = "more records than one answer has: ask by --name or --type";
        out.note(&format!("{} {text}; {of}", content.left_out));
    } else {
        out.note(&format!("{} records, {of}", content.records.len()));
    }
    Ok(if content.records.is_empty() { Exit::Failed } else { Exit::Ok })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(node: &str, serial: Option<u32>, signed: Option<bool>) -> ZoneAtNode {
        let (node, is_file) = (node.to_owned(), node == "n3");
        ZoneAtNode { node, source: String::new(), is_file, serial, records: 3, signed, error: None }
    }

    #[test]
    fn a_zone_says_who_serves_what_is_released_and_who_something_else() {
        let zone = |nodes| ZoneView {
            zone: "z".to_owned(),
            is_released: true,
            serial: Some(7),
            records: 3,
            steered: 1,
            nodes,
        };
        let same = zone(vec![at("n1", Some(7), Some(true)), at("n2", Some(7), Some(true))]);
        assert_eq!(row(&same, 2, false), ["z", "7", "3", "1", "yes", "2/2", "7"]);
        let mixed = zone(vec![
            at("n1", Some(7), Some(true)),
            at("n2", Some(6), Some(false)),
            at("n3", Some(9), None),
        ]);
        assert_eq!(row(&mixed, 4, false), ["z", "7", "3", "1", "partly", "1/4", "6,7,9"]);
        assert_eq!(row(&mixed, 4, true)[6], "n1:7 n2:6 n3:9 (file)");
        // A file of its own hides what it is told.
        let told = ZoneAtNode { is_file: false, ..at("n3", Some(7), None) };
        let hidden = zone(vec![at("n3", Some(9), None), told.clone()]);
        assert_eq!(row(&hidden, 1, false)[5..], ["0/1", "7,9"]);
        assert_eq!(serves(&zone(vec![at("n3", None, None), told])), 1);
        let nobody = zone(vec![]);
        assert_eq!(row(&nobody, 0, false), ["z", "7", "3", "1", "-", "0/0", "-"]);
        let of_files = ZoneView { is_released: false, serial: None, ..mixed };
        assert_eq!(row(&of_files, 3, false)[1..], ["-", "-", "-", "partly", "3/3", "6,7,9"]);
    }
}
