//! What surrounds a run of the binary: outputs that are no files, a full or closed standard output, odd results to
//! draw, variables of the environment, arrays as numpy makes them.

#![cfg(unix)]

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::{Command, Stdio};

use common::{Sandbox, TestResult, read_npy};

fn bench(s: &Sandbox) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemmill-bench"));
    command.current_dir(s.folder());
    command
}

/// One result, with some fields set.
fn result(fields: &str) -> String {
    let usual = r#""m":8,"n":16,"k":32,"op":"u8i8-i32","tier":"avx2","threads":1,"sequence":"narrow","peak_ratio":0.5"#;
    format!("{{{usual},\"verified\":true,{fields}}}\n")
}

fn arrays(s: &Sandbox) -> TestResult {
    s.npy("A.npy", "|u1", false, "(1, 2)", &[1, 2])?;
    s.npy("B.npy", "|i1", false, "(2, 1)", &[3, 4])
}

#[test]
fn links_stay_and_pipes_are_written_through() -> TestResult {
    let s = Sandbox::new()?;
    arrays(&s)?;
    // A link to a file, relative, in another folder; and one to a file that is not there yet.
    fs::create_dir(s.path("d"))?;
    fs::write(s.path("d/real.npy"), "old")?;
    symlink("d/real.npy", s.path("link.npy"))?;
    symlink("d/new.npy", s.path("dangling.npy"))?;
    for (link, real) in [("link.npy", "d/real.npy"), ("dangling.npy", "d/new.npy")] {
        s.ok(&["npy", "A.npy", "B.npy", "-o", link])?;
        assert!(fs::symlink_metadata(s.path(link))?.is_symlink(), "{link} was replaced");
        assert_eq!(read_npy(&s.path(real))?.1, 11i32.to_le_bytes());
    }
    // A pipe with a name, and a link to it.
    let fifo = s.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status()?.success());
    symlink("fifo", s.path("link-to-fifo"))?;
    for name in ["fifo", "link-to-fifo"] {
        let path = fifo.clone();
        let reader = std::thread::spawn(move || fs::read(path));
        s.ok(&["npy", "A.npy", "B.npy", "-o", name])?;
        let read = reader.join().expect("it reads")?;
        assert!(read.starts_with(b"\x93NUMPY") && read.ends_with(&11i32.to_le_bytes()), "{name}");
        assert!(fs::symlink_metadata(&fifo)?.file_type().is_fifo());
    }
    // The file of an open descriptor gets it at its end.
    fs::write(s.path("log"), "before")?;
    let log = fs::File::options().append(true).open(s.path("log"))?;
    let status = bench(&s).args(["npy", "A.npy", "B.npy", "-o", "/proc/self/fd/1"]).stdout(log).status()?;
    assert!(status.success());
    let log = fs::read(s.path("log"))?;
    assert!(log.starts_with(b"before\x93NUMPY"), "{log:?}");
    // A ring of links.
    symlink("ring", s.path("ring"))?;
    s.refused(&["npy", "A.npy", "B.npy", "-o", "ring"], "too many symbolic links")?;
    Ok(())
}

#[test]
fn a_closed_or_full_standard_output_is_no_panic() -> TestResult {
    let s = Sandbox::new()?;
    arrays(&s)?;
    fs::write(s.path("r.json"), result(r#""gmacs":10.0"#))?;
    let runs: [&[&str]; 4] = [
        &["disasm", "--op", "u8i8-i32", "--m", "4", "--n", "16", "--k", "64"],
        &["peak", "--format", "json"],
        &["npy", "A.npy", "B.npy", "-o", "C.npy"],
        &["plot", "r.json", "-o", "p.svg"],
    ];
    for args in runs {
        // Nobody reads.
        let mut child = bench(&s).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !text.contains("panicked"), "{args:?}: {text}");
        // No byte more fits.
        let full = ["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\" > full", "sh", env!("CARGO_BIN_EXE_gemmill-bench")];
        if args[0] == "npy" || args[0] == "plot" {
            continue;
        }
        let output = Command::new("sh").args(full).args(args).current_dir(s.folder()).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains("error: standard output") && !text.contains("panicked"), "{args:?}: {text}");
    }
    Ok(())
}

