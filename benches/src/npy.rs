//! `gemmill-bench npy`: multiplies two arrays of the user.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use gemmill::half::f16;
use gemmill::quant::Bits;
use gemmill::{
    Activation, ActivationQuantization, Dequantize, Float, Function, Gemm, IntOutput, MatMut, MatRef, PackedB,
    PerColumn, Requantize, RunOptions, Threads, Tier,
};

use crate::args;
use crate::groups::GroupArgs;
use crate::hardware_dot::DotArgs;
use crate::npy_file::{self, Array, Elements, Written};
use crate::npy_float::{Activations, FloatC, FloatProduct, Quantization};
use crate::output;

/// Multiplies C = A · B of npy files: u8 or i8, or f32 or f16; two dimensions, C or Fortran order. int64 and float64
/// are taken as the first of these types that has all elements.
///
/// Of integers, C is i32 without a multiplier. With one, C = zero point + round((A·B + bias) * multiplier), saturated
/// to u8 or i8. Of floating-point numbers, C = f(A·B + bias), summed in f32 in ascending order, f being relu, gelu,
/// silu or nothing; with --bits, B is first quantized to so many bits, with a scale for every group of each column;
/// with --hardware-dot, A and B are first rounded to bf16. Of floating-point A and integer B, A is quantized row by row
/// to u8, and C = A's scale * multiplier * (A·B) + bias.
#[derive(Debug, Args)]
pub struct NpyArgs {
    /// Activations, M × K
    #[arg(value_name = "A.npy")]
    a: PathBuf,
    /// Weights, K × N
    #[arg(value_name = "B.npy")]
    b: PathBuf,
    /// Where the product goes, M × N in C order
    #[arg(short, long, value_name = "C.npy")]
    output: PathBuf,
    /// Instruction-set tier; the best one of this CPU if not given
    #[arg(long)]
    tier: Option<Tier>,
    /// Threads; as many as pay for the shape if not given
    #[arg(long, value_name = "N", value_parser = crate::gemm::parse_threads)]
    threads: Option<usize>,
    /// Zero point of A: a number, or an i32 array with one for each row; 0 if not given
    #[arg(long, value_name = "Z|FILE.npy", allow_hyphen_values = true)]
    a_zero_point: Option<String>,
    /// Zero point of B: a number, or an i32 array with one for each column; 0 if not given
    #[arg(long, value_name = "Z|FILE.npy", allow_hyphen_values = true)]
    b_zero_point: Option<String>,
    /// Multiplier of the requantization, or B's scale: a number, or an f32 array with one for each column
    #[arg(long, value_name = "X|FILE.npy", allow_hyphen_values = true)]
    multiplier: Option<String>,
    /// Zero point of C
    #[arg(long, value_name = "Z", default_value_t = 0, allow_hyphen_values = true, requires = "multiplier")]
    c_zero_point: i32,
    /// Type of C: u8 (if not given) or i8 with a multiplier, f32 (if not given) or f16 of floating-point numbers
    #[arg(long, value_enum)]
    c_type: Option<CType>,
    /// The bias of each column: i32 with a multiplier, f32 or f16 of floating-point numbers
    #[arg(long, value_name = "FILE.npy")]
    bias: Option<PathBuf>,
    /// Raise results below the zero point of C to it; floating-point ones below 0 to 0
    #[arg(long, conflicts_with_all = ["gelu", "silu"])]
    relu: bool,
    /// GELU by tanh of floating-point results
    #[arg(long, conflicts_with = "silu")]
    gelu: bool,
    /// SiLU of floating-point results
    #[arg(long)]
    silu: bool,
    /// Quantize floating-point weights to 4 or 2 bits, in groups
    #[arg(long, value_name = "BITS", value_parser = parse_bits)]
    bits: Option<Bits>,
    #[command(flatten)]
    groups: GroupArgs,
    /// Quantize A to i8 too, row by row, and add integers inside a group
    #[arg(long, requires = "bits")]
    quantize_a: bool,
    #[command(flatten)]
    dot: DotArgs,
}

