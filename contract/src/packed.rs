//! What is packed for its way: one LZ4 block, whose plain length travels beside it.
//!
//! Invariant: unpacking never takes more memory than the reader allows, whatever a sender claims. Source: the LZ4 block
//! format.

/// Why something packed cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// More than the reader takes.
    #[error("{bytes} bytes unpacked, at most {max}")]
    TooLarge {
        /// What the sender says.
        bytes: usize,
        /// The reader's limit.
        max: usize,
    },
    /// No LZ4 block, or one of another length.
    #[error("not what it says it is: {0}")]
    Damaged(String),
}

/// Packs bytes.
#[must_use]
pub fn pack(plain: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(plain)
}

/// Unpacks what is `plain_bytes` long, and at most `max`.
///
/// # Errors
/// [`UnpackError`]
pub fn unpack(packed: &[u8], plain_bytes: usize, max: usize) -> Result<Vec<u8>, UnpackError> {
    if plain_bytes > max {
        return Err(UnpackError::TooLarge { bytes: plain_bytes, max });
    }
    let plain = lz4_flex::block::decompress(packed, plain_bytes)
        .map_err(|error| UnpackError::Damaged(error.to_string()))?;
    if plain.len() != plain_bytes {
        return Err(UnpackError::Damaged(format!("{} bytes", plain.len())));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_alike_becomes_small_and_comes_back() {
        let plain = br#"{"target":{"kind":"url","url":"https://a.example/v/1.m3u8"}}"#.repeat(40);
        let packed = pack(&plain);
        assert!(packed.len() * 10 < plain.len(), "{} of {}", packed.len(), plain.len());
        assert_eq!(unpack(&packed, plain.len(), plain.len()), Ok(plain));
    }

    #[test]
    fn more_than_is_taken_or_another_length_is_refused() {
        let packed = pack(&[7; 1000]);
        let too_large = UnpackError::TooLarge { bytes: 1000, max: 999 };
        assert_eq!(unpack(&packed, 1000, 999), Err(too_large));
        for claimed in [0, 1, 999, 1001] {
            assert!(unpack(&packed, claimed, 2000).is_err(), "{claimed}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_a_reader_panic(
            plain in proptest::collection::vec(any::<u8>(), 0..2000),
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            claimed in 0_usize..5000,
            at in any::<prop::sample::Index>(),
        ) {
            let mut packed = pack(&plain);
            prop_assert_eq!(unpack(&packed, plain.len(), 2000), Ok(plain));
            let _ = unpack(&garbage, claimed, 4000);
            let place = at.index(packed.len());
            packed[place] ^= 0x55;
            let _ = unpack(&packed, claimed, 4000);
        }
    }
}
