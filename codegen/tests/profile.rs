//! `GEMMILL_PROFILE`: a process that generates a kernel under it leaves the files that profilers read.

#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{is_native, section_sets, tiles};
use gemmill_codegen::*;

/// Set for the process that this test starts from its own binary.
const CHILD_VARIABLE: &str = "GEMMILL_TEST_PROFILE_CHILD";

fn desc() -> KernelDesc {
    tiles(Tier::Avx2)[3].desc(Tier::Avx2, section_sets(Tier::Avx2)[0])
}

/// What the child process does: nothing, unless this test started it.
#[test]
fn child_generates_a_kernel() {
    let Some(expects) = std::env::var_os(CHILD_VARIABLE) else { return };
    match (Kernel::generate(&desc()), expects == REFUSED) {
        (Ok(_), false) => {}
        (Err(CodegenError::Profile(word)), true) => assert_eq!(word, "gdb"),
        (other, _) => panic!("{:?}", other.map(|kernel| kernel.desc().to_string())),
    }
}

/// What a child expects: that its profilers are those that there are, or not.
const KNOWN: &str = "known";
const REFUSED: &str = "refused";

/// Removes what a child left, also when an assertion fails.
struct Files {
    directory: PathBuf,
    perf_map: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.perf_map);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs `child_generates_a_kernel` in a directory of its own. The path of the jitdump comes with the files.
fn run_child(test: &str, profile: &str, expects: &str) -> (Files, PathBuf) {
    let directory = std::env::temp_dir().join(format!("gemmill-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_generates_a_kernel"])
        .env(CHILD_VARIABLE, expects)
        .env("GEMMILL_PROFILE", profile)
        .current_dir(&directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    let perf_map = Path::new("/tmp").join(format!("perf-{pid}.map"));
    let jitdump = directory.join(format!("jit-{pid}.dump"));
    let files = Files { directory, perf_map };
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (files, jitdump)
}

#[test]
fn both_files_name_the_kernel_and_hold_its_code() {
    if !is_native("both_files_name_the_kernel_and_hold_its_code", Tier::Avx2) {
        return;
    }
    let (files, jitdump) = run_child("both", " perfmap , jitdump", KNOWN);
    let (name, code) = (desc().to_string(), Kernel::generate(&desc()).unwrap().bytes().to_vec());

    let map = std::fs::read_to_string(&files.perf_map).unwrap();
    let fields: Vec<&str> = map.trim_end().split(' ').collect();
    assert_eq!(fields.len(), 3, "{map:?}: one line of three fields");
    assert_eq!(usize::from_str_radix(fields[1], 16), Ok(code.len()));
    assert_eq!(fields[2], name);

    let dump = std::fs::read(jitdump).unwrap();
    assert_eq!(dump[..4], 0x4A69_5444u32.to_ne_bytes());
    assert!(dump.ends_with(&code));
    let before_code = &dump[..dump.len() - code.len()];
    assert!(before_code.ends_with(format!("{name}\0").as_bytes()));
    let address = u64::from_str_radix(fields[0], 16).unwrap().to_ne_bytes();
    assert!(before_code.windows(8).any(|w| w == address), "both files tell the same address");
}

#[test]
fn each_kind_can_be_had_alone_and_others_are_refused() {
    if !is_native("each_kind_can_be_had_alone_and_others_are_refused", Tier::Avx2) {
        return;
    }
    for (test, profile, expects, has_map, has_dump) in [
        ("map", "perfmap", KNOWN, true, false),
        ("dump", "jitdump", KNOWN, false, true),
        ("none", "", KNOWN, false, false),
        ("other", "gdb", REFUSED, false, false),
        ("one more", "perfmap,gdb", REFUSED, true, false),
    ] {
        let (files, jitdump) = run_child(test, profile, expects);
        assert_eq!((files.perf_map.exists(), jitdump.exists()), (has_map, has_dump), "{profile:?}");
    }
}
