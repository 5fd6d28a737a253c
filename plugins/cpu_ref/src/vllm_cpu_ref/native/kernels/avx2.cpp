// The kernels for processors with AVX2 and FMA. The standard headers come first: they must not be compiled for this set only.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "arguments.h"

#ifdef __x86_64__
#pragma GCC target("avx2,fma,f16c")
#define SET AVX2
#include "every_set.h"
#endif
