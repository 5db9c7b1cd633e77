//! Classifies handwritten digits by a network of 8-bit integers, and compares it with the `f32` network it was made of.
//!
//! `cargo run --release --example digits` trains the `f32` network, quantizes it and measures both on digits that
//! neither training nor calibration has seen. It fails if they differ by more than half a percentage point.

mod network;

use std::process::ExitCode;

use network::{Network, QuantizedNetwork};

/// The largest difference between the two accuracies that counts as a success, in percentage points.
const TOLERANCE: f64 = 0.5;

fn main() -> gemmill::Result<ExitCode> {
    let (training, held_out) = network::load();
    let (calibration, _) = training.split_at(256);
    println!("{} digits to train on, 256 of them to calibrate, {} held out", training.len(), held_out.len());

    let network = Network::train(&training);
    let quantized = QuantizedNetwork::new(&network, &calibration)?;

    let f32_accuracy = held_out.accuracy(&network.logits(&held_out));
    let int8_accuracy = held_out.accuracy(&quantized.logits(&held_out)?);
    println!("f32   {f32_accuracy:.2} % right");
    println!("int8  {int8_accuracy:.2} % right");

    if (f32_accuracy - int8_accuracy).abs() > TOLERANCE {
        eprintln!("the accuracies differ by more than {TOLERANCE} percentage points");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
