//! A change-set: a change with a title, a reason, an author, and a life of its own.
//!
//! It goes from open to approved to published, or is abandoned; nothing leads back. Whoever drafted it may not be the
//! one who approves it where two people are asked for; that is decided where callers are known.

use serde::{Deserialize, Serialize};

use super::Wish;

/// A change-set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// Its id; sorts by time.
    pub id: String,
    /// What it is, in a few words.
    pub title: String,
    /// Why it is made.
    pub reason: String,
    /// Who drafted it: the label of a token.
    pub author: String,
    /// When.
    pub created_unix_ms: u64,
    /// The version that it was drafted on.
    pub base: u64,
    /// What it changes.
    pub wish: Wish,
    /// Where it stands.
    pub state: ChangeState,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The release that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Where a change-set stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// It can be approved, published or abandoned.
    Open,
    /// Somebody looked at it and agrees.
    Approved,
    /// It became a release.
    Published,
    /// Nobody wants it any more.
    Abandoned,
}

/// The change-set is past that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the change-set is {0} already")]
pub struct SetError(pub &'static str);

impl ChangeState {
    /// The state's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Published => "published",
            Self::Abandoned => "abandoned",
        }
    }
}

impl ChangeSet {
    /// Whether it can still become a release.
    ///
    /// # Errors
    /// [`SetError`]
    pub fn check_alive(&self) -> Result<(), SetError> {
        match self.state {
            ChangeState::Open | ChangeState::Approved => Ok(()),
            past => Err(SetError(past.as_str())),
        }
    }

    /// Somebody agrees.
    ///
    /// # Errors
    /// [`SetError`]
    pub fn approve(&mut self, who: &str) -> Result<(), SetError> {
        match self.state {
            ChangeState::Open => {
                self.state = ChangeState::Approved;
                self.approved_by = Some(who.to_owned());
                Ok(())
            }
            past => Err(SetError(past.as_str())),
        }
    }

    /// Nobody wants it any more.
    ///
    /// # Errors
    /// [`SetError`]
    pub fn abandon(&mut self) -> Result<(), SetError> {
        self.check_alive()?;
        self.state = ChangeState::Abandoned;
        Ok(())
    }

    /// It became a release.
    ///
    /// # Errors
    /// [`SetError`]
    pub fn publish(&mut self, version: u64) -> Result<(), SetError> {
        self.check_alive()?;
        (self.state, self.version) = (ChangeState::Published, Some(version));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ChangeSet {
        ChangeSet {
            id: "c1".to_owned(),
            title: String::new(),
            reason: String::new(),
            author: "a".to_owned(),
            created_unix_ms: 0,
            base: 1,
            wish: Wish::default(),
            state: ChangeState::Open,
            approved_by: None,
            version: None,
        }
    }

    #[test]
    fn nothing_leads_back() {
        let mut published = set();
        published.approve("b").expect("open");
        published.publish(7).expect("approved");
        assert_eq!((published.version, published.approved_by.as_deref()), (Some(7), Some("b")));
        let mut abandoned = set();
        abandoned.abandon().expect("open");
        for mut past in [published, abandoned] {
            assert!(past.approve("c").is_err());
            assert!(past.publish(8).is_err());
            assert!(past.abandon().is_err());
        }
    }
}
