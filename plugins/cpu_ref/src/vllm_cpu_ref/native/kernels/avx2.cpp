// The kernels for processors with AVX2 and FMA. The standard headers come first: they must not be compiled for this set only.

#include <omp.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "arguments.h"
#include "plan.h"

#ifdef __x86_64__
#include <immintrin.h>

#pragma GCC target("avx2,fma,f16c")
#define SET AVX2
#define SET_LANES 8
#include "every_set.h"
#endif
