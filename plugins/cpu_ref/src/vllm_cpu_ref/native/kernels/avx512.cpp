// The kernels for processors with AVX-512. The standard headers come first: they must not be compiled for this set only.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "arguments.h"

#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#define SET AVX512
#include "every_set.h"
#endif
