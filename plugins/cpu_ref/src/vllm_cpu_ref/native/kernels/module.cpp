// Owns the Python side of the kernels: numbers in, nothing out. Addresses are plain ints (`Tensor.data_ptr()`), so this needs neither torch
// nor numpy to compile, and CPython's limited API makes one binary serve every Python from 3.10 on.
//
// Whoever calls has checked shapes, types and strides: vllm_cpu_ref/native/*.py does.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <stdexcept>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "arguments.h"
#include "plan.h"

namespace {

// Best first.
const Kernels* const ALL[] = {
#ifdef __x86_64__
    &AVX512_BF16, &AVX512, &AVX2,
#endif
    &PLAIN,
};

bool is_usable(const Kernels& kernels) {
#ifdef __x86_64__
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                          __builtin_cpu_supports("f16c");
    const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (&kernels == &AVX2) return has_avx2;
    if (&kernels == &AVX512) return has_avx2 && has_avx512;
    if (&kernels == &AVX512_BF16) return has_avx2 && has_avx512 && __builtin_cpu_supports("avx512bf16");
#endif
    return &kernels == &PLAIN;
}

// Tiles (AMX), for which torch's library has products that are faster still.
bool has_tiles() {
#ifdef __x86_64__
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & 1u << 22);
#else
    return false;
#endif
}

const Kernels* chosen = nullptr;

// Takes a call's arguments one after the other. The first one is the Type.
class Reader {
  public:
    Reader(PyObject* const* arguments, Py_ssize_t count) : next_(arguments), end_(arguments + count) {}

    int64_t integer() { return checked(PyLong_AsLongLong(next())); }
    void* address() { return checked(PyLong_AsVoidPtr(next())); }
    double number() { return checked(PyFloat_AsDouble(next())); }
    Type type() {
        const int64_t value = integer();
        if (value < 0 || value > (int64_t)Type::float16) throw std::invalid_argument("no such type of numbers");
        return (Type)value;
    }
    bool is_at_end() const { return next_ == end_; }

  private:
    PyObject* next() {
        if (next_ == end_) throw std::invalid_argument("too few arguments");
        return *next_++;
    }

    template <typename T>
    T checked(T value) {
        if (PyErr_Occurred()) throw std::invalid_argument("not a number");
        return value;
    }

    PyObject* const* next_;
    PyObject* const* end_;
};

AttentionArguments read(Reader& from, AttentionArguments a) {
    a.out_THD = from.address();
    a.q_THD = from.address(), a.q_token_distance = from.integer(), a.q_head_distance = from.integer();
    a.k_TKD = from.address(), a.k_token_distance = from.integer(), a.k_head_distance = from.integer();
    a.v_TKD = from.address(), a.v_token_distance = from.integer(), a.v_head_distance = from.integer();
    a.k_cache = from.address(), a.v_cache = from.address();
    a.slot_mapping_T = (const int64_t*)from.address();
    a.query_start_N1 = (const int64_t*)from.address();
    a.seq_lens_N = (const int64_t*)from.address();
    a.block_table_NB = (const int32_t*)from.address(), a.table_distance = from.integer();
    a.num_slots = from.integer(), a.num_rows = from.integer();
    a.num_heads = from.integer(), a.num_kv_heads = from.integer();
    a.head_size = from.integer(), a.block_size = from.integer();
    a.scale = from.number(), a.sliding_window = from.integer(), a.logits_soft_cap = from.number();
    return a;
}

NormArguments read(Reader& from, NormArguments a) {
    a.out = from.address(), a.sum = from.address(), a.x = from.address(), a.residual = from.address();
    a.weight = from.address(), a.num_rows = from.integer(), a.size = from.integer(), a.epsilon = from.number();
    return a;
}

RotaryArguments read(Reader& from, RotaryArguments a) {
    a.out_THD = from.address(), a.x_THD = from.address();
    a.x_token_distance = from.integer(), a.x_head_distance = from.integer();
    a.cos_TR = from.address(), a.sin_TR = from.address(), a.angle_distance = from.integer();
    a.num_tokens = from.integer(), a.num_heads = from.integer();
    a.head_size = from.integer(), a.rotary_size = from.integer();
    return a;
}

GatedArguments read(Reader& from, GatedArguments a) {
    a.out_TI = from.address(), a.gate_up_T2I = from.address(), a.distance = from.integer();
    a.num_tokens = from.integer(), a.size = from.integer();
    return a;
}

