//! HPACK (RFC 7541): reads with the dynamic table that a client may fill, writes with the static table alone.
//!
//! Pure. What is written does not depend on the connection, so the fields of a stored response are encoded once for
//! all. Invariant: the table of a connection never holds more than the size that the settings allow, and no entry of
//! it keeps bytes of a section alive that are not its own.

mod decode;
mod encode;
mod static_table;
mod table;

use tidegate_contract::field_code::{NotDecodable, huffman, integer};

use crate::listener::field_line::name_of;

pub use self::decode::Decoder;
pub use self::encode::{FIRST, encode_fields, put_content_length, put_field, put_status};
pub use crate::listener::field_line::{Name, Pseudo, Value};
