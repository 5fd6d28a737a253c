// The kernels for any processor that the compiler knows.

#include <omp.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "arguments.h"
#include "plan.h"

#define SET PLAIN
#define SET_LANES 4
#include "every_set.h"
