//! What the tests of the binary share.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub type TestResult = Result<(), Box<dyn Error>>;

/// A folder to run the binary in.
pub struct Sandbox(TempDir);

impl Sandbox {
    pub fn new() -> Result<Sandbox, Box<dyn Error>> {
        Ok(Sandbox(tempfile::tempdir()?))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A run of the binary.
    pub fn bench(&self, args: &[&str]) -> Result<Output, Box<dyn Error>> {
        Ok(Command::new(env!("CARGO_BIN_EXE_gemmill-bench")).args(args).current_dir(self.0.path()).output()?)
    }

    /// Standard output of a run that has to succeed.
    pub fn ok(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = self.bench(args)?;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Checks that a run fails, says `message`, and does not panic or leave a file `C.npy` or a temporary one.
    pub fn refused(&self, args: &[&str], message: &str) -> TestResult {
        let files = || fs::read_dir(self.0.path()).map(Iterator::count);
        let before = files()?;
        let output = self.bench(args)?;
        let stderr = String::from_utf8(output.stderr)?;
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {:?} {stderr}", output.status);
        assert!(stderr.contains(message), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(files()?, before, "{args:?} left a file");
        Ok(())
    }

    /// Writes an npy file.
    pub fn npy(&self, name: &str, descr: &str, fortran: bool, shape: &str, data: &[u8]) -> TestResult {
        let order = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data);
        Ok(fs::write(self.path(name), bytes)?)
    }
}

/// Type, shape text and data of an npy file that the binary wrote.
pub fn read_npy(path: &Path) -> Result<(String, Vec<u8>), Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    Ok((String::from_utf8(bytes[10..end].to_vec())?, bytes[end..].to_vec()))
}
