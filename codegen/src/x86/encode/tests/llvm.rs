//! The encoder against encodings that LLVM's assembler made, kept in `llvm_table.txt` (made by `llvm_table.py`).

use std::collections::BTreeMap;

use super::*;

/// A line of the file: what LLVM assembled, as operands of this encoder, and what came out.
struct Row {
    name: &'static str,
    width: Width,
    operands: Operands,
    bytes: Vec<u8>,
}

fn scale(text: &str) -> Scale {
    match text {
        "1" => Scale::X1,
        "2" => Scale::X2,
        "4" => Scale::X4,
        "8" => Scale::X8,
        _ => panic!("scale {text}"),
    }
}

fn gpr(text: &str) -> Gpr {
    let number: u8 = text.parse().unwrap();
    *GPRS.iter().find(|g| g.id() == number).unwrap()
}

/// The register of a field: a number, of the kind that the field has.
fn register(i: &Instruction, field: Field, number: &str) -> Register {
    let registers = registers(i, field);
    let found = registers.iter().find(|r| r.number == number.parse::<u8>().unwrap());
    *found.unwrap_or_else(|| panic!("{}: register {number}", i.name))
}

fn rm(i: &Instruction, text: &str) -> Rm {
    if let Some(number) = text.strip_prefix('r') {
        return register(i, i.rm, number).into();
    }
    let address: Vec<_> = text.strip_prefix('m').unwrap().split(',').collect();
    let [base, index, factor, disp] = address[..] else { panic!("address {text}") };
    let index = (index != "-").then(|| (gpr(index), scale(factor)));
    Rm::Memory(Mem { base: gpr(base), index, disp: disp.parse().unwrap() })
}

fn mask(text: &str) -> Option<Mask> {
    let register = text.strip_prefix('k')?;
    let zeroing = register.ends_with('z');
    Some(Mask { register: Opmask(register.trim_end_matches('z').parse().unwrap()), zeroing })
}

fn row(table: &BTreeMap<&str, &'static Instruction>, line: &'static str) -> Row {
    let [fields, bytes, _] = line.split(" | ").collect::<Vec<_>>()[..] else { panic!("parts of {line}") };
    let fields: Vec<_> = fields.split(' ').collect();
    let [name, width, reg, vvvv, place, opmask, broadcast, imm] = fields[..] else { panic!("fields of {line}") };
    let width = match width {
        "X" => Width::X,
        "Y" => Width::Y,
        "Z" => Width::Z,
        _ => panic!("width {width}"),
    };
    let i = table[name];
    let operands = Operands {
        reg: register(i, i.reg, reg),
        vvvv: register(i, i.vvvv, vvvv),
        rm: rm(i, place),
        mask: mask(opmask),
        broadcast: broadcast == "b",
        imm: imm.parse().ok(),
    };
    let bytes = bytes.split(' ').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    Row { name, width, operands, bytes }
}

#[test]
fn agrees_with_llvm() {
    let table: BTreeMap<_, _> = ALL.iter().copied().collect();
    let mut rows = BTreeMap::<_, Vec<Operands>>::new();
    for line in include_str!("../llvm_table.txt").lines().filter(|l| !l.starts_with('#')) {
        let row = row(&table, line);
        let instruction = table[row.name];
        let mut asm = Assembler::new();
        asm.emit(instruction, row.width, row.operands);
        let bytes = asm.finish().unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(bytes, row.bytes, "{bytes:02x?}, but LLVM has {line}");
        rows.entry(row.name).or_default().push(row.operands);
    }
    // Each instruction is there, in each of its forms.
    for (name, i) in ALL {
        let has = |form: fn(&Operands) -> bool| rows[name].iter().any(form);
        let without_operands = order(i).is_empty();
        assert!(rows[name].len() >= if without_operands { 1 } else { 3 }, "{name}: rows");
        assert!(!i.forms.register() || has(|o| matches!(o.rm, Rm::Register(_))), "{name}: register");
        assert!(!i.forms.memory() || has(|o| matches!(o.rm, Rm::Memory(Mem { index: Some(_), .. }))), "{name}: index");
        assert!(i.encoding == Encoding::Vex || has(|o| o.mask.is_some()), "{name}: opmask");
        assert!(i.tuple.broadcast_element().is_none() || has(|o| o.broadcast), "{name}: broadcast");
    }
}
