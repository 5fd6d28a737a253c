"""Talking to a server with OpenAI's API: what `vllm chat`, `vllm complete` and `vllm bench serve` share."""