fn parse_bits(text: &str) -> Result<Bits, String> {
    match text {
        "4" => Ok(Bits::Four),
        "2" => Ok(Bits::Two),
        _ => Err("expected 4 or 2".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CType {
    U8,
    I8,
    F32,
    F16,
}

impl NpyArgs {
    /// Refuses options that integer products do not have.
    fn check_integer(&self) -> Result<()> {
        let of_floats = [
            ("--gelu", self.gelu),
            ("--silu", self.silu),
            ("--bits", self.bits.is_some()),
            ("--hardware-dot", self.dot.given()),
        ];
        for (option, given) in of_floats {
            ensure!(!given, "{option} is for floating-point arrays: A and B are integers");
        }
        if let Some(c @ (CType::F32 | CType::F16)) = self.c_type {
            bail!("--c-type {}: products of integers are i32, u8 or i8", if c == CType::F32 { "f32" } else { "f16" });
        }
        let with_multiplier =
            [("--relu", self.relu), ("--bias", self.bias.is_some()), ("--c-type", self.c_type.is_some())];
        for (option, given) in with_multiplier {
            ensure!(!given || self.multiplier.is_some(), "{option} needs --multiplier: C is i32 without it");
        }
        Ok(())
    }

    /// Refuses options that products of floating-point A, quantized row by row, and integer B do not have.
    fn check_quantized(&self) -> Result<()> {
        let given = [
            ("--a-zero-point", self.a_zero_point.is_some()),
            ("--gelu", self.gelu),
            ("--silu", self.silu),
            ("--bits", self.bits.is_some()),
            ("--hardware-dot", self.dot.given()),
        ];
        for (option, given) in given {
            ensure!(!given, "{option} is not for floating-point A and integer B");
        }
        match self.c_type {
            Some(CType::U8 | CType::I8) => bail!("--c-type: products of floating-point A are f32 or f16"),
            _ => Ok(()),
        }
    }

    /// Refuses options that floating-point products do not have; otherwise the type of C.
    fn check_float(&self) -> Result<FloatC> {
        let given = [
            ("--multiplier", self.multiplier.is_some()),
            ("--a-zero-point", self.a_zero_point.is_some()),
            ("--b-zero-point", self.b_zero_point.is_some()),
        ];
        for (option, given) in given {
            ensure!(!given, "{option} is for integers: A and B are floating-point arrays");
        }
        match self.c_type {
            None | Some(CType::F32) => Ok(FloatC::F32),
            Some(CType::F16) => Ok(FloatC::F16),
            Some(CType::U8 | CType::I8) => bail!("--c-type: products of floating-point arrays are f32 or f16"),
        }
    }

    /// How B is to be quantized, if it is.
    fn quantization(&self) -> Result<Option<Quantization>> {
        let groups = self.groups.groups();
        if let (Some(option), None) = (self.groups.given(), self.bits) {
            bail!("{option} needs --bits: B is not quantized without it");
        }
        ensure!(
            self.bits.is_none() || !self.dot.given(),
            "--hardware-dot is for weights of bf16: --bits makes others of B"
        );
        let activations = if self.quantize_a { Activations::Quantized } else { Activations::Float };
        Ok(self.bits.map(|bits| Quantization { bits, groups, activations }))
    }

    fn function(&self) -> Function {
        match (self.relu, self.gelu, self.silu) {
            (true, ..) => Function::Relu,
            (_, true, _) => Function::Gelu,
            (_, _, true) => Function::Silu,
            _ => Function::Identity,
        }
    }
}

/// One number, or an array of them.
enum NumberOrArray<T> {
    Number(T),
    Array(Vec<T>),
}

impl<T> NumberOrArray<T> {
    fn as_per_column(&self) -> PerColumn<'_, T>
    where
        T: Copy,
    {
        match self {
            NumberOrArray::Number(x) => PerColumn::Tensor(*x),
            NumberOrArray::Array(x) => PerColumn::Column(x),
        }
    }
}

/// A one-dimensional array with `len` elements (or a row or column of as many).
fn vector(path: &Path, len: usize, per: &str) -> Result<Elements> {
    let array = Array::read(path)?;
    let longest = array.shape.iter().copied().max().unwrap_or(1);
    let is_vector = array.shape.iter().filter(|&&size| size != 1).count() <= 1;
    ensure!(
        is_vector && longest == len,
        "{}: its shape is {:?}: expected {len} elements, one for each {per}",
        path.display(),
        array.shape
    );
    Ok(array.elements)
}

fn integers(path: &Path, len: usize, per: &str) -> Result<Vec<i32>> {
    match vector(path, len, per)? {
        Elements::I32(x) => Ok(x),
        Elements::U8(x) => Ok(x.into_iter().map(i32::from).collect()),
        Elements::I8(x) => Ok(x.into_iter().map(i32::from).collect()),
        other => bail!("{}: its dtype is {}: expected i32, u8 or i8", path.display(), other.dtype()),
    }
}

fn floats(path: &Path, len: usize, per: &str) -> Result<Vec<f32>> {
    match vector(path, len, per)? {
        Elements::F32(x) => Ok(x),
        Elements::F16(x) => Ok(x.into_iter().map(f32::from).collect()),
        other => bail!("{}: its dtype is {}: expected f32 or f16", path.display(), other.dtype()),
    }
}

/// Whether an array is of floating-point numbers, and not of 8-bit integers.
fn is_float(array: &Array, path: &Path) -> Result<bool> {
    match array.elements {
        Elements::U8(_) | Elements::I8(_) => Ok(false),
        Elements::F32(_) | Elements::F16(_) => Ok(true),
        Elements::I32(_) => bail!("{}: its dtype is i32: expected u8, i8, f32 or f16", path.display()),
    }
}

fn zero_point(text: &str, len: usize, per: &str) -> Result<NumberOrArray<i32>> {
    match text.parse() {
        Ok(z) => Ok(NumberOrArray::Number(z)),
        Err(_) => Ok(NumberOrArray::Array(integers(Path::new(text), len, per)?)),
    }
}

fn multiplier(text: &str, len: usize) -> Result<NumberOrArray<f32>> {
    if let Ok(x) = text.parse() {
        return Ok(NumberOrArray::Number(x));
    }
    match vector(Path::new(text), len, "column of B")? {
        Elements::F32(x) => Ok(NumberOrArray::Array(x)),
        other => bail!("{text}: its dtype is {}: expected f32", other.dtype()),
    }
}

/// The subcommand.
pub fn run(args: &NpyArgs) -> Result<()> {
    output::check_writable(&args.output)?;
    let quantization = args.quantization()?;
    let tier = args::tier_or_best(args.tier)?;
    let spinner = crate::spinner("reading");
    let a = Array::read(&args.a)?;
    let b = Array::read(&args.b)?;
    let (m, k) = a.rows_and_cols().with_context(|| args.a.display().to_string())?;
    let (rows_of_b, n) = b.rows_and_cols().with_context(|| args.b.display().to_string())?;
    ensure!(
        k == rows_of_b,
        "the shapes do not fit: {} is {m} x {k}, {} is {rows_of_b} x {n}: the columns of A have to be as many as the \
         rows of B",
        args.a.display(),
        args.b.display()
    );
    ensure!(m.checked_mul(n).is_some_and(|len| len <= isize::MAX as usize / 4), "C would be {m} x {n}: too large");
    let threads = args.threads.map_or(Threads::Auto, Threads::Max);
    let done = || output::write_stdout(format_args!("{}: {m} x {n}, tier {tier}\n", args.output.display()));
    let are_floats = is_float(&a, &args.a)?;
    let quantizes = are_floats && !is_float(&b, &args.b)?;
    ensure!(
        quantizes || are_floats == is_float(&b, &args.b)?,
        "{} is {} and {} is {}: expected integers (u8, i8) in B where they are in A",
        args.a.display(),
        a.elements.dtype(),
        args.b.display(),
        b.elements.dtype()
    );
    if are_floats && !quantizes {
        let c = args.check_float()?;
        let bias = args.bias.as_ref().map(|path| floats(path, n, "column of B")).transpose().context("--bias")?;
        spinner.set_message("multiplying");
        let (shape, function, hardware_dot) = ([m, n], args.function(), args.dot.on(tier)?);
        let product = FloatProduct { a: &a, b: &b, quantization, hardware_dot, shape, bias, function, tier, threads };
        product.write(c, &args.output)?;
        spinner.finish_and_clear();
        return done();
    }
    if quantizes {
        args.check_quantized()?
    } else {
        args.check_integer()?
    }
    let or_zero = |text: &'_ Option<String>| text.clone().unwrap_or_else(|| "0".to_owned());
    let a_zero_points = zero_point(&or_zero(&args.a_zero_point), m, "row of A").context("--a-zero-point")?;
    let b_zero_points = zero_point(&or_zero(&args.b_zero_point), n, "column of B").context("--b-zero-point")?;

    spinner.set_message("packing B");
    let zero_points = b_zero_points.as_per_column();
    let packed = match &b.elements {
        Elements::U8(data) => PackedB::builder(b.view(data)?).zero_points(zero_points).tier(tier).build(),
        Elements::I8(data) => PackedB::builder(b.view(data)?).zero_points(zero_points).tier(tier).build(),
        other => bail!("{}: its dtype is {}: expected u8 or i8", args.b.display(), other.dtype()),
    }?;
    let product = Product { args, packed, a_zero_points, threads, m, n };
    spinner.set_message("multiplying");
    match &a.elements {
        Elements::U8(data) => product.of_u8(a.view(data)?),
        Elements::I8(data) => product.of_i8(a.view(data)?),
        Elements::F32(data) => product.of_floats(a.view(data)?),
        Elements::F16(data) => product.of_floats(a.view(data)?),
        other => bail!("{}: its dtype is {}: expected u8 or i8", args.a.display(), other.dtype()),
    }?;
    spinner.finish_and_clear();
    done()
}

/// A product of integers whose operands were checked.
struct Product<'a> {
    args: &'a NpyArgs,
    packed: PackedB,
    a_zero_points: NumberOrArray<i32>,
    threads: Threads,
    m: usize,
    n: usize,
}

impl Product<'_> {
    /// A is quantized row by row to u8; C is f32 or f16.
    fn of_floats<A: Activation>(&self, a: MatRef<'_, A>) -> Result<()> {
        let args = self.args;
        let scale =
            args.multiplier.as_ref().map(|text| multiplier(text, self.n)).transpose().context("--multiplier")?;
        let bias = args.bias.as_ref().map(|path| floats(path, self.n, "column of B")).transpose().context("--bias")?;
        let mut output = Dequantize::new(scale.as_ref().map_or(PerColumn::Tensor(1.0), NumberOrArray::as_per_column));
        if let Some(bias) = &bias {
            output = output.bias(bias);
        }
        if args.relu {
            output = output.relu();
        }
        match args.c_type {
            Some(CType::F16) => self.quantized(a, output.to::<f16>()),
            _ => self.quantized(a, output),
        }
    }

    fn quantized<A: Activation, C: Float + Written>(&self, a: MatRef<'_, A>, output: Dequantize<'_, C>) -> Result<()> {
        let how = ActivationQuantization::DynamicPerRow;
        let gemm = Gemm::<A, C>::builder(&self.packed, output).a_quantization(how).threads(self.threads).build()?;
        let mut c = vec![C::default(); self.m * self.n];
        gemm.run(a, &mut MatMut::row_major(&mut c, self.m, self.n)?)?;
        npy_file::write(&self.args.output, &c, [self.m, self.n])
    }
}

/// The product for one type of A. A macro, because the library seals the traits that a generic function would name.
macro_rules! product {
    ($name:ident, $a:ty) => {
        fn $name(&self, a: MatRef<'_, $a>) -> Result<()> {
            let args = self.args;
            let threads = self.threads;
            let (tensor, options) = match &self.a_zero_points {
                NumberOrArray::Number(z) => (*z, RunOptions::new()),
                NumberOrArray::Array(z) => (0, RunOptions::new().row_zero_points(z)),
            };
            macro_rules! write {
                ($c:ty, $output:expr) => {{
                    let mut c: Vec<$c> = vec![Default::default(); self.m * self.n];
                    let gemm: Gemm<$a, $c> =
                        Gemm::builder(&self.packed, $output).a_zero_point(tensor).threads(threads).build()?;
                    gemm.run_with(a, &mut MatMut::row_major(&mut c, self.m, self.n)?, &options)?;
                    npy_file::write(&args.output, &c, [self.m, self.n])
                }};
            }
            let Some(text) = &args.multiplier else { return write!(i32, IntOutput::Store) };
            let multiplier = multiplier(text, self.n).context("--multiplier")?;
            let bias = args.bias.as_ref().map(|path| integers(path, self.n, "column of B")).transpose();
            let bias = bias.context("--bias")?;
            macro_rules! requantize {
                ($c:ty) => {{
                    let mut output = Requantize::<$c>::new(multiplier.as_per_column()).zero_point(args.c_zero_point);
                    if let Some(bias) = &bias {
                        output = output.bias_i32(bias);
                    }
                    if args.relu {
                        output = output.relu();
                    }
                    write!($c, output)
                }};
            }
            match args.c_type {
                Some(CType::I8) => requantize!(i8),
                _ => requantize!(u8),
            }
        }
    };
}

impl Product<'_> {
    product!(of_u8, u8);
    product!(of_i8, i8);
}
