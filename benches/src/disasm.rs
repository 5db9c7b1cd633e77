//! `gemmill-bench disasm`: the machine code of the kernels that a shape uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Result, bail};
use clap::Args;
use gemmill::Tier;
use gemmill_codegen::{Kernel, KernelDesc};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter};

use crate::args::{self, Activations, Shape, WeightKind};
use crate::case::{self, IntCase, Integers, Setup};
use crate::groups::Groups;
use crate::op::{IntOp, Op};

/// Prints the code of the kernels that gemmill generates for a shape.
#[derive(Debug, Args)]
pub struct DisasmArgs {
    /// Operation, as activations, weights and result: {u8,i8}{i8,u8}-{i32,u8,i8,f32} or f32{i8,u8}-f32
    #[arg(long, default_value = "u8i8-i32")]
    op: IntOp,
    /// Rows of A and C
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    m: u32,
    /// Columns of B and C
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    n: u32,
    /// Columns of A, rows of B
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    k: u32,
    /// How weights are made: their values decide which sequences a kernel has
    #[arg(long, value_enum, default_value_t = WeightKind::PerColumn)]
    weights: WeightKind,
    /// How f32 activations are quantized
    #[arg(long, value_enum, default_value_t = Activations::Dynamic)]
    activations: Activations,
    /// Instruction-set tier; the best one of this CPU if not given
    #[arg(long)]
    tier: Option<Tier>,
    /// Print the bytes of each instruction too
    #[arg(long)]
    bytes: bool,
}

/// The subcommand.
pub fn run(args: &DisasmArgs) -> Result<()> {
    let tier = args::tier_or_best(args.tier)?;
    let shape = Shape::checked(args.m as usize, args.n as usize, args.k as usize)?;
    let setup = Setup {
        weights: args.weights,
        integers: Integers { activations: args.activations, ..Integers::default() },
        groups: Groups::default(),
        hardware_dot: None,
        copies: 1,
        tier,
        threads: 1,
        seed: 1,
    };
    case::check_weights(Op::Int(args.op), args.weights)?;
    let description = IntCase::new(args.op, &shape, &setup)?.describe()?;
    println!("; {} {shape}, weights {}", args.op, args.weights);
    for desc in &description.kernels {
        print!("{}", kernel(desc, args.bytes)?);
    }
    if description.kernels.is_empty() {
        bail!("tier {tier} has no machine code for this: it is plain Rust");
    }
    Ok(())
}

fn kernel(desc: &KernelDesc, with_bytes: bool) -> Result<String> {
    if desc.tier == Tier::Portable {
        return Ok(format!("\n; {desc}: plain Rust, no machine code\n"));
    }
    let kernel = Kernel::generate(desc)?;
    let code = kernel.bytes();
    Ok(format!("\n; {desc}, {} bytes\n{}", code.len(), disassemble(code, with_bytes)))
}

/// Intel syntax with a label at every target of a branch.
fn disassemble(code: &[u8], with_bytes: bool) -> String {
    let instructions = instructions(code);
    let targets: BTreeSet<u64> = instructions.iter().filter_map(branch_target).collect();
    let targets: BTreeMap<u64, usize> = targets.into_iter().enumerate().map(|(number, at)| (at, number)).collect();
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_first_operand_char_index(12);
    formatter.options_mut().set_space_after_operand_separator(true);
    let mut text = String::new();
    for instruction in &instructions {
        if let Some(number) = targets.get(&instruction.ip()) {
            let _ = writeln!(text, "L{number}:");
        }
        let mut line = String::new();
        formatter.format(instruction, &mut line);
        if let Some(number) = branch_target(instruction).and_then(|target| targets.get(&target)) {
            let mnemonic = line.split_whitespace().next().unwrap_or_default();
            line = format!("{mnemonic:<12}L{number}");
        }
        let _ = write!(text, "{:6x}  ", instruction.ip());
        if with_bytes {
            let start = instruction.ip() as usize;
            let bytes: String = code[start..start + instruction.len()].iter().map(|b| format!("{b:02x}")).collect();
            let _ = write!(text, "{bytes:<24}  ");
        }
        let _ = writeln!(text, "{line}");
    }
    let end = instructions.last().map_or(0, |i| i.next_ip() as usize);
    for (row, bytes) in code[end..].chunks(16).enumerate() {
        let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(text, "{:6x}  {:<12}{}", end + 16 * row, "db", bytes.join(" "));
    }
    text
}

/// The instructions up to the return that no branch goes past: constants lie behind it.
fn instructions(code: &[u8]) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut farthest = 0;
    for instruction in Decoder::with_ip(64, code, 0, DecoderOptions::NONE).iter() {
        farthest = branch_target(&instruction).unwrap_or(0).max(farthest);
        instructions.push(instruction);
        if instruction.flow_control() == FlowControl::Return && farthest <= instruction.ip() {
            break;
        }
    }
    instructions
}

fn branch_target(instruction: &Instruction) -> Option<u64> {
    let is_branch =
        matches!(instruction.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch);
    is_branch.then(|| instruction.near_branch_target())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_go_to_labels() {
        // mov ecx, 3; dec ecx; jne -4; ret; two bytes of constants
        let text = disassemble(&[0xb9, 3, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xc3, 0x01, 0xff], true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines[5].ends_with("01 ff"), "{text}");
        assert_eq!(lines[1], "L0:");
        assert!(lines[3].ends_with("jne         L0"), "{text}");
        assert!(lines[0].contains("b903000000"), "{text}");
    }
}
