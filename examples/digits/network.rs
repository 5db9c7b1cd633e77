//! A small network for handwritten digits: trained in `f32`, run in 8-bit integers.

use gemmill::quant::{self, Choose, QuantParams};
use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB, Requantize, Result};

/// Pixels of an image, and inputs of the network.
const PIXELS: usize = 64;
/// Outputs of the network: one for every digit.
const CLASSES: usize = 10;
/// Inputs of every layer, then the outputs of the last one.
const WIDTHS: [usize; 4] = [PIXELS, 64, 32, CLASSES];

/// 8 × 8 images, one after the other, their pixels from 0 (paper) to 1 (ink); and the digits that they show.
pub struct Digits {
    pixels: Vec<f32>,
    labels: Vec<u8>,
}

/// The images to train on, and those held out: three of every ten.
pub fn load() -> (Digits, Digits) {
    let mut parts = [(); 2].map(|()| Digits { pixels: Vec::new(), labels: Vec::new() });
    let (images, _) = include_bytes!("../data/digits.bin").as_chunks::<{ PIXELS + 1 }>();
    for (i, image) in images.iter().enumerate() {
        let part = &mut parts[usize::from(i % 10 < 3)];
        part.pixels.extend(image[..PIXELS].iter().map(|&ink| f32::from(ink) / 16.0));
        part.labels.push(image[PIXELS]);
    }
    parts.into()
}

impl Digits {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The first `count` images, and the others.
    pub fn split_at(&self, count: usize) -> (Digits, Digits) {
        let (pixels, other_pixels) = self.pixels.split_at(count * PIXELS);
        let (labels, other_labels) = self.labels.split_at(count);
        let digits = |pixels: &[f32], labels: &[u8]| Digits { pixels: pixels.into(), labels: labels.into() };
        (digits(pixels, labels), digits(other_pixels, other_labels))
    }

    /// How many per cent of the images have their largest logit at the digit that they show.
    pub fn accuracy(&self, logits: &[f32]) -> f64 {
        let best = logits.chunks_exact(CLASSES).map(|row| (0..CLASSES).max_by(|&i, &j| row[i].total_cmp(&row[j])));
        let right = best.zip(&self.labels).filter(|&(best, &label)| best == Some(label.into())).count();
        100.0 * right as f64 / self.len() as f64
    }
}

/// A fully connected layer: `outputs = inputs * weights + bias`, the weights being row-major, a row for every input.
struct Layer {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// The `f32` network. All layers but the last are followed by a ReLU.
pub struct Network {
    layers: Vec<Layer>,
}

impl Network {
    /// The input of every layer, and then the logits, of `inputs`.
    fn activations(&self, inputs: &[f32]) -> Vec<Vec<f32>> {
        let mut activations = vec![inputs.to_vec()];
        for (index, layer) in self.layers.iter().enumerate() {
            let mut outputs = Vec::new();
            for row in activations[index].chunks_exact(WIDTHS[index]) {
                let mut sums = layer.bias.clone();
                for (&x, weights) in row.iter().zip(layer.weights.chunks_exact(sums.len())) {
                    sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += x * w);
                }
                let lowest = if index + 1 == self.layers.len() { f32::NEG_INFINITY } else { 0.0 };
                outputs.extend(sums.iter().map(|sum| sum.max(lowest)));
            }
            activations.push(outputs);
        }
        activations
    }

    /// Ten logits for every image.
    pub fn logits(&self, digits: &Digits) -> Vec<f32> {
        self.activations(&digits.pixels).pop().unwrap_or_default()
    }

    /// A network that has learned `digits`, the same one on every run: stochastic gradient descent with momentum.
    pub fn train(digits: &Digits) -> Network {
        const EPOCHS: usize = 40;
        const BATCH: usize = 32;
        let mut random = Random(1);
        let mut network = Network { layers: Vec::new() };
        let mut velocities = Vec::new();
        for width in WIDTHS.windows(2) {
            let (inputs, outputs) = (width[0], width[1]);
            let bound = (6.0 / inputs as f32).sqrt();
            let weights = (0..inputs * outputs).map(|_| bound * (2.0 * random.unit() - 1.0)).collect();
            network.layers.push(Layer { weights, bias: vec![0.0; outputs] });
            velocities.push(Layer { weights: vec![0.0; inputs * outputs], bias: vec![0.0; outputs] });
        }
        let mut order: Vec<usize> = (0..digits.len()).collect();
        for _ in 0..EPOCHS {
            for last in (1..order.len()).rev() {
                order.swap(last, (random.unit() * (last + 1) as f32) as usize);
            }
            for batch in order.chunks(BATCH) {
                let pixels = batch.iter().flat_map(|&i| &digits.pixels[i * PIXELS..][..PIXELS]).copied().collect();
                let labels = batch.iter().map(|&i| digits.labels[i]).collect();
                network.learn(&Digits { pixels, labels }, &mut velocities);
            }
        }
        network
    }

