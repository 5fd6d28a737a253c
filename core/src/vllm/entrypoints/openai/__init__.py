"""The HTTP server: OpenAI's routes and the engine's own, over AsyncLLM."""
