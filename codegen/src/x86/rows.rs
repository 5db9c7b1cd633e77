//! Addresses of rows that lie a stride apart: a few odd multiples of the stride in registers, the rest by scaling.

use super::asm::{Assembler, Gpr, Mem, Scale};

/// Registers for 1, 3, 5, 7, 9, 11 and 13 times a stride; as many as the number of rows needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowStrides<'a>(pub(crate) &'a [Gpr]);

impl RowStrides<'_> {
    /// Row `r` of at most fifteen, `base` being row 0.
    pub(crate) fn row(self, base: Gpr, r: usize) -> Mem {
        let index = (r > 0).then(|| {
            let shift = r.trailing_zeros();
            let odd = r >> shift;
            (self.0[odd / 2], [Scale::X1, Scale::X2, Scale::X4, Scale::X8][shift as usize])
        });
        Mem { base, index, disp: 0 }
    }

    /// Loads the stride and computes the multiples that so many rows need.
    pub(crate) fn compute(self, asm: &mut Assembler, stride: Mem, rows: usize) {
        let s1 = self.0[0];
        asm.load64(s1, stride);
        let sum = |base, scale| Mem::at(base, 0).indexed(s1, scale);
        // Each multiple from the stride itself, or from an earlier one.
        for (i, &(from, scale)) in
            [(0, Scale::X2), (0, Scale::X4), (2, Scale::X2), (0, Scale::X8), (1, Scale::X8), (2, Scale::X8)]
                .iter()
                .enumerate()
        {
            if rows > 2 * i + 3 {
                asm.lea(self.0[i + 1], sum(self.0[from], scale));
            }
        }
    }
}
