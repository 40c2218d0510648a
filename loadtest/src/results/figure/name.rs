//! The words for kinds, protocols and classes of failures, as figures, files and labels have them.
//!
//! Invariant: they are those of the results document.

use crate::kind::{FailureClass, ObjectKind, Protocol};

#[must_use]
pub fn kind_name(kind: ObjectKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| *name)
}

#[must_use]
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H1 => "h1",
        Protocol::H2 => "h2",
        Protocol::H3 => "h3",
    }
}

#[must_use]
pub fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Dns => "dns",
        FailureClass::Connect => "connect",
        FailureClass::Handshake => "handshake",
        FailureClass::Timeout => "timeout",
        FailureClass::Reset => "reset",
        FailureClass::Protocol => "protocol",
        FailureClass::ClientError => "client-error",
        FailureClass::ServerError => "server-error",
        FailureClass::Unexpected => "unexpected",
        FailureClass::Truncated => "truncated",
        FailureClass::Corrupt => "corrupt",
        FailureClass::TooLarge => "too-large",
        FailureClass::Manifest => "manifest",
        FailureClass::Rig => "rig",
    }
}

pub(super) const KINDS: &[(ObjectKind, &str)] = &[
    (ObjectKind::Multivariant, "multivariant"),
    (ObjectKind::Playlist, "playlist"),
    (ObjectKind::Init, "init"),
    (ObjectKind::Key, "key"),
    (ObjectKind::Segment, "segment"),
    (ObjectKind::Part, "part"),
    (ObjectKind::Steering, "steering"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_document() {
        for (kind, name) in KINDS {
            assert_eq!(serde_json::to_value(kind).unwrap(), *name);
        }
        for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol_name(protocol));
        }
        for class in ["dns", "client-error", "too-large", "rig", "reset", "server-error"] {
            let parsed: FailureClass = serde_json::from_value(class.into()).unwrap();
            assert_eq!(class_name(parsed), class);
        }
    }
}
