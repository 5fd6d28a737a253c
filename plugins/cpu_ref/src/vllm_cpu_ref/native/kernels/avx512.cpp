// The kernels for processors with AVX-512. The standard headers come first: they must not be compiled for this set only.

#include <omp.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "arguments.h"
#include "plan.h"

#ifdef __x86_64__
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define SET AVX512
#define SET_LANES 16
#include "every_set.h"
#endif