MostLikelyArguments read(Reader& from, MostLikelyArguments a) {
    a.index_N = (int64_t*)from.address(), a.logits_NV = from.address(), a.distance = from.integer();
    a.num_rows = from.integer(), a.size = from.integer();
    return a;
}

LinearArguments read(Reader& from, LinearArguments a) {
    a.out_TO = from.address(), a.x_TI = from.address(), a.x_distance = from.integer();
    a.weight = from.address(), a.bias_O = from.address();
    a.num_tokens = from.integer(), a.num_inputs = from.integer(), a.num_outputs = from.integer();
    return a;
}

// While one lives, other threads of the engine go on; also when it dies of an exception.
class WithoutGil {
  public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() { PyEval_RestoreThread(state_); }
    WithoutGil(const WithoutGil&) = delete;

  private:
    PyThreadState* state_;
};

template <typename Arguments, typename Kernel>
PyObject* call(Kernel kernel, PyObject* const* arguments, Py_ssize_t count) {
    try {
        Reader reader(arguments, count);
        const Type type = reader.type();
        const Arguments read_arguments = read(reader, Arguments{});
        if (!reader.is_at_end()) throw std::invalid_argument("too many arguments");
        const WithoutGil others_go_on;
        kernel(type, read_arguments);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    } catch (const std::exception& error) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, error.what());
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* attention(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    const auto kernel = [](Type type, const AttentionArguments& a) { attend(*chosen, type, a); };
    return call<AttentionArguments>(kernel, arguments, count);
}

PyObject* rms_norm(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    return call<NormArguments>(chosen->rms_norm, arguments, count);
}

PyObject* rotary(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    return call<RotaryArguments>(chosen->rotary, arguments, count);
}

PyObject* silu_and_mul(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    return call<GatedArguments>(chosen->silu_and_mul, arguments, count);
}

PyObject* most_likely(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    return call<MostLikelyArguments>(chosen->most_likely, arguments, count);
}

PyObject* linear(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    const auto kernel = [](Type type, const LinearArguments& a) {
        if (type != Type::bfloat16 || a.num_inputs % 2 || !chosen->linear)
            throw std::invalid_argument("linear takes bfloat16 and an even number of inputs, where has_linear() says so");
        chosen->linear(type, a);
    };
    return call<LinearArguments>(kernel, arguments, count);
}

PyObject* has_linear(PyObject*, PyObject*) {
    return PyBool_FromLong(chosen->linear && !has_tiles());
}

PyObject* instruction_set(PyObject*, PyObject*) {
    return PyUnicode_FromString(chosen->instruction_set);
}

// For tests: every set that this processor has must give the same.
PyObject* use(PyObject*, PyObject* name) {
    for (const Kernels* each : ALL)
        if (is_usable(*each) && PyUnicode_CompareWithASCIIString(name, each->instruction_set) == 0) {
            chosen = each;
            Py_RETURN_NONE;
        }
    PyErr_Format(PyExc_ValueError, "this processor has no kernels named %R", name);
    return nullptr;
}

PyMethodDef METHODS[] = {
    {"attention", (PyCFunction)(void (*)())attention, METH_FASTCALL, nullptr},
    {"rms_norm", (PyCFunction)(void (*)())rms_norm, METH_FASTCALL, nullptr},
    {"rotary", (PyCFunction)(void (*)())rotary, METH_FASTCALL, nullptr},
    {"silu_and_mul", (PyCFunction)(void (*)())silu_and_mul, METH_FASTCALL, nullptr},
    {"most_likely", (PyCFunction)(void (*)())most_likely, METH_FASTCALL, nullptr},
    {"linear", (PyCFunction)(void (*)())linear, METH_FASTCALL, nullptr},
    {"has_linear", has_linear, METH_NOARGS, nullptr},
    {"instruction_set", instruction_set, METH_NOARGS, nullptr},
    {"use", use, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_kernels", "CPU kernels; called with addresses by the modules beside this one.", -1, METHODS,
    nullptr, nullptr, nullptr, nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__kernels() {
    chosen = *std::find_if(std::begin(ALL), std::end(ALL), [](const Kernels* each) { return is_usable(*each); });
    return PyModule_Create(&MODULE);
}
