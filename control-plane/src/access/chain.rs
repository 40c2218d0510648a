//! The audit log as a chain: each row's hash covers the row and the hash before it.
//!
//! A row is hashed as the text that is stored, so that a row that a newer program wrote can be checked by an older one.
//! Who knows one hash (a node that heard it in a heartbeat, a log line elsewhere) can prove that nothing before it was
//! changed, left out or put in.

use serde::{Deserialize, Serialize};

/// What one row says: who did what, to what, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The public id of the token; `offline` for what was done on the machine itself.
    pub token: String,
    /// Whose token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The method and the path, without the query.
    pub action: String,
    /// The status of the answer.
    pub status: u16,
    /// Why, in the words of who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the handler adds: what was done, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// The number of the newest row; 0 when there is none.
    pub number: u64,
    /// Its hash, in hex; empty when there is none.
    pub hash: String,
    /// The number of the oldest row that is kept.
    pub first: u64,
}

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The hash of the row before, in hex; empty before the first.
    pub prev: String,
    /// This row's hash, in hex.
    pub hash: String,
    /// The row as JSON: exactly these bytes are hashed.
    pub canonical: String,
}

/// A stored row with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, from 1.
    pub number: u64,
    /// What is stored.
    #[serde(flatten)]
    pub link: Link,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("row {number}: {why}")]
pub struct ChainBreak {
    /// The first row that is not as it should be.
    pub number: u64,
    /// What is wrong with it.
    pub why: String,
}

impl Head {
    /// The head after one more row, and the row as it is stored.
    #[must_use]
    pub fn append(&self, row: &Row) -> (Self, Entry) {
        let canonical = serde_json::to_string(row).expect("plain data");
        let (number, hash) = (self.number + 1, hash(self.number + 1, &self.hash, &canonical));
        let head = Self { number, hash: hash.clone(), first: self.first.max(1) };
        (head, Entry { number, link: Link { prev: self.hash.clone(), hash, canonical } })
    }
}

impl Entry {
    /// What the row says; `None` when a newer program wrote it in another form.
    #[must_use]
    pub fn row(&self) -> Option<Row> {
        serde_json::from_str(&self.link.canonical).ok()
    }
}

/// Checks rows that follow each other, after one whose hash is known (empty when these begin at the oldest that is
/// kept). Returns the hash of the last one.
///
/// # Errors
/// The first row that is not as it should be.
pub fn verify(before: Option<(u64, &str)>, entries: &[Entry]) -> Result<String, ChainBreak> {
    let mut known = before.map(|(number, hash)| (number, hash.to_owned()));
    for Entry { number, link } in entries {
        let broken = |why: &str| Err(ChainBreak { number: *number, why: why.to_owned() });
        if let Some((before, hash)) = &known {
            if *number != before + 1 {
                return broken("rows before it are missing");
            }
            if link.prev != *hash {
                return broken("it does not follow the row before it");
            }
        }
        if hash(*number, &link.prev, &link.canonical) != link.hash {
            return broken("it was changed");
        }
        known = Some((*number, link.hash.clone()));
    }
    Ok(known.map(|(_, hash)| hash).unwrap_or_default())
}

/// The number is hashed as well: a row keeps its place. Lengths part the fields, so that none can lend to its neighbour.
fn hash(number: u64, prev: &str, canonical: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&number.to_be_bytes());
    for part in [prev, canonical] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

const CONTEXT: &str = "tidegate control plane 2026 audit row v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(token: &str) -> Row {
        Row {
            at_unix_ms: 7,
            token: token.into(),
            label: String::new(),
            action: "POST /v1/purges".into(),
            status: 202,
            reason: "\"quoted\"".into(),
            notes: vec!["purge all".into()],
        }
    }

    fn chain(length: u64) -> (Head, Vec<Entry>) {
        let mut head = Head::default();
        let mut entries = Vec::new();
        for number in 0..length {
            let (next, entry) = head.append(&row(&format!("t{number}")));
            head = next;
            entries.push(entry);
        }
        (head, entries)
    }

    #[test]
    fn a_whole_chain_ends_in_its_head() {
        let (head, entries) = chain(5);
        assert_eq!((head.number, head.first), (5, 1));
        assert_eq!(verify(Some((0, "")), &entries), Ok(head.hash.clone()));
        let hash = &entries[1].link.hash;
        assert_eq!(verify(Some((2, hash)), &entries[2..]), Ok(head.hash.clone()));
        assert_eq!(
            verify(None, &entries[3..]),
            Ok(head.hash),
            "a chain whose beginning is forgotten"
        );
        assert_eq!(entries[0].row(), Some(row("t0")));
    }

    #[test]
    fn what_was_changed_left_out_put_in_or_moved_is_found() {
        let (head, good) = chain(5);
        let broken = |change: &dyn Fn(&mut Vec<Entry>)| {
            let mut entries = good.clone();
            change(&mut entries);
            verify(Some((0, "")), &entries).err().map(|found| found.number)
        };
        assert_eq!(
            broken(&|rows| rows[2].link.canonical = rows[2].link.canonical.replace("t2", "t9")),
            Some(3)
        );
        assert_eq!(broken(&|rows| drop(rows.remove(1))), Some(3));
        assert_eq!(broken(&|rows| rows.swap(1, 2)), Some(3));
        assert_eq!(broken(&|rows| rows.insert(1, rows[1].clone())), Some(2));
        // Hashed anew: found at the row after it, or, at the end, by who knows the head.
        let anew = |rows: &mut Vec<Entry>, at: usize| {
            let link = &mut rows[at].link;
            link.canonical = link.canonical.replace("202", "403");
            link.hash = hash(at as u64 + 1, &link.prev, &link.canonical);
        };
        assert_eq!(broken(&|rows| anew(rows, 2)), Some(4));
        let mut entries = good.clone();
        anew(&mut entries, 4);
        assert_ne!(verify(Some((0, "")), &entries), Ok(head.hash));
    }
}
