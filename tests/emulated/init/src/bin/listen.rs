//! Listens to an emulated machine's serial line, on the host.
//!
//! `listen NAME LOG PORT_FILE SECONDS`: writes the port that it listens on at 127.0.0.1 into the last file, waits for
//! one connection, and copies the lines that come until it closes: into the log as they are, to standard output behind
//! the name and the seconds since it began to listen. Ends with status 2 if that takes longer than so many seconds in
//! all.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: listen NAME LOG PORT_FILE SECONDS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, log, port_file, seconds] = &arguments[..] else { return fail(USAGE) };
    let Ok(seconds) = seconds.parse() else { return fail(USAGE) };
    let log = match File::create(log) {
        Ok(log) => log,
        Err(e) => return fail(&format!("{log}: {e}")),
    };
    let mut lines = Lines { name, log, start: Instant::now(), pending: Vec::new() };
    let copied = listen(port_file, lines.start + Duration::from_secs(seconds), &mut lines);
    match copied.and(lines.end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == ErrorKind::TimedOut => ExitCode::from(2),
        Err(e) => fail(&e.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("listen: {why}");
    ExitCode::FAILURE
}

/// What has come, line by line.
struct Lines<'a> {
    name: &'a str,
    log: File,
    start: Instant,
    /// The beginning of a line.
    pending: Vec<u8>,
}

impl Lines<'_> {
    /// Prints the lines that are complete now. A whole line is written at once, so that those of several machines do
    /// not mix.
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            match byte {
                b'\n' => self.print()?,
                b'\r' => {}
                _ => self.pending.push(byte),
            }
        }
        Ok(())
    }

    fn print(&mut self) -> io::Result<()> {
        let (seconds, text) = (self.start.elapsed().as_secs_f64(), String::from_utf8_lossy(&self.pending));
        let line = format!("{} {seconds:6.1} | {text}\n", self.name);
        writeln!(self.log, "{text}")?;
        self.pending.clear();
        io::stdout().write_all(line.as_bytes())
    }

    /// Prints a line that was never completed.
    fn end(&mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.print() }
    }
}

fn listen(port_file: &str, end: Instant, lines: &mut Lines<'_>) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    // Whoever waits for the file never sees it half written.
    let unfinished = format!("{port_file}.unfinished");
    std::fs::write(&unfinished, listener.local_addr()?.port().to_string())?;
    std::fs::rename(&unfinished, port_file)?;
    let mut line = loop {
        match listener.accept() {
            Ok((line, _)) => break line,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(left(end)?.min(Duration::from_millis(100)))
            }
            Err(e) => return Err(e),
        }
    };
    line.set_nonblocking(false)?;
    let mut buffer = [0; 4096];
    loop {
        line.set_read_timeout(Some(left(end)?))?;
        match line.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => lines.push(&buffer[..read])?,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            // An emulator that is killed may leave no proper end.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// The time that is left.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
