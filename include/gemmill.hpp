/*
 * gemmill for C++11 and later: the functions of gemmill.h, which has the formulas, as classes that own their handles
 * and throw gemmill::Error where those give a status. Nothing but this header, those in gemmill/ and the C library is
 * needed.
 *
 *     gemmill::Weights weights(b, k, n);
 *     gemmill::Gemm<uint8_t, uint8_t> gemm(weights);
 *     gemm.multiplier(0.01f).a_zero_point(100).c_zero_point(128);
 *     gemm.run(m, a, c);
 *
 * Floating-point products are the same with other classes; f16 and bf16 are types of 16 bits, gemmill::Float16 and
 * gemmill::BFloat16, or any for which TypeOf is specialized.
 *
 *     gemmill::FloatWeights weights(b, k, n, gemmill::FloatPacking().type(GEMMILL_TYPE_BF16));
 *     gemmill::FloatGemm<float, float> gemm(weights);
 *     gemm.bias(bias, n).function(GEMMILL_FUNCTION_GELU).run(m, a, c);
 *
 * Objects can be moved, not copied. const functions may be called by many threads at once; others, as always, by one
 * that has the object for itself. Pointers are as for the C functions: not owned, and not checked for what they point
 * to.
 */
#ifndef GEMMILL_HPP
#define GEMMILL_HPP

#include "gemmill/common.hpp"
#include "gemmill/few_bits.hpp"
#include "gemmill/float_gemm.hpp"
#include "gemmill/half.hpp"
#include "gemmill/int8.hpp"

#endif // GEMMILL_HPP
