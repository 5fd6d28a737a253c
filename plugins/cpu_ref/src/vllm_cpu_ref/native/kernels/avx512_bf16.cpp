// The kernels for processors with AVX-512 that also multiply pairs of bfloat16 (AVX512_BF16). The standard headers come first: they must
// not be compiled for this set only.

#include <omp.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "arguments.h"
#include "plan.h"

#ifdef __x86_64__
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")
#define SET AVX512_BF16
#define SET_HAS_BF16
#define SET_LANES 16
#include "every_set.h"
#endif