    /// One step down the gradient of the cross-entropy.
    fn learn(&mut self, batch: &Digits, velocities: &mut [Layer]) {
        const RATE: f32 = 0.05;
        const MOMENTUM: f32 = 0.9;
        let mut activations = self.activations(&batch.pixels);
        // The slopes of the loss by the outputs of the layer at hand, the logits at first: softmax - one-hot.
        let mut slopes = activations.pop().unwrap_or_default();
        for (row, &label) in slopes.chunks_exact_mut(CLASSES).zip(&batch.labels) {
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            row.iter_mut().for_each(|x| *x = (*x - largest).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum * batch.labels.len() as f32);
            row[usize::from(label)] -= 1.0 / batch.labels.len() as f32;
        }
        for (index, inputs) in activations.iter().enumerate().rev() {
            let (layer, velocity) = (&mut self.layers[index], &mut velocities[index]);
            velocity.weights.iter_mut().chain(&mut velocity.bias).for_each(|v| *v *= MOMENTUM);
            let mut input_slopes = Vec::with_capacity(inputs.len());
            for (xs, slopes) in inputs.chunks_exact(WIDTHS[index]).zip(slopes.chunks_exact(layer.bias.len())) {
                velocity.bias.iter_mut().zip(slopes).for_each(|(v, slope)| *v -= RATE * slope);
                for (k, &x) in xs.iter().enumerate() {
                    let row = k * slopes.len()..(k + 1) * slopes.len();
                    let weights = &layer.weights[row.clone()];
                    let slope: f32 = weights.iter().zip(slopes).map(|(w, slope)| w * slope).sum();
                    input_slopes.push(if x > 0.0 { slope } else { 0.0 });
                    velocity.weights[row].iter_mut().zip(slopes).for_each(|(v, slope)| *v -= RATE * x * slope);
                }
            }
            layer.weights.iter_mut().zip(&velocity.weights).for_each(|(w, v)| *w += v);
            layer.bias.iter_mut().zip(&velocity.bias).for_each(|(b, v)| *b += v);
            slopes = input_slopes;
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// A number in `0.0 .. 1.0`.
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// The network in integers: `u8` activations, `i8` weights, and `f32` again for the logits.
pub struct QuantizedNetwork {
    input: QuantParams<u8>,
    hidden: Vec<Gemm<u8, u8>>,
    last: Gemm<u8, f32>,
}

impl QuantizedNetwork {
    /// `network` in integers, the ranges of its activations being those that the `calibration` images give.
    pub fn new(network: &Network, calibration: &Digits) -> Result<Self> {
        // activations[l] is what layer l reads, so params[l] says what the integers that it reads stand for.
        let activations = network.activations(&calibration.pixels);
        let params = activations.iter().map(|values| {
            let (min, max) = quant::min_max(values).unwrap_or_default();
            QuantParams::<u8>::from_min_max(min, max, Choose::default())
        });
        let params = params.collect::<Result<Vec<_>>>()?;

        let mut hidden = Vec::new();
        let (last, others) = network.layers.split_last().expect("WIDTHS has four entries");
        for (index, layer) in others.iter().enumerate() {
            let (packed, b_scales) = layer.quantized()?;
            let (a, c) = (params[index], params[index + 1]);
            // A step of the integer product is worth a.scale * b_scale, and a step of the output c.scale.
            let multipliers: Vec<f32> = b_scales.iter().map(|b_scale| a.scale() * b_scale / c.scale()).collect();
            let output = Requantize::<u8>::new(&multipliers)
                .zero_point(c.zero_point())
                .bias_f32(&layer.bias, a.scale(), &b_scales)
                .relu();
            hidden.push(Gemm::builder(&packed, output).a_zero_point(a.zero_point()).build()?);
        }
        // The last layer's output is not quantized: C = a.scale * b_scale * product + bias.
        let (packed, b_scales) = last.quantized()?;
        let a = params[others.len()];
        let output = Dequantize::new(&b_scales).a_scale(a.scale()).bias(&last.bias);
        let last = Gemm::builder(&packed, output).a_zero_point(a.zero_point()).build()?;
        Ok(QuantizedNetwork { input: params[0], hidden, last })
    }

    /// Ten logits for every image.
    pub fn logits(&self, digits: &Digits) -> Result<Vec<f32>> {
        let rows = digits.len();
        let mut activations = vec![0u8; digits.pixels.len()];
        self.input.quantize(&digits.pixels, &mut activations)?;
        for (gemm, width) in self.hidden.iter().zip(WIDTHS.windows(2)) {
            let mut outputs = vec![0u8; rows * width[1]];
            let a = MatRef::row_major(&activations, rows, width[0])?;
            gemm.run(a, &mut MatMut::row_major(&mut outputs, rows, width[1])?)?;
            activations = outputs;
        }
        let mut logits = vec![0f32; rows * CLASSES];
        let a = MatRef::row_major(&activations, rows, WIDTHS[self.hidden.len()])?;
        self.last.run(a, &mut MatMut::row_major(&mut logits, rows, CLASSES)?)?;
        Ok(logits)
    }
}

impl Layer {
    /// The weights in `i8`, packed for the products to come, and the scale of every output.
    fn quantized(&self) -> Result<(PackedB, Vec<f32>)> {
        let outputs = self.bias.len();
        let inputs = self.weights.len() / outputs;
        let (weights, scales) = quant::symmetric_per_column(MatRef::row_major(&self.weights, inputs, outputs)?)?;
        let packed = PackedB::new(MatRef::row_major(&weights, inputs, outputs)?)?;
        Ok((packed, scales))
    }
}
