//! Roles: named sets of scopes, some built in, the others made by operators.
//!
//! A token names its roles; what a role holds is looked up when the token is used, so that a changed role changes every
//! token at once. A built-in role cannot be changed.

use serde::{Deserialize, Serialize};

use super::{Access, AccessError, decode, encode, scope::Grant};
use crate::store::{Commit, Key};

/// A named set of scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub scopes: Vec<Grant>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// The roles that are always there: name, scopes, what they are for.
pub const BUILT_IN: [(&str, &[&str], &str); 7] = [
    ("viewer", &["read"], "sees everything, changes nothing"),
    ("purger", &["read", "purge"], "a publishing system that purges what it changes"),
    (
        "operator",
        &[
            "read",
            "purge",
            "config:write",
            "release:write",
            "pop:write",
            "pop:drain",
            "node:write",
            "node:logs",
        ],
        "runs the CDN from day to day",
    ),
    (
        "network",
        &["read", "pop:drain", "bgp:write", "dns:write"],
        "runs what is announced and answered, and where",
    ),
    ("geo", &["geo"], "a node of the DNS"),
    ("approver", &["read", "approve"], "approves what others ask for"),
    ("security", &["read", "approve", "token:write", "ca:write"], "gives and takes rights"),
];

impl Access {
    /// One role.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn role(&self, name: &str) -> Result<Option<Role>, AccessError> {
        if let Some(role) = built_in(name) {
            return Ok(Some(role));
        }
        let Ok(key) = key(name) else { return Ok(None) };
        let record = self.records.get(&key).await?;
        Ok(record.map(|record| decode("role", &record.value)).transpose()?)
    }

    /// Every role, the built-in ones first.
    ///
    /// # Errors
    /// [`AccessError::Store`]
    pub async fn roles(&self) -> Result<Vec<Role>, AccessError> {
        let mut roles: Vec<_> = BUILT_IN.iter().filter_map(|(name, ..)| built_in(name)).collect();
        for record in self.records.list(PREFIX).await?.records {
            roles.push(decode("role", &record.value)?);
        }
        Ok(roles)
    }

    /// Makes or replaces a role.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a name that is none or built in.
    pub async fn put_role(&self, role: &Role) -> Result<(), AccessError> {
        if built_in(&role.name).is_some() {
            return Err(AccessError::Invalid(format!("the role {} is built in", role.name)));
        }
        if role.scopes.len() > SCOPES_MAX || role.description.len() > TEXT_BYTES_MAX {
            return Err(AccessError::Invalid(format!(
                "a role has at most {SCOPES_MAX} scopes and {TEXT_BYTES_MAX} bytes of description"
            )));
        }
        let puts = vec![(key(&role.name)?, encode(role))];
        self.records.commit(Commit { puts, ..Commit::default() }).await?;
        Ok(())
    }

    /// Removes a role; tokens that name it hold nothing by it any more.
    ///
    /// # Errors
    /// [`AccessError::NotFound`], also for a built-in one.
    pub async fn delete_role(&self, name: &str) -> Result<(), AccessError> {
        if built_in(name).is_some() {
            return Err(AccessError::Invalid(format!("the role {name} is built in")));
        }
        let missing =
            || AccessError::NotFound { what: "role", id: name.chars().take(64).collect() };
        let key = key(name).map_err(|_| missing())?;
        self.records.get(&key).await?.ok_or_else(missing)?;
        self.records.commit(Commit { deletes: vec![key], ..Commit::default() }).await?;
        Ok(())
    }
}

fn built_in(name: &str) -> Option<Role> {
    let (name, scopes, description) = BUILT_IN.iter().find(|(known, ..)| *known == name)?;
    let scopes = scopes.iter().map(|scope| scope.parse().expect("a test reads each")).collect();
    Some(Role { name: (*name).to_owned(), scopes, description: (*description).to_owned() })
}

fn key(name: &str) -> Result<Key, AccessError> {
    let is_good = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let bad = || AccessError::Invalid("a role's name has 1 to 64 of a-z, 0-9 and -".to_owned());
    if !is_good {
        return Err(bad());
    }
    Key::parse(&format!("{PREFIX}{name}")).map_err(|_| bad())
}

const PREFIX: &str = "role/";
const SCOPES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_role_can_be_read_and_none_breaks_the_glass() {
        for (name, scopes, _) in BUILT_IN {
            let role = built_in(name).expect("there");
            assert_eq!(role.scopes.len(), scopes.len());
            assert!(!role.scopes.iter().any(|scope| scope.to_string() == "breakglass"));
        }
        assert!(built_in("nobody").is_none());
    }

    #[test]
    fn a_name_is_plain() {
        assert!(key("eu-operators").is_ok());
        for bad in ["", "A", "a/b", "a b", &"x".repeat(65)] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
