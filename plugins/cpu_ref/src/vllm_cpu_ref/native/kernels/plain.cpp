// The kernels for any processor that the compiler knows.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "arguments.h"

#define SET PLAIN
#include "every_set.h"
