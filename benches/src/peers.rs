//! A driver program of other libraries, kept alive and asked for one shape after the other.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use gemmill::Tier;

use crate::args::Shape;
use crate::measure;
use crate::table::Record;

/// The driver. It reads "m n k" lines and answers each with "m n k | GMAC/s of each library"; its first line names
/// them.
#[derive(Debug)]
pub struct Peers {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    names: Vec<String>,
}

/// A first, small shape, whose answer is not used.
const WARM_UP: Shape = Shape { m: 16, n: 16, k: 16, label: None };

/// What keeps FBGEMM, oneDNN and OpenBLAS to one thread, and to the instructions of a tier.
fn environment(tier: Tier) -> Vec<(&'static str, &'static str)> {
    let mut variables = vec![("OMP_NUM_THREADS", "1")];
    let capped = |fbgemm, onednn, openblas| {
        [("FBGEMM_ENABLE_INSTRUCTIONS", fbgemm), ("ONEDNN_MAX_CPU_ISA", onednn), ("OPENBLAS_CORETYPE", openblas)]
    };
    match tier {
        Tier::Portable | Tier::Avx2 => variables.extend(capped("AVX2", "AVX2", "Haswell")),
        Tier::Avx2Vnni => variables.extend(capped("AVX2", "AVX2_VNNI", "Haswell")),
        Tier::Avx512 => variables.extend(capped("AVX512", "AVX512_CORE", "SkylakeX")),
        Tier::Avx512Vnni => variables.extend(capped("AVX512_E1", "AVX512_CORE_VNNI", "SkylakeX")),
        _ => {}
    }
    variables
}

impl Peers {
    /// Starts the driver. Variables of the environment that are already set are left as they are.
    pub fn start(path: &Path, tier: Tier) -> Result<Peers> {
        let mut command = Command::new(path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs(environment(tier).into_iter().filter(|(name, _)| std::env::var_os(name).is_none()));
        let mut child = command.spawn().with_context(|| format!("{}: cannot be started", path.display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the peers have no output")?);
        let mut peers = Peers { child, input, output, names: Vec::new() };
        // A driver whose output is a pipe may hold back its first line until it flushes its first answer.
        peers.send(&WARM_UP)?;
        let header = peers.line()?;
        peers.names = names(&header).with_context(|| format!("the peers began with {header:?}"))?;
        peers.answer(&WARM_UP)?;
        Ok(peers)
    }

    /// The libraries' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// GMAC/s of each library, in the order of [`Peers::names`].
    pub fn ask(&mut self, shape: &Shape) -> Result<Vec<f64>> {
        self.send(shape)?;
        self.answer(shape)
    }

    fn send(&mut self, shape: &Shape) -> Result<()> {
        let input = self.input.as_mut().context("the peers have no input")?;
        writeln!(input, "{} {} {}", shape.m, shape.n, shape.k)
            .and_then(|()| input.flush())
            .context("the peers have ended")
    }

    fn answer(&mut self, shape: &Shape) -> Result<Vec<f64>> {
        let line = self.line()?;
        numbers(&line, shape, self.names.len()).with_context(|| format!("the peers answered {line:?} to {shape}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line).context("reading from the peers")? == 0 {
            bail!("the peers have ended");
        }
        Ok(line)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // The end of its input ends the driver; an error here has nobody left to be told.
        self.input = None;
        let _ = self.child.wait();
    }
}

fn names(header: &str) -> Result<Vec<String>> {
    let (_, names) = header.split_once('|').context("expected a header line with a '|'")?;
    let names: Vec<String> = names.split_whitespace().filter(|n| !n.starts_with('(')).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "expected names of libraries after the '|'");
    Ok(names)
}

fn numbers(line: &str, shape: &Shape, count: usize) -> Result<Vec<f64>> {
    let (sizes, numbers) = line.split_once('|').context("expected a '|'")?;
    let sizes: Vec<&str> = sizes.split_whitespace().collect();
    ensure!(sizes == [shape.m, shape.n, shape.k].map(|s| s.to_string()), "expected the same shape");
    let numbers = numbers.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    ensure!(numbers.len() == count, "expected {count} numbers");
    Ok(numbers)
}

/// For each peer: the geometric mean and the minimum of gemmill's speed over its own, and where the minimum lies.
pub fn comparison(records: &[Record], names: &[String]) -> String {
    let mut text = String::new();
    for name in names {
        let ratios: Vec<(f64, Shape)> = records
            .iter()
            .filter_map(|r| r.peers.get(name).filter(|&&g| g > 0.0).map(|g| (r.gmacs / g, r.shape())))
            .collect();
        let values: Vec<f64> = ratios.iter().map(|(ratio, _)| *ratio).collect();
        let minimum = ratios.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        if let (Some(mean), Some((least, shape))) = (measure::geometric_mean(&values), minimum) {
            text.push_str(&format!(
                "against {name:<10} geometric mean {mean:.2}x, minimum {least:.2}x at {shape}, {} shapes\n",
                values.len()
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_lines() {
        let header = names("     m      n      k |  fb_acc32  openblas (GMAC/s)\n").unwrap();
        assert_eq!(header, ["fb_acc32", "openblas"]);
        assert!(names("garbage").is_err() && names("m n k |").is_err());
        let shape = Shape::new(16, 256, 512);
        assert_eq!(numbers("16 256 512 | 83.97 14.46\n", &shape, 2).unwrap(), [83.97, 14.46]);
        assert!(numbers("16 256 512 | 83.97\n", &shape, 2).is_err());
        assert!(numbers("16 256 513 | 83.97 1\n", &shape, 2).is_err());
        assert!(numbers("16 256 512 | x y\n", &shape, 2).is_err());
    }
}
