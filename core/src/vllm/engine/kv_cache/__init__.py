"""The paged KV cache as the scheduler sees it: block ids, reference counts, hashes. No memory is touched here, and no torch."""
