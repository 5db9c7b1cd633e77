//! Configuring a [`Gemm`].

use std::marker::PhantomData;

use super::activation::{Activation, ActivationKind, ActivationQuantization};
use super::bound::{ActivationScale, Context};
use super::operation::Gemm;
use super::options::Threads;
use super::output::OutputStage;
use crate::error::{Error, Result};
use crate::pack::packed::PackedB;

/// Configures a [`Gemm`].
#[derive(Debug, Clone)]
pub struct GemmBuilder<'a, A, O> {
    packed: &'a PackedB,
    output: O,
    a_zero_point: i32,
    quantization: Option<ActivationQuantization>,
    threads: Threads,
    types: PhantomData<fn(A)>,
}

impl<'a, A: Activation, O: OutputStage> GemmBuilder<'a, A, O> {
    pub(super) fn new(packed: &'a PackedB, output: O) -> Self {
        GemmBuilder { packed, output, a_zero_point: 0, quantization: None, threads: Threads::Auto, types: PhantomData }
    }

    /// Zero point of integer activations, in the range of their type.
    pub fn a_zero_point(mut self, zero_point: i32) -> Self {
        self.a_zero_point = zero_point;
        self
    }

    /// How f32 activations become u8; required for them.
    pub fn a_quantization(mut self, quantization: ActivationQuantization) -> Self {
        self.quantization = Some(quantization);
        self
    }

    /// How many threads a product may use.
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for zero points outside their types and for zero threads, [`Error::BadNumber`] for scales,
    /// multipliers and biases that are no usable numbers, [`Error::Mismatch`] for parameters of the wrong length,
    /// [`Error::Unsupported`] for combinations that make no sense.
    pub fn build(self) -> Result<Gemm<A, O::Element>> {
        let mut a_zero_point = self.a_zero_point;
        A::KIND.check_zero_point(a_zero_point)?;
        if self.threads == Threads::Max(0) {
            return Err(Error::OutOfRange { what: "threads", low: 1, high: i64::MAX, given: 0 });
        }
        if A::KIND != ActivationKind::U8 && self.packed.activation_max() != u8::MAX {
            let what = "a bound of the activations was declared when packing, but activations are not u8";
            return Err(Error::Unsupported { what });
        }
        let a_scale = match (A::KIND, self.quantization) {
            (ActivationKind::F32, None) => {
                return Err(Error::Unsupported { what: "f32 activations need a_quantization" });
            }
            (ActivationKind::F32, Some(_)) if a_zero_point != 0 => {
                let what = "f32 activations take their zero point from a_quantization";
                return Err(Error::Unsupported { what });
            }
            (ActivationKind::F32, Some(ActivationQuantization::Static(params))) => {
                a_zero_point = params.zero_point();
                ActivationScale::Static(params.scale())
            }
            (ActivationKind::F32, Some(ActivationQuantization::DynamicPerRow)) => ActivationScale::PerRow,
            (_, None) => ActivationScale::Given,
            (_, Some(_)) => {
                return Err(Error::Unsupported { what: "a_quantization is for f32 activations" });
            }
        };
        let context = Context { packed: self.packed.view(), a_zero_point: a_zero_point + A::KIND.moved(), a_scale };
        let bound = self.output.bind(&context)?;
        Ok(Gemm::new(self.packed.clone(), a_zero_point, self.quantization, self.threads, bound))
    }
}
