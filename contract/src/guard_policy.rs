//! Who may have what of a property: tokens, rates, methods, places, and what browsers of other sites may read.

use serde::{Deserialize, Serialize};

/// The rules at the door; by default everybody may have everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardPolicy {}
