//! Fingerprints of source code: figures carry those of the code that they measure, and so know when it has changed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The fingerprint of a module's Rust code: `path.rs` and all files of the folder `path`, both below `root`, but tests.
/// `None` if there is none.
///
/// Comments on lines of their own and white space do not count.
pub fn fingerprint(root: &Path, path: &str) -> Result<Option<String>> {
    let mut hash = Fnv::default();
    let mut found = add(&mut hash, &root.join(format!("{path}.rs")))?;
    found |= add(&mut hash, &root.join(path))?;
    Ok(found.then(|| format!("{:016x}", hash.0)))
}

/// Adds a file or folder, and says whether there was any code in it.
fn add(hash: &mut Fnv, path: &Path) -> Result<bool> {
    if path.is_dir() {
        let read = || fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut entries = read().with_context(|| format!("{}: cannot be read", path.display()))?;
        entries.sort();
        let tested = |entry: &Path| entry.file_stem().is_some_and(|stem| stem == "tests");
        let mut found = false;
        for entry in entries.iter().filter(|entry| !tested(entry)) {
            found |= add(hash, entry)?;
        }
        return Ok(found);
    }
    if !path.is_file() || path.extension().is_none_or(|extension| extension != "rs") {
        return Ok(false);
    }
    let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    hash.bytes(name.bytes());
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(str::bytes);
    hash.bytes(code.filter(|byte| !byte.is_ascii_whitespace()));
    Ok(true)
}

/// FNV-1a of 64 bits: the same on every machine and with every compiler.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: impl Iterator<Item = u8>) {
        // A byte that no text has ends each piece.
        for byte in bytes.chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_counts_and_comments_do_not() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        fs::create_dir_all(root.join("src/tests"))?;
        fs::write(root.join("src/a.rs"), "fn a() {}\n")?;
        let was = fingerprint(root, "src")?;
        assert!(was.is_some() && fingerprint(root, "src/none")?.is_none());
        fs::write(root.join("src/a.rs"), "// A comment.\nfn a()\n{\n}\n")?;
        fs::write(root.join("src/tests/b.rs"), "fn b() {}\n")?;
        fs::write(root.join("src/table.txt"), "1\n")?;
        assert_eq!(fingerprint(root, "src")?, was);
        fs::write(root.join("src.rs"), "fn b() {}\n")?;
        assert_ne!(fingerprint(root, "src")?, was);
        Ok(())
    }
}
