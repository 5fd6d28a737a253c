"""Everything of this package that makes it fast and that it runs without too: kernels in C++, ops on kernels of torch, kept memory.

No torch at module level: the platform imports this file.
"""

__all__ = ["OPS"]

OPS = {
    "linear": "vllm_cpu_ref.native.linear.NativeLinear",
    "rms_norm": "vllm_cpu_ref.native.ops.NativeRMSNorm",
    "rotary_embedding": "vllm_cpu_ref.native.ops.NativeRotaryEmbedding",
    "sampler": "vllm_cpu_ref.native.ops.NativeSampler",
    "silu_and_mul": "vllm_cpu_ref.native.ops.NativeSiluAndMul",
    "w8a8_int8_linear": "vllm_cpu_ref.native.int8.CpuW8A8Int8Linear",
}
"""Op -> the class that computes it here."""
