//! Which instructions the kernels use.

/// An instruction set that the kernels are written for. Slower ones first.
///
/// Graphs take only those of [`available`](Self::available): see [`Graph::with_isa`](crate::Graph::with_isa).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust: the reference, and the form for machines without one of their own.
    Scalar,
    /// WebAssembly's 128-bit vectors: `i32x4.dot_i16x8_s`.
    #[cfg(target_family = "wasm")]
    Simd128,
    /// WebAssembly's relaxed vectors: `i32x4.relaxed_dot_i8x16_i7x16_add_s`, on operands for which its result is defined.
    #[cfg(all(target_family = "wasm", feature = "relaxed-simd"))]
    RelaxedSimd,
    /// 256-bit vectors: `vpmaddubsw`.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 256-bit vectors with `vpdpbusd`.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// 512-bit vectors with `vpdpbusd`.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// Every set that this machine has, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut sets = vec![Self::Scalar];
        #[cfg(target_family = "wasm")]
        sets.push(Self::Simd128);
        #[cfg(all(target_family = "wasm", feature = "relaxed-simd"))]
        sets.push(Self::RelaxedSimd);
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") {
                sets.push(Self::Avx2);
                if has!("avxvnni") {
                    sets.push(Self::AvxVnni);
                }
                if has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512dq")
                    && has!("avx512vl")
                    && has!("avx512vnni")
                {
                    sets.push(Self::Avx512Vnni);
                }
            }
        }
        sets
    }

    /// The quickest set that this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::available()
            .into_iter()
            .max()
            .expect("the scalar form is always there")
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_family = "wasm")]
            Self::Simd128 => "simd128",
            #[cfg(all(target_family = "wasm", feature = "relaxed-simd"))]
            Self::RelaxedSimd => "relaxed",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512vnni",
        }
    }
}

/// A loop in plain Rust, which the compiler vectorises as wide as the instruction set is that it is compiled for.
pub(crate) trait Wide {
    /// What the loop returns.
    type Output;

    /// The loop. It, and what it calls, must be `#[inline(always)]` to be compiled for more than the target's least machine.
    fn run(self) -> Self::Output;
}

/// Runs `wide` compiled for the vectors of `isa`.
pub(crate) fn widest<W: Wide>(isa: Isa, wide: W) -> W::Output {
    match isa {
        // SAFETY: only an `Isa` that this machine has is ever run.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni => unsafe { with_avx2(wide) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe { with_avx512(wide) },
        _ => wide.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<W: Wide>(wide: W) -> W::Output {
    wide.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<W: Wide>(wide: W) -> W::Output {
    wide.run()
}
