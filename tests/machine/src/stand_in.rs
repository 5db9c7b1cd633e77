//! The machine in place of a CPU: gemmill's kernels of chosen tiers are carried out by it.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;

use gemmill_codegen::Tier;
use gemmill_codegen::interpret::{self, Program as Stand};

use crate::decode::Program;

/// The environment variable that names the tiers to interpret, separated by commas, or says `none`.
pub const VARIABLE: &str = "GEMMILL_INTERPRET";
/// The environment variable that names the tiers that must be exercised, separated by commas.
pub const EXPECTED: &str = "GEMMILL_EXPECT_TIERS";
const NONE: &str = "none";

/// Has the machine carry out the kernels of `tiers` in this process, whether or not the CPU has them. A
/// [`crate::Fault`] is a panic.
///
/// # Panics
/// If other tiers were installed before.
pub fn stand_in_for(tiers: &[Tier]) {
    // SAFETY: the machine does to memory what a CPU does.
    let agreed = unsafe { interpret::install(tiers, load) };
    assert!(agreed, "other tiers are interpreted already, not {tiers:?}");
}

/// What becomes of a tier that the CPU lacks, unless [`VARIABLE`] says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// The machine carries out its kernels.
    Interpreted,
    /// It is not exercised.
    LeftOut,
}

/// The tiers that the tests of this process exercise.
#[derive(Debug, PartialEq, Eq)]
pub struct Exercised {
    /// On the CPU. The portable tier always is.
    pub native: Vec<Tier>,
    /// On the machine.
    pub interpreted: Vec<Tier>,
    /// Not at all, and why.
    pub left_out: Vec<(Tier, &'static str)>,
    lacking: Lacking,
}

impl Exercised {
    /// Decides, for all tests of this process: the tiers that the CPU has, and `lacking` for others. Where [`VARIABLE`]
    /// names tiers, the machine stands in for these, and no others with machine code are exercised; where it is `none`,
    /// the machine stands in for none. The first call says on stderr which tier is exercised how.
    ///
    /// # Panics
    /// If [`VARIABLE`] or [`EXPECTED`] names something else than tiers, if a tier of [`EXPECTED`] is left out, or if
    /// another call was given another `lacking`.
    pub fn in_this_process(lacking: Lacking) -> &'static Exercised {
        static EXERCISED: OnceLock<Exercised> = OnceLock::new();
        let exercised = EXERCISED.get_or_init(|| {
            let text = std::env::var(VARIABLE).unwrap_or_default();
            let decided = Exercised::decide(lacking, &text, Tier::missing_feature);
            // Not `eprintln!`, which the test harness keeps to itself.
            // In one piece: scripts look for the line.
            let _ = std::io::stderr().write_all(format!("TIERS {decided}\n").as_bytes());
            decided.check_expected();
            stand_in_for(&decided.interpreted);
            decided
        });
        assert_eq!(exercised.lacking, lacking, "one process, one choice");
        exercised
    }

    /// `missing` says what the CPU lacks for a tier.
    fn decide(lacking: Lacking, text: &str, missing: impl Fn(Tier) -> Option<&'static str>) -> Exercised {
        let named = (!text.is_empty() && text != NONE).then(|| parse(VARIABLE, text));
        let lacking_here = if text == NONE { Lacking::LeftOut } else { lacking };
        let mut decided = Exercised { native: vec![], interpreted: vec![], left_out: vec![], lacking };
        for tier in Tier::ALL {
            match (missing(tier), &named) {
                _ if tier == Tier::Portable => decided.native.push(tier),
                (_, Some(named)) if named.contains(&tier) => decided.interpreted.push(tier),
                (_, Some(_)) => decided.left_out.push((tier, "it is not among the interpreted ones")),
                (None, None) => decided.native.push(tier),
                (Some(_), None) if lacking_here == Lacking::Interpreted => decided.interpreted.push(tier),
                (Some(feature), None) => decided.left_out.push((tier, feature)),
            }
        }
        decided
    }

    fn check_expected(&self) {
        let expected = parse(EXPECTED, &std::env::var(EXPECTED).unwrap_or_default());
        if let Some((tier, why)) = self.left_out.iter().find(|(tier, _)| expected.contains(tier)) {
            panic!("{EXPECTED} names {tier}, which is left out: {why}");
        }
    }
}

impl fmt::Display for Exercised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let native = self.native.iter().map(|&tier| (tier, "native"));
        let interpreted = self.interpreted.iter().map(|&tier| (tier, "interpreted"));
        let left_out = self.left_out.iter().map(|&(tier, _)| (tier, "left out"));
        let mut all: Vec<_> = native.chain(interpreted).chain(left_out).collect();
        all.sort();
        let all: Vec<String> = all.iter().map(|(tier, how)| format!("{tier} {how}")).collect();
        f.write_str(&all.join(", "))
    }
}

/// The tiers that a variable names, separated by commas.
fn parse(variable: &str, text: &str) -> Vec<Tier> {
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.parse().unwrap_or_else(|e| panic!("{variable}: {e}"))).collect()
}

fn load(code: &[u8]) -> Result<Stand, String> {
    let program = Program::decode(code).map_err(|fault| fault.to_string())?;
    Ok(Box::new(move |args| {
        // SAFETY: whoever runs the kernel promises that its arguments are there; the code stays in its place as long as
        // the kernel that owns both.
        if let Err(fault) = unsafe { program.run(args) } {
            panic!("{fault}");
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a CPU that has AVX-512, but neither VNNI.
    fn decide(lacking: Lacking, text: &str) -> String {
        let missing = |tier: Tier| tier.name().contains("vnni").then_some("VNNI");
        let decided = Exercised::decide(lacking, text, missing).to_string();
        // Tiers past these behave like the last one.
        decided.split_inclusive(',').take(5).collect::<String>().trim_end_matches(',').to_owned()
    }

    #[test]
    fn each_tier_is_exercised_as_asked() {
        use Lacking::*;
        let native = "portable native, avx2 native, avx2-vnni left out, avx512 native, avx512-vnni left out";
        assert_eq!(decide(LeftOut, ""), native);
        assert_eq!(decide(LeftOut, "none"), native);
        assert_eq!(decide(Interpreted, "none"), native);
        let all = "portable native, avx2 native, avx2-vnni interpreted, avx512 native, avx512-vnni interpreted";
        assert_eq!(decide(Interpreted, ""), all);
        let two = "portable native, avx2 left out, avx2-vnni interpreted, avx512 interpreted, avx512-vnni left out";
        assert_eq!(decide(Interpreted, "avx2-vnni,avx512"), two);
        assert_eq!(decide(LeftOut, "avx2-vnni,avx512"), two);
    }

    #[test]
    #[should_panic(expected = "GEMMILL_INTERPRET: no tier is named \"avx3\"")]
    fn unknown_names_are_refused() {
        decide(Lacking::LeftOut, "avx2,avx3");
    }
}
