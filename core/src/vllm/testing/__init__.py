"""What plugins and the core test themselves with (extra `vllm-core[testing]`)."""
