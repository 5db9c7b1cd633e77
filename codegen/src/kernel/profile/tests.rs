//! The bytes of perf maps and jitdumps, read back by the formats' descriptions.

use super::*;

/// Reads fields of a record one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (field, rest) = self.0.split_at(len);
        self.0 = rest;
        field
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.bytes(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes(8).try_into().unwrap())
    }
}

#[test]
fn a_line_of_a_perf_map() {
    let mut map = Vec::new();
    write_perf_map(&mut map, "i8gemm_avx2_4x16", 0x7f00_dead_b000, 0x1a0).unwrap();
    write_perf_map(&mut map, "second", 16, 1).unwrap();
    assert_eq!(String::from_utf8(map).unwrap(), "7f00deadb000 1a0 i8gemm_avx2_4x16\n10 1 second\n");
}

#[cfg(target_os = "linux")]
#[test]
fn the_header_of_a_jitdump() {
    let before = timestamp();
    let header = Jitdump::header();
    assert_eq!(header.len(), 40);
    let mut fields = Fields(&header);
    assert_eq!(fields.u32(), 0x4A69_5444, "magic, in the byte order of the machine");
    assert_eq!(fields.u32(), 1, "version");
    assert_eq!(fields.u32(), 40, "size of the header");
    assert_eq!(fields.u32(), 62, "ELF machine: x86-64");
    assert_eq!(fields.u32(), 0, "padding");
    assert_eq!(fields.u32(), std::process::id());
    assert!((before..=timestamp()).contains(&fields.u64()), "monotonic nanoseconds");
    assert_eq!(fields.u64(), 0, "flags");
}

#[cfg(target_os = "linux")]
#[test]
fn records_of_a_jitdump() {
    let before = timestamp();
    for (index, name, code) in [(0, "first", &[0xc3u8][..]), (7, "", &[]), (1 << 40, "i8gemm_avx2", &[1, 2, 3])] {
        let record = Jitdump::load_record(name, code, index);
        let mut fields = Fields(&record);
        assert_eq!(fields.u32(), 0, "JIT_CODE_LOAD");
        assert_eq!(fields.u32() as usize, record.len(), "size of the whole record");
        assert!((before..=timestamp()).contains(&fields.u64()));
        assert_eq!(fields.u32(), std::process::id());
        let _thread = fields.u32();
        assert_eq!(fields.u64(), code.as_ptr() as u64, "virtual address");
        assert_eq!(fields.u64(), code.as_ptr() as u64, "code address");
        assert_eq!(fields.u64(), code.len() as u64);
        assert_eq!(fields.u64(), index);
        assert_eq!(fields.bytes(name.len() + 1), [name.as_bytes(), b"\0"].concat());
        assert_eq!(fields.0, code, "the code ends the record");
    }
}