#[test]
fn odd_results_are_drawn_or_refused() -> TestResult {
    let s = Sandbox::new()?;
    fs::write(s.path("huge.json"), result(r#""gmacs":1e308"#))?;
    s.refused(&["plot", "huge.json", "-o", "p.svg"], "has a speed of")?;
    fs::write(s.path("peak.json"), result(r#""gmacs":10.0,"peak_gmacs":1e300"#))?;
    s.refused(&["plot", "peak.json", "-o", "p.svg"], "has a peak of")?;

    // Characters that XML has not, sizes whose product overflows, results of two tiers and several threads.
    let odd = result(r#""gmacs":10.0,"label":"a\u0000b\u001b<&>\uffff","bytes":1"#);
    let large = odd.replace("\"m\":8", "\"m\":4611686018427387904");
    let tiers = ["avx2", "amx"].map(|tier| {
        let figures = r#""gmacs":100.0,"peak_gmacs":80.0,"cpu":"Some CPU","date":"2026-12-01""#;
        result(figures).replace("\"avx2\"", &format!("\"{tier}\"")).replace("\"threads\":1", "\"threads\":3")
    });
    let mut plot = bench(&s).args(["plot", "-", "-o", "p.svg"]).stdin(Stdio::piped()).spawn()?;
    std::io::Write::write_all(
        &mut plot.stdin.take().expect("a pipe"),
        [odd, large, tiers.concat()].concat().as_bytes(),
    )?;
    assert!(plot.wait()?.success());
    let picture = fs::read_to_string(s.path("p.svg"))?;
    let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
    assert!(picture.chars().all(|c| is_text(c) && c != '\u{ffff}'), "no XML");
    for text in
        ["Some CPU, 1 to 3 threads, 2026-12-01", "avx2, 3 threads: sequence peak", "amx, 3 threads: sequence peak"]
    {
        assert!(picture.contains(text), "{text} is missing");
    }

    // As many results as anybody likes.
    fs::write(s.path("many.json"), result(r#""gmacs":10.0"#).repeat(1120))?;
    s.ok(&["plot", "many.json", "-o", "many.svg", "--kind", "bars"])?;
    let mut start = [0; 200];
    fs::File::open(s.path("many.svg"))?.read_exact(&mut start)?;
    let start = String::from_utf8_lossy(&start);
    let height = start.split("height=\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(height, Some("4130"), "{start}");
    assert!(fs::read_to_string(s.path("many.svg"))?.contains("the first 200 of 1120 results"));
    Ok(())
}

#[test]
fn variables_are_read_or_refused() -> TestResult {
    let s = Sandbox::new()?;
    arrays(&s)?;
    let npy = ["npy", "A.npy", "B.npy", "-o", "C.npy"];
    let output = bench(&s).args(npy).env("GEMMILL_TIER", "").output()?;
    assert!(output.status.success(), "an empty tier is none: {}", String::from_utf8_lossy(&output.stderr));
    let output = bench(&s).args(npy).env("GEMMILL_PROFILE", "perfmap,bogus").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_portable = gemmill::Tier::best().is_ok_and(|tier| tier == gemmill::Tier::Portable);
    let said = "GEMMILL_PROFILE: expected perfmap, jitdump or both with a comma, given \"bogus\"";
    assert!(is_portable || text.contains(said), "{text}");
    Ok(())
}

#[test]
fn arrays_as_numpy_makes_them() -> TestResult {
    let s = Sandbox::new()?;
    let int64 = |values: &[i64]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let float64 = |values: &[f64]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    s.npy("A.npy", "<i8", false, "(1, 2)", &int64(&[200, 2]))?;
    s.npy("B.npy", "<i8", false, "(2, 1)", &int64(&[-3, 100]))?;
    s.ok(&["npy", "A.npy", "B.npy", "-o", "C.npy"])?;
    assert_eq!(read_npy(&s.path("C.npy"))?.1, (-400i32).to_le_bytes());
    fs::remove_file(s.path("C.npy"))?;
    s.npy("large.npy", "<i8", false, "(1, 2)", &int64(&[1, 1 << 40]))?;
    s.refused(
        &["npy", "large.npy", "B.npy", "-o", "C.npy"],
        "element 1 is 1099511627776: expected numbers of 32 bits",
    )?;
    s.npy("F.npy", "<f8", false, "(1, 2)", &float64(&[0.5, 2.0]))?;
    s.npy("G.npy", "<f8", false, "(2, 1)", &float64(&[4.0, -1.0]))?;
    s.ok(&["npy", "F.npy", "G.npy", "-o", "C.npy"])?;
    assert_eq!(read_npy(&s.path("C.npy"))?.1, 0f32.to_le_bytes());
    fs::remove_file(s.path("C.npy"))?;
    s.npy("tenth.npy", "<f8", false, "(1, 2)", &float64(&[0.5, 0.1]))?;
    s.refused(&["npy", "tenth.npy", "G.npy", "-o", "C.npy"], "element 1 is 0.1, which is no f32")?;

    // Floating-point activations by integer weights: quantized row by row.
    s.npy("W.npy", "|i1", false, "(2, 1)", &[100, 156])?;
    s.npy("bias.npy", "<f4", false, "(1,)", &1f32.to_le_bytes())?;
    s.ok(&["npy", "F.npy", "W.npy", "-o", "C.npy", "--multiplier", "0.01", "--bias", "bias.npy"])?;
    let c = read_npy(&s.path("C.npy"))?.1;
    let c = f32::from_le_bytes(c[..4].try_into()?);
    assert!((c - (0.5 - 2.0 + 1.0)).abs() < 0.02, "{c}");
    fs::remove_file(s.path("C.npy"))?;
    s.refused(&["npy", "F.npy", "W.npy", "-o", "C.npy", "--gelu"], "--gelu is not for floating-point A and integer B")?;
    s.refused(&["npy", "A.npy", "F.npy", "-o", "C.npy"], "the shapes do not fit")?;
    Ok(())
}
