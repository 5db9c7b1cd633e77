//! What packed weights of the float family are: floating-point numbers, or numbers of few bits that become f32 exactly.

use super::desc::FLOAT_PANEL;
use crate::families::element::FloatType;
use crate::families::groups::desc::{GROUP_PANEL, GroupLayout};

/// Places in the mantissa of an f32 to which kernels bring the lowest bit of a weight.
pub(crate) const fn places(bits: u8) -> &'static [usize] {
    match bits {
        4 => &[8, 12, 16],
        _ => &[14, 16, 18, 20],
    }
}

/// f32 of a group's constants for each column: the scale, and a term for each place.
pub(crate) const fn constants_per_column(layout: GroupLayout) -> usize {
    1 + places(layout.bits).len()
}

const _: () = assert!(FLOAT_PANEL == GROUP_PANEL, "both families have panels of the same width");

/// Packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatWeights {
    /// Floating-point numbers, which lie as [`FloatType::place`] says.
    Numbers(FloatType),
    /// Numbers of few bits, which lie as [`GroupLayout`] says.
    Groups(WeightGroups),
}

/// Weights of few bits: `w = scale * (q - zero point)`, which f32 holds exactly, with a scale for every column and
/// group of k.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightGroups {
    /// How they lie.
    pub layout: GroupLayout,
    /// k of a group: 32, 64 or 128. The last group may have fewer.
    pub size: u8,
    /// What is known of their scales.
    pub scales: GroupScales,
}

/// What is known of the scales of all groups, none of which is negative: it decides how a weight is made.
///
/// `v` is `2^e + q` with `e` up to 15, as which kernels find `q` in a mantissa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupScales {
    /// They are below 2^112: `w = fma(v, scale, -scale * (2^e + zero point))`, of which every part is exact and finite.
    Moderate,
    /// Nothing but that all weights are finite: `w = (v - (2^e + zero point)) * scale`.
    Any,
}

impl GroupScales {
    /// What is known if this is the largest one.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::GroupScales;
    /// assert_eq!(GroupScales::up_to(0.01), GroupScales::Moderate);
    /// assert_eq!(GroupScales::up_to(2f32.powi(112)), GroupScales::Any);
    /// ```
    pub fn up_to(largest: f32) -> GroupScales {
        if largest < 2f32.powi(112) { GroupScales::Moderate } else { GroupScales::Any }
    }
}

impl From<FloatType> for FloatWeights {
    fn from(numbers: FloatType) -> FloatWeights {
        FloatWeights::Numbers(numbers)
    }
}

impl FloatWeights {
    /// The groups, if they have some.
    pub const fn groups(self) -> Option<WeightGroups> {
        match self {
            FloatWeights::Numbers(_) => None,
            FloatWeights::Groups(groups) => Some(groups),
        }
    }

    /// Bytes of a panel from its first k to k number `k`, the first one of a group.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{FloatType, FloatWeights, GroupLayout, GroupScales, GroupZeroPoints, WeightGroups};
    /// assert_eq!(FloatWeights::from(FloatType::F16).panel_bytes(10), 640);
    /// let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    /// let groups = WeightGroups { layout, size: 128, scales: GroupScales::Moderate };
    /// assert_eq!(FloatWeights::Groups(groups).panel_bytes(256), 2 * (64 + 2048));
    /// ```
    pub const fn panel_bytes(self, k: usize) -> usize {
        match self {
            FloatWeights::Numbers(of) => k * FLOAT_PANEL * of.bytes(),
            FloatWeights::Groups(WeightGroups { layout, size, .. }) => {
                k / size as usize * layout.group_bytes(size as usize)
            }
        }
    }

    /// Bytes from a panel's start to where a kernel reads that begins with `k`, the first of a group where weights have
    /// some, and the panel's column `column`, the first of a strip.
    ///
    /// ```
    /// use gemmill_codegen::{FloatType, FloatWeights};
    ///
    /// // The second half of a panel of 32 columns of bf16, whose rows take 64 bytes.
    /// assert_eq!(FloatWeights::from(FloatType::Bf16).place(3, 16), 3 * 64 + 32);
    /// ```
    pub const fn place(self, k: usize, column: usize) -> usize {
        let in_row = match self {
            FloatWeights::Numbers(of) => of.place(column) * of.bytes(),
            FloatWeights::Groups(_) => column * 4,
        };
        self.panel_bytes(k) + in_row
    }

    /// About the bytes that `count` weights take, without scales.
    pub const fn bytes_of(self, count: usize) -> usize {
        match self {
            FloatWeights::Numbers(of) => count.saturating_mul(of.bytes()),
            FloatWeights::Groups(groups) => count / (8 / groups.layout.bits as usize),
        }
    }

    /// k of which parts of K but the last one are multiples.
    pub const fn unit(self) -> usize {
        match self {
            FloatWeights::Numbers(_) => 1,
            FloatWeights::Groups(groups) => groups.size as usize,
        }
    }

    /// f32 elements that kernels of so many columns need for constants of a group.
    ///
    /// # Examples
    /// ```
    /// # use gemmill_codegen::*;
    /// let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    /// let groups = WeightGroups { layout, size: 128, scales: GroupScales::Moderate };
    /// assert_eq!(FloatWeights::Groups(groups).constants_len(16), 4 * 16);
    /// assert_eq!(FloatWeights::from(FloatType::F16).constants_len(16), 0);
    /// ```
    pub const fn constants_len(self, strip_cols: usize) -> usize {
        match self {
            FloatWeights::Numbers(_) => 0,
            FloatWeights::Groups(groups) => constants_per_column(groups.layout) * strip_cols,
        }
    }

    /// The name in kernel names.
    pub(crate) fn name(self) -> String {
        match self {
            FloatWeights::Numbers(of) => of.name().to_owned(),
            FloatWeights::Groups(WeightGroups { layout, size, scales }) => {
                let zero_points = match layout.zero_points {
                    crate::GroupZeroPoints::Middle => "",
                    crate::GroupZeroPoints::PerColumn => "z",
                };
                let scales = match scales {
                    GroupScales::Moderate => "",
                    GroupScales::Any => "any",
                };
                format!("q{}g{size}{zero_points}{scales}", layout.bits)
            }
        }
    }
}
