//! QPACK with the static table alone (RFC 9204): we announce a dynamic table of no bytes.
//!
//! Pure. Invariant: nothing here depends on what was sent before, so a header block can be encoded once and sent on any
//! connection, and no stream waits for another.

mod decode;
mod encode;
mod instructions;
mod static_table;

pub use decode::decode;
pub use encode::{encode_fields, put_content_length, put_field, put_status};
pub use instructions::{DecoderStream, EncoderStream};

use tidegate_contract::field_code::{huffman, integer};

pub use crate::listener::field_line::{Name, Pseudo, Value};
pub use tidegate_contract::field_code::NotDecodable;

/// The prefix of a field section that uses no dynamic table.
pub const PREFIX: [u8; 2] = [0, 0];
