// What is compiled once per instruction set. A file that includes this has chosen the set (`#pragma GCC target`), named it (SET) and said
// how many floats one of its registers holds (SET_LANES; GCC computes longer vectors in memory, tens of times slower) and, where it is so,
// that it has instructions for bfloat16 (SET_HAS_BF16).

#define STRING_OF(name) #name
#define NAME_OF(name) STRING_OF(name)

namespace {
#include "vectors.h"

#include "attention.h"
#include "elementwise.h"
#ifdef SET_HAS_BF16
#include "linear.h"
#endif

template <template <typename> class Kernel, typename Arguments>
void by_type(Type type, const Arguments& arguments) {
    switch (type) {
        case Type::float32: return Kernel<float>::run(arguments);
        case Type::bfloat16: return Kernel<BFloat16>::run(arguments);
        case Type::float16: return Kernel<Half>::run(arguments);
    }
}
}  // namespace

extern const Kernels SET = {
    NAME_OF(SET),
    LANES,
    TILE,
    by_type<Attention, AttentionArguments>,
    by_type<RmsNorm, NormArguments>,
    by_type<Rotary, RotaryArguments>,
    by_type<SiluAndMul, GatedArguments>,
    by_type<MostLikely, MostLikelyArguments>,
#ifdef SET_HAS_BF16
    Linear::run,
#else
    nullptr,
#endif
};
