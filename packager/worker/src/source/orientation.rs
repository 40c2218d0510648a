//! How a picture must be turned to be seen as its maker saw it.
//!
//! Phones store pictures as the sensor reads them and add a display matrix. Quarter turns and mirrorings are
//! applied; other angles are not.

/// A turn by quarters, clockwise, and mirrorings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    chain: &'static str,
    swaps_sides: bool,
}

impl Orientation {
    /// The orientation of a display matrix (ISO/IEC 14496-12, 8.2.2).
    pub(super) fn from_matrix(matrix: &[i32; 9]) -> Self {
        let [a, b, _, c, d, ..] = *matrix;
        let turned = |chain| Self { chain, swaps_sides: true };
        let upright = |chain| Self { chain, swaps_sides: false };
        if a.unsigned_abs() > b.unsigned_abs() {
            match (a < 0, d < 0) {
                (false, false) => Self::default(),
                (true, true) => upright("hflip,vflip"),
                (true, false) => upright("hflip"),
                (false, true) => upright("vflip"),
            }
        } else if b != 0 {
            match (b > 0, c > 0) {
                (true, false) => turned("transpose=clock"),
                (true, true) => turned("transpose=cclock_flip"),
                (false, true) => turned("transpose=cclock"),
                (false, false) => turned("transpose=clock_flip"),
            }
        } else {
            Self::default()
        }
    }

    /// Filters that apply it, nothing when there is nothing to do.
    pub(super) fn chain(self) -> Option<&'static str> {
        (!self.chain.is_empty()).then_some(self.chain)
    }

    /// Width and height after it.
    pub(super) fn apply(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swaps_sides { (height, width) } else { (width, height) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_of_phones_become_turns() {
        let one = 1 << 16;
        let matrix = |a, b, c, d| [a, b, 0, c, d, 0, 0, 0, 1 << 30];
        for (name, matrix, chain, size) in [
            ("upright", matrix(one, 0, 0, one), None, (4, 3)),
            ("quarter", matrix(0, one, -one, 0), Some("transpose=clock"), (3, 4)),
            ("half", matrix(-one, 0, 0, -one), Some("hflip,vflip"), (4, 3)),
            ("three quarters", matrix(0, -one, one, 0), Some("transpose=cclock"), (3, 4)),
            ("mirrored", matrix(-one, 0, 0, one), Some("hflip"), (4, 3)),
            ("upside down", matrix(one, 0, 0, -one), Some("vflip"), (4, 3)),
            ("mirrored quarter", matrix(0, one, one, 0), Some("transpose=cclock_flip"), (3, 4)),
            ("all zero", matrix(0, 0, 0, 0), None, (4, 3)),
            ("extreme", matrix(i32::MIN, i32::MAX, 0, i32::MIN), Some("hflip,vflip"), (4, 3)),
        ] {
            let orientation = Orientation::from_matrix(&matrix);
            assert_eq!(orientation.chain(), chain, "{name}");
            assert_eq!(orientation.apply((4, 3)), size, "{name}");
        }
    }
}
