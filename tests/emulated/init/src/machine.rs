//! The guest's side: mounts, the list of what to run, and the way out.

use std::ffi::CStr;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

/// As `/proc/cpuinfo` names them.
const FEATURES: [&str; 8] = ["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"];

/// Writes a line at once. A console that cannot be written to leaves nobody to tell.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "emulated: {line}").and_then(|()| out.flush());
}

/// One line of the plan that runs something.
#[derive(Debug, PartialEq)]
struct Test {
    binary: String,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// Reads the plan. Lines that are empty or begin with `#` say nothing.
///
/// # Errors
/// The line that is no line of a plan.
fn parse(plan: &str) -> Result<Vec<Test>, String> {
    let (mut common, mut tests) = (Vec::new(), Vec::new());
    let variable = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    for line in plan.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let refused = || format!("the plan says {line:?}: expected env NAME=VALUE or test BINARY");
        match line.split_once(' ') {
            Some(("env", text)) => common.push(variable(text).ok_or_else(refused)?),
            Some(("test", text)) => {
                let mut words = text.split_whitespace().peekable();
                let binary = words.next().ok_or_else(refused)?.to_owned();
                let mut environment = common.clone();
                while let Some(pair) =
                    words.peek().filter(|word| !word.starts_with('-')).and_then(|word| variable(word))
                {
                    environment.push(pair);
                    words.next();
                }
                tests.push(Test { binary, environment, arguments: words.map(str::to_owned).collect() });
            }
            _ => return Err(refused()),
        }
    }
    Ok(tests)
}

/// Mounts a file system that the kernel makes up.
fn mount(kind: &CStr, at: &CStr) -> io::Result<()> {
    fs::create_dir_all(at.to_string_lossy().as_ref())?;
    // SAFETY: three strings that end in zero and live during the call; these kinds take no data.
    let done = unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The value of a field of `/proc/cpuinfo`.
fn cpu(field: &str) -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.trim() == field).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// Runs one test binary; whether it succeeded.
fn run(test: &Test) -> bool {
    say(&format!("start {}", test.binary));
    let mut command = Command::new(format!("/tests/{}", test.binary));
    command.args(&test.arguments).envs(test.environment.iter().cloned()).current_dir("/tmp").stdin(Stdio::null());
    let outcome = match command.status() {
        Ok(status) if status.success() => "ok".to_owned(),
        Ok(status) => status.to_string(),
        Err(e) => format!("cannot be started: {e}"),
    };
    say(&format!("end {} {outcome}", test.binary));
    outcome == "ok"
}

fn run_all() -> Result<(), String> {
    for (kind, at) in [(c"proc", c"/proc"), (c"sysfs", c"/sys"), (c"devtmpfs", c"/dev"), (c"tmpfs", c"/tmp")] {
        mount(kind, at).map_err(|e| format!("cannot mount {at:?}: {e}"))?;
    }
    let flags = cpu("flags");
    let found: Vec<&str> = FEATURES.into_iter().filter(|f| flags.split(' ').any(|flag| flag == *f)).collect();
    say(&format!("cpu {}", cpu("model name")));
    say(&format!("features {}", found.join(" ")));
    let plan = fs::read_to_string("/plan").map_err(|e| format!("cannot read /plan: {e}"))?;
    let tests = parse(&plan)?;
    let passed = tests.iter().filter(|test| run(test)).count();
    say(&format!("done {passed} of {} ok", tests.len()));
    Ok(())
}

/// Runs the plan and switches the machine off. Refuses to be anything but the first process, whose machine it is.
pub fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("init: this program switches the machine off, and runs only as its first process");
        return ExitCode::FAILURE;
    }
    if let Err(e) = run_all() {
        say(&format!("failed: {e}"));
    }
    // SAFETY: neither call touches this program's memory. The machine is this process's own.
    unsafe {
        // What was said is still on its way out of the serial line, which goes off with the machine.
        libc::tcdrain(libc::STDOUT_FILENO);
        libc::reboot(libc::LINUX_REBOOT_CMD_POWER_OFF);
    }
    say("failed: cannot switch the machine off");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn plans_are_read() {
        let plan = "# a remark\nenv A=1\n\ntest x\nenv B=\ntest y C=d=e --skip f=g h\n";
        let (x, y) = (
            Test { binary: "x".into(), environment: vec![pair("A", "1")], arguments: vec![] },
            Test {
                binary: "y".into(),
                environment: vec![pair("A", "1"), pair("B", ""), pair("C", "d=e")],
                arguments: ["--skip", "f=g", "h"].map(str::to_owned).into(),
            },
        );
        assert_eq!(parse(plan), Ok(vec![x, y]));
    }

    #[test]
    fn other_lines_are_refused() {
        for plan in ["tests x", "env A", "env", "test", "run x"] {
            assert!(parse(plan).is_err_and(|e| e.contains(plan)), "{plan}");
        }
    }
}
