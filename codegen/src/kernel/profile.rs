//! Names for profilers: a perf map and a jitdump, off unless `GEMMILL_PROFILE` asks for them.
//!
//! `GEMMILL_PROFILE=perfmap` appends to `/tmp/perf-PID.map`, which `perf report` reads by itself.
//! `GEMMILL_PROFILE=jitdump` writes `./jit-PID.dump` for `perf record -k mono` followed by `perf inject --jit`, which
//! gives `perf annotate` the code as well. Both may be given, with a comma between. Formats: Linux
//! `tools/perf/Documentation/jit-interface.txt` and `jitdump-specification.txt`.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use crate::kernel::CodegenError;

/// The environment variable that turns registration on.
const PROFILE_VARIABLE: &str = "GEMMILL_PROFILE";

/// Tells the profilers that were asked for about a new kernel. A file that cannot be written is not an error: it is the
/// profile that is poorer, not the product.
///
/// # Errors
/// [`CodegenError::Profile`] if the variable asks for what is no profiler.
pub(crate) fn register(name: &impl Display, code: &[u8]) -> Result<(), CodegenError> {
    static SINKS: OnceLock<Result<Mutex<Sinks>, CodegenError>> = OnceLock::new();
    let sinks = SINKS.get_or_init(|| Sinks::from_environment().map(Mutex::new)).as_ref().map_err(Clone::clone)?;
    let Ok(mut sinks) = sinks.lock() else { return Ok(()) };
    if let Some(map) = &mut sinks.perf_map {
        let _ = write_perf_map(map, &name.to_string(), code.as_ptr() as u64, code.len());
    }
    #[cfg(target_os = "linux")]
    if let Some(dump) = &mut sinks.jitdump {
        let _ = dump.load(&name.to_string(), code);
    }
    Ok(())
}

#[derive(Default)]
struct Sinks {
    perf_map: Option<File>,
    #[cfg(target_os = "linux")]
    jitdump: Option<Jitdump>,
}

impl Sinks {
    fn from_environment() -> Result<Sinks, CodegenError> {
        let wanted = std::env::var(PROFILE_VARIABLE).unwrap_or_default();
        let mut sinks = Sinks::default();
        for kind in wanted.split(',') {
            match kind.trim() {
                "perfmap" => {
                    let path = format!("/tmp/perf-{}.map", std::process::id());
                    sinks.perf_map = File::options().create(true).append(true).open(path).ok();
                }
                #[cfg(target_os = "linux")]
                "jitdump" => sinks.jitdump = Jitdump::create().ok(),
                // Nothing at all, and what other systems do not have.
                "" => {}
                #[cfg(not(target_os = "linux"))]
                "jitdump" => {}
                unknown => return Err(CodegenError::Profile(unknown.to_owned())),
            }
        }
        Ok(sinks)
    }
}

/// One line: start and size in hexadecimal, then the name.
fn write_perf_map(out: &mut impl Write, name: &str, address: u64, size: usize) -> io::Result<()> {
    out.write_all(format!("{address:x} {size:x} {name}\n").as_bytes())
}

/// A jitdump file: a header, then a record per kernel. Native endianness, as the format wants.
#[cfg(target_os = "linux")]
struct Jitdump {
    file: File,
    /// `perf` finds the file by this executable mapping of it.
    _marker: memmap2::Mmap,
    index: u64,
}

#[cfg(target_os = "linux")]
impl Jitdump {
    const MAGIC: u32 = 0x4A69_5444;
    const HEADER_BYTES: u32 = 40;
    const LOAD_HEADER_BYTES: u32 = 56;

    fn create() -> io::Result<Jitdump> {
        let path = format!("jit-{}.dump", std::process::id());
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        file.write_all(&Self::header())?;
        // SAFETY: nobody reads the mapping, so nobody minds that the file grows behind it.
        let marker = unsafe { memmap2::MmapOptions::new().len(Self::HEADER_BYTES as usize).map_exec(&file)? };
        Ok(Jitdump { file, _marker: marker, index: 0 })
    }

    fn header() -> Vec<u8> {
        const EM_X86_64: u32 = 62;
        let mut bytes = Vec::new();
        for word in [Self::MAGIC, 1, Self::HEADER_BYTES, EM_X86_64, 0, std::process::id()] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(timestamp().to_ne_bytes());
        bytes.extend(0u64.to_ne_bytes());
        bytes
    }

    /// A record `JIT_CODE_LOAD`.
    fn load(&mut self, name: &str, code: &[u8]) -> io::Result<()> {
        let record = Self::load_record(name, code, self.index);
        self.index += 1;
        self.file.write_all(&record)
    }

    fn load_record(name: &str, code: &[u8], index: u64) -> Vec<u8> {
        const JIT_CODE_LOAD: u32 = 0;
        let size = Self::LOAD_HEADER_BYTES as usize + name.len() + 1 + code.len();
        let address = code.as_ptr() as u64;
        let mut bytes = Vec::with_capacity(size);
        bytes.extend(JIT_CODE_LOAD.to_ne_bytes());
        bytes.extend((size as u32).to_ne_bytes());
        bytes.extend(timestamp().to_ne_bytes());
        bytes.extend(std::process::id().to_ne_bytes());
        bytes.extend(std::process::id().to_ne_bytes());
        for word in [address, address, code.len() as u64, index] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(code);
        bytes
    }
}

/// Nanoseconds of the monotonic clock, which `perf record -k mono` uses too.
#[cfg(target_os = "linux")]
fn timestamp() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests;
