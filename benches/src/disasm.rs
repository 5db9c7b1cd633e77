//! `gemmill-bench disasm`: the machine code of the kernels that a shape uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use clap::Args;
use gemmill::Tier;
use gemmill_codegen::NamedCode;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter};

use crate::args::{self, Shape};
use crate::case;
use crate::operands::OperandArgs;
use crate::output::say;

/// Multiplies once, and prints the code of the kernels that gemmill generates for it.
#[derive(Debug, Args)]
pub struct DisasmArgs {
    #[command(flatten)]
    operands: OperandArgs,
    /// Rows of A and C
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    m: u32,
    /// Columns of B and C
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    n: u32,
    /// Columns of A, rows of B
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    k: u32,
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
    let setup = args.operands.setup(tier)?;
    say!("; {} {shape}, weights {}\n", args.operands.op, setup.weights);
    case::new(args.operands.op, &shape, &setup)?.run()?;
    for kernel in gemmill_codegen::generated() {
        say!("{}", listing(&kernel, args.bytes));
    }
    Ok(())
}

fn listing(kernel: &NamedCode, with_bytes: bool) -> String {
    let NamedCode { name, bytes } = kernel;
    if bytes.is_empty() {
        return format!("\n; {name}: plain Rust, no machine code\n");
    }
    format!("\n; {name}, {} bytes\n{}", bytes.len(), disassemble(bytes, with_bytes))
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
