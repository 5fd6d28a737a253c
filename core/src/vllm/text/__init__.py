"""Text in and out: tokenizer loading, chat templates, incremental detokenisation and stop strings. No torch."""
