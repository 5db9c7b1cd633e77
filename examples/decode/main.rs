//! One decoder layer with Llama-3-8B's sizes, one token at a time on one core: weights in f32, bf16 and int8, side by
//! side.
//!
//! `cargo run --release --example decode` makes gaussian weights, packs them in every format, and measures the layer's
//! seven projections: time per token, memory moved, how much of what the core reads a second that is, and the error
//! against f32. It fails where an error is larger than the format's tolerance. With `-- --quarter` all sizes are a
//! quarter.

mod formats;
mod layer;
mod measure;

use std::process::ExitCode;

use formats::FORMATS;
use gemmill::{MatRef, Tier};
use layer::{Layer, Projection, Sizes};

/// Tokens whose results are compared.
const TOKENS: usize = 4;

fn main() -> gemmill::Result<ExitCode> {
    let sizes = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => Sizes::LLAMA_3_8B,
        [arg] if arg == "--quarter" => Sizes::LLAMA_3_8B.divided_by(4),
        _ => {
            eprintln!("usage: decode [--quarter]");
            return Ok(ExitCode::from(2));
        }
    };
    println!("a decoder layer, hidden {}, k and v {}, feed-forward {}, one core", sizes.hidden, sizes.kv, sizes.ffn);

    // One projection at a time, so that weights are in memory as f32 and packed, but not all of them.
    let mut layers: Vec<Layer> = FORMATS.iter().map(|_| Layer::new(sizes)).collect();
    for projection in Projection::ALL {
        let (k, n) = projection.sizes(&sizes);
        let weights = layer::gaussian(projection as u64, k * n, 1.0 / (k as f32).sqrt());
        for (layer, format) in layers.iter_mut().zip(&FORMATS) {
            layer.push((format.pack)(MatRef::row_major(&weights, k, n)?)?);
        }
    }

    let tokens: Vec<Vec<f32>> = (0..TOKENS as u64).map(|t| layer::gaussian(100 + t, sizes.hidden, 1.0)).collect();
    let exact = tokens.iter().map(|token| layers[0].forward(token)).collect::<gemmill::Result<Vec<_>>>()?;

    println!(
        "{:<6} {:>10} {:>10} {:>8} {:>10} {:>9} {:>12} {:>12}",
        "", "ms/token", "MB/token", "GB/s", "read GB/s", "of read", "projections", "layer"
    );
    let mut failed = false;
    let tier = Tier::best()?;
    for (layer, format) in layers.iter().zip(&FORMATS) {
        let bytes = layer.bytes_moved();
        let before = measure::read_bandwidth(layer.weight_bytes(), tier);
        let seconds = measure::best_of(|| layer.project(&exact[0].inputs))?;
        let read = measure::read_bandwidth(layer.weight_bytes(), tier).max(before);
        let moved = bytes as f64 / seconds;
        let error = layer::Errors::of(layer, &tokens, &exact)?;
        println!(
            "{:<6} {:>10.3} {:>10.1} {:>8.1} {:>10.1} {:>7.0} % {:>12.1e} {:>12.1e}",
            format.name,
            seconds * 1e3,
            bytes as f64 / 1e6,
            moved / 1e9,
            read / 1e9,
            100.0 * moved / read,
            error.of_projections,
            error.of_layer
        );
        if error.of_projections > format.tolerance || error.of_layer > 2.0 * format.tolerance {
            eprintln!("{}: the error is larger than {}", format.name, format.tolerance);
            failed = true;
        }
    }
    println!(
        "errors: ||result - f32 result|| / ||f32 result||, of single projections and of what the layer adds to a token"
    );
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
