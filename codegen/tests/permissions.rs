//! What the operating system may refuse: memory that becomes executable, files in memory, tiles. Each in a process of
//! its own, that is this test again with a variable set.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
#[path = "common/group_case.rs"]
mod group_case;
#[path = "common/guarded.rs"]
mod guarded;

use std::process::Command;

use common::{Rng, native_tiers, say};
use gemmill_codegen::*;
use group_case::Case;
use guarded::Guarded;

/// The variable that says what is refused in this process.
const REFUSED: &str = "GEMMILL_TEST_REFUSED";
const SKIPPED: &str = "SKIPPED: this kernel";

/// This process again, in which `what` is refused.
fn without(what: &str, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "what_is_refused_is_told", "--nocapture"]).env(REFUSED, what);
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} refused: {}\n{text}", output.status);
    if let Some(line) = text.lines().find(|line| line.starts_with(SKIPPED)) {
        say(format_args!("{line}: {what}"));
    }
    text
}

/// Whether this process can no longer make memory executable that was writable.
fn enforce_w_xor_x() -> bool {
    const PR_SET_MDWE: libc::c_int = 65;
    const REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    // SAFETY: takes numbers.
    let done = unsafe { libc::prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) } == 0;
    if !done {
        println!("{SKIPPED} has no PR_SET_MDWE");
    }
    done
}

/// No file can be opened, or made in memory, from now on.
fn refuse_files() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads the limit that it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
}

/// Kernels of each tier that there is do what the portable one does.
fn kernels_run() {
    let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::PerColumn };
    let mut memory: [Guarded; 5] = std::array::from_fn(|_| Guarded::new(1 << 16));
    for tier in Tier::ALL.into_iter().filter(|tier| *tier != Tier::Portable && tier.require().is_ok()) {
        let case = Case::random(GroupKernelDesc { tier, layout, rows: 2, prefetch: Prefetch::None }, &mut Rng(1));
        assert_eq!(case.run(Tier::Portable, &mut memory), case.run(tier, &mut memory), "{}", case.desc);
        println!("generated {}", case.desc);
    }
}

/// What a process does in which something is refused.
fn refused(what: &str) {
    match what {
        "nothing" => kernels_run(),
        "w^x" => {
            if enforce_w_xor_x() {
                kernels_run();
            }
        }
        "code" => {
            // Read before no file can be opened.
            let _ = Caches::of_this_cpu();
            if !enforce_w_xor_x() {
                return;
            }
            refuse_files();
            for tier in Tier::ALL.into_iter().filter(|&tier| tier != Tier::Portable) {
                let error = tier.require().unwrap_err();
                let lacks_code = error.to_string().contains("permission to run generated code");
                assert!(lacks_code || !is_of_this_cpu(tier), "{error}");
            }
            assert_eq!(Tier::best(), Ok(Tier::Portable));
            println!("portable");
        }
        "tiles" => {
            let mut small = vec![0u8; 2048];
            let stack = libc::stack_t { ss_sp: small.as_mut_ptr().cast(), ss_flags: 0, ss_size: small.len() };
            // SAFETY: no signal handler runs on the stack before this process ends, which leaks it.
            let done = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) } == 0;
            std::mem::forget(small);
            match Tier::Amx.missing_feature() {
                Some(feature) if feature.contains("permission") => {
                    assert!(feature.contains("sigaltstack"), "{feature}");
                    assert!(Tier::Amx.require().unwrap_err().to_string().contains(feature));
                    assert!(Tier::best().unwrap() < Tier::Amx);
                    println!("no tiles: {feature}");
                }
                other => println!("{SKIPPED} or CPU refuses no tiles (sigaltstack {done}): {other:?}"),
            }
        }
        other => panic!("{other}"),
    }
}

/// By what /proc/cpuinfo lists: nothing of this crate's.
fn is_of_this_cpu(tier: Tier) -> bool {
    let needs = match tier {
        Tier::Avx2Vnni => "avx_vnni",
        Tier::Avx512 => "avx512vl",
        Tier::Avx512Vnni => "avx512_vnni",
        Tier::Amx => "amx_int8",
        _ => "avx2",
    };
    FLAGS.with(|flags| flags.contains(&format!(" {needs}")))
}

thread_local! {
    static FLAGS: String = std::env::var("GEMMILL_TEST_FLAGS").unwrap_or_default();
}

#[test]
fn what_is_refused_is_told() {
    if let Ok(what) = std::env::var(REFUSED) {
        return refused(&what);
    }
    let tiers = native_tiers("what the system may refuse").len();
    let generated = |text: &str| text.matches("generated ").count();
    let text = without("nothing", &[]);
    assert_eq!(generated(&text), tiers, "{text}");
    let text = without("w^x", &[]);
    assert!(text.contains(SKIPPED) || generated(&text) == tiers, "{text}");
    assert!(!text.contains("gemmill:"), "nothing is lost, nothing is said: {text}");
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let text = without("code", &[("GEMMILL_TEST_FLAGS", flags)]);
    if !text.contains(SKIPPED) {
        assert!(text.contains("portable"), "{text}");
        let said = text.matches("gemmill: the system refuses memory for generated code").count();
        assert_eq!(said, usize::from(tiers > 0), "{text}");
        assert!(text.contains("GEMMILL_TIER=portable") || tiers == 0, "the way out is named: {text}");
        let text = without("code", &[("GEMMILL_TIER", "portable")]);
        assert!(text.contains("portable"), "{text}");
    }
    let text = without("tiles", &[]);
    assert!(text.contains("no tiles:") || text.contains(SKIPPED), "{text}");
}
